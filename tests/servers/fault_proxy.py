"""A fast HTTP/1.1 proxy that does damage by chance, in front of a real S3 endpoint.

    with FaultProxy(s3.endpoint) as proxy:
        faults = proxy.faults = SeededFaults(seed=7, share=0.5, weights=PASSING)
        ... work through proxy.endpoint ...
        proxy.faults = None
        assert faults.counts["stall"] > 5

FaultyProxy (faulty_http.py) is for a test that says what happens to which request and looks at each
afterwards; this one is for tens of thousands of requests. It is one event loop in a thread of its
own, keeps its connections to the upstream, and remembers numbers, not requests. `faults` is asked
for each request that arrives (see network_faults.py) and may be exchanged at any time.

The order of the changes of one object is kept, unless a fault says otherwise. A request that is to
arrive a second time, late, is sent again while the client waits: no other change of that object
passes before it has arrived, and no answer to a repetition is given before. One that is sent out of
order may arrive after a newer one has been acknowledged: then its condition must keep it from doing
anything, or the client must have waited.
"""

import asyncio
import contextlib
import http
import socket
import struct
import threading
import urllib.parse

from servers.faults import Reply

_HEAD_LIMIT_BYTES = 1 << 20
_HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"content-length", b"expect"}
_PHRASES = {status.value: status.phrase for status in http.HTTPStatus}


class Dropped(Exception):
    """The fault hung up."""


class UpstreamGone(Dropped):
    """The upstream did, and its client's connection ends with it."""


class Request:
    """One request as it arrived; header names are lower case. `number` counts from 1."""

    def __init__(self, number, head):
        lines = head.split(b"\r\n")
        method, target, _ = lines[0].split(b" ", 2)
        self.number, self.method, self.target = number, method.decode(), target.decode()
        self.path, _, self.query = self.target.partition("?")
        self.header_lines = lines[1:]
        self.headers = {}
        for line in self.header_lines:
            name, _, value = line.partition(b":")
            self.headers[name.strip().lower().decode()] = value.strip().decode()
        self.body_bytes = int(self.headers.get("content-length", 0))

    @property
    def changes(self):
        """Whether it may change what is stored."""
        return self.method in ("PUT", "DELETE", "POST")

    @property
    def is_conditional(self):
        """Whether it depends on what is stored."""
        return "if-match" in self.headers or "if-none-match" in self.headers

    @property
    def wants_object(self):
        """Whether it asks for the whole of one object (a listing has a query)."""
        return self.method == "GET" and not self.query and "range" not in self.headers

    @property
    def identity(self):
        """The same for all attempts at one operation, and for few other requests."""
        headers = self.headers
        return self.method, self.target, headers.get("range"), headers.get("content-md5")

    def head_for_upstream(self, body_bytes):
        """Its head, with everything that is signed as it was."""
        kept = [f"{self.method} {self.target} HTTP/1.1".encode()]
        kept += [
            line for line in self.header_lines
            if line.partition(b":")[0].strip().lower() not in _HOP_BY_HOP
        ]  # fmt: skip
        if body_bytes or self.method in ("PUT", "POST"):
            kept.append(b"Content-Length: %d" % body_bytes)
        return b"\r\n".join(kept) + b"\r\n\r\n"


class Exchange:
    """One request in a fault's hands. The fault reads the body, forwards, answers, or drops."""

    def __init__(self, proxy, reader, writer, request):
        self.proxy, self.request = proxy, request
        self._reader, self._writer = reader, writer
        self._body = None

    async def body(self):
        """The request's body."""
        if self._body is None:
            self._body = await self.part_of_body(self.request.body_bytes)
        return self._body

    async def part_of_body(self, count):
        """The first bytes of a body, after which the client is still sending."""
        if self.request.headers.get("expect", "").lower() == "100-continue":
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return await self._reader.readexactly(count) if count else b""

    async def forward(self, body=None):
        """Asks the upstream; the whole Reply. `body` stands for the client's."""
        body = await self.body() if body is None else body
        async with self.proxy.in_order(self.request):
            return await self.proxy.ask_upstream(self.request, body)

    async def forward_in_part(self, body_bytes):
        """Sends the upstream less than it is told to expect, and hangs up on it."""
        async with self.proxy.in_order(self.request):
            await self.proxy.ask_upstream_in_part(self.request, await self.body(), body_bytes)

    def forward_late(self, after_s):
        """Forwards the request, whose body has been read, once more after a time."""
        self.proxy.repeat_late(self.request, self._body, after_s)

    def forward_out_of_order(self, after_s):
        """Forwards the request, whose body has been read, after a time and whatever has passed."""
        self.proxy.send_later(self.request, self._body, after_s)

    async def send(self, reply, stop_after=None):
        """Sends a Reply; with `stop_after`, only that many bytes of its body."""
        head = [f"HTTP/1.1 {reply.status} {_PHRASES.get(reply.status, 'Unknown')}"]
        head += [f"{name}: {value}" for name, value in reply.headers]
        length = len(reply.body) if reply.content_length is None else reply.content_length
        if reply.status not in (204, 304):
            head.append(f"Content-Length: {length}")
        body = b"" if self.request.method == "HEAD" else reply.body[:stop_after]
        await self.send_bytes("\r\n".join(head).encode() + b"\r\n\r\n" + body)

    async def send_bytes(self, raw):
        """Raw bytes, outside any framing."""
        self._writer.write(raw)
        await self._writer.drain()

    def drop(self, reset=False):
        """Hangs up, in an orderly way or with a TCP reset. Does not return."""
        if reset:
            connection = self._writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Dropped

    async def until_client_leaves(self):
        """Says nothing until the client has hung up or the proxy closes. Does not return."""
        with contextlib.suppress(OSError):
            while await self._reader.read(65536):
                pass
        raise Dropped


class FaultProxy:
    """The proxy; a context manager. `faults` is None, or an object with

    choose(request)           the fault for it, an async function of an Exchange, or None: pass
    """

    def __init__(self, upstream):
        url = urllib.parse.urlsplit(upstream)
        if url.scheme != "http":
            raise ValueError(f"upstream {upstream}: the proxy speaks http alone")
        self._upstream = (url.hostname, url.port)
        self.faults = None
        self.requests = 0  # that arrived
        self.most_puts = 0  # of one object that were ever passed on at one time
        self._error = None  # the first that is a fault's own
        self._idle = []  # connections to the upstream
        self._late = {}  # path -> the task that repeats a change of it
        self._later = set()  # tasks that send a change out of order
        self._puts = {}  # path -> how many are under way
        self._loop = asyncio.new_event_loop()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._loop.set_exception_handler(lambda *_: None)  # connections that end as they like
        self._loop.run_until_complete(
            asyncio.start_server(self._serve, sock=self._listener, limit=_HEAD_LIMIT_BYTES)
        )
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Hangs up on everybody. Raises what a fault raised that is wrong. Safe to call twice."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        if self._error:
            raise self._error

    def _run(self):
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._listener.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        for _, writer in self._idle:
            writer.transport.abort()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _serve(self, reader, writer):
        """One client's connection."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests += 1
                request = Request(self.requests, head[:-4])
                exchange = Exchange(self, reader, writer, request)
                fault = self.faults.choose(request) if self.faults else None
                await (fault or passed)(exchange)
                await exchange.body()  # what the fault left unread is no request
        except (Dropped, OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        except Exception as error:
            self._error = self._error or error
        finally:
            writer.close()

    @contextlib.asynccontextmanager
    async def in_order(self, request):
        """Where a request is passed on: see the module's words about the order of changes."""
        late = self._late.get(request.path)
        if request.method == "POST":  # removes many objects
            await asyncio.gather(*self._late.values())
        elif request.changes and late and late.identity != request.identity:
            await late
        if request.method == "PUT":
            under_way = self._puts[request.path] = self._puts.get(request.path, 0) + 1
            self.most_puts = max(self.most_puts, under_way)
        try:
            yield
            if request.changes and late:
                await late
        finally:
            if request.method == "PUT":
                self._puts[request.path] -= 1

    def repeat_late(self, request, body, after_s):
        """Sends the upstream the request once more, after a time."""

        async def repeat():
            await asyncio.sleep(after_s)
            with contextlib.suppress(Dropped):
                await self.ask_upstream(request, body)
            del self._late[request.path]

        task = self._loop.create_task(repeat())
        task.identity = request.identity
        self._late[request.path] = task

    def send_later(self, request, body, after_s):
        """Sends the upstream the request after a time; nobody waits for it."""

        async def send():
            await asyncio.sleep(after_s)
            with contextlib.suppress(Dropped):
                await self.ask_upstream(request, body)

        task = self._loop.create_task(send())
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def ask_upstream(self, request, body):
        """The upstream's whole answer. Dropped when it hangs up."""
        try:
            reader, writer = await self._connection()
        except OSError:
            raise UpstreamGone from None
        try:
            writer.write(request.head_for_upstream(len(body)) + body)
            reply, keeps = await _read_reply(reader, request.method)
        except (OSError, asyncio.IncompleteReadError):
            writer.transport.abort()
            raise UpstreamGone from None
        except BaseException:
            writer.transport.abort()
            raise
        if keeps:
            self._idle.append((reader, writer))
        else:
            writer.close()
        return reply

    async def ask_upstream_in_part(self, request, body, body_bytes):
        """Announces the whole body, sends a part of it, and hangs up."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection(*self._upstream)
            writer.write(request.head_for_upstream(len(body)) + body[:body_bytes])
            writer.write_eof()
            await _read_reply(reader, request.method)  # if it has one: it has seen the end
            writer.close()

    async def _connection(self):
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return await asyncio.open_connection(*self._upstream, limit=_HEAD_LIMIT_BYTES)


async def passed(exchange):
    """No fault."""
    await exchange.send(await exchange.forward())


async def _read_reply(reader, method):
    """(Reply, whether the connection can be used again)."""
    status = 100
    while status == 100:
        head = (await reader.readuntil(b"\r\n\r\n"))[:-4].decode().split("\r\n")
        status = int(head[0].split(" ", 2)[1])
    headers, kept = {}, []
    for line in head[1:]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
        if name.lower().encode() not in _HOP_BY_HOP:
            kept.append((name, value.strip()))
    keeps = headers.get("connection", "").lower() != "close"
    length = headers.get("content-length")
    if method == "HEAD" or status in (204, 304):
        return Reply(status, kept, b"", int(length) if length else None), keeps
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return Reply(status, kept, await _read_chunks(reader)), keeps
    if length is None:
        return Reply(status, kept, await reader.read()), False
    return Reply(status, kept, await reader.readexactly(int(length))), keeps


async def _read_chunks(reader):
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body
