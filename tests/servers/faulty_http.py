"""A small HTTP/1.1 proxy that misbehaves as the test tells it, in front of a real S3 endpoint.

    with FaultyProxy(s3.endpoint) as proxy:
        proxy.script(faults.status(503, "SlowDown"), faults.cut_body(100), method="GET")
        proxy.behaviour = lambda request: faults.drop_before() if request.method == "PUT" else None
        ... use proxy.endpoint ...
        assert proxy.count("GET") == 3 and proxy.most_in_flight("PUT", "/b/key") == 1

Faults are functions, see faults.py. The script's meet the next requests that match, one each;
`behaviour` is asked when the script has nothing for a request, and None means pass. The client's
Host header goes upstream untouched, since it is signed. One thread a connection.
"""

import http.client
import http.server
import socket
import struct
import sys
import threading
import time
import urllib.parse
from dataclasses import dataclass

from servers import faults
from support import data

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "expect", "proxy-connection"}


@dataclass
class Request:
    """One request as it arrived, and what became of it. Times are time.monotonic().

    arrived   its headers were read
    answered  the upstream was done with it and the first byte of the answer not yet sent: from here
              on a client may know the result (None while in flight)
    finished  the last byte was sent, or the connection dropped (None until then)
    """

    number: int
    method: str
    path: str
    query: str
    headers: dict
    body: bytes = b""
    arrived: float = 0.0
    answered: float | None = None
    finished: float | None = None
    status: int | None = None
    forwarded: bool = False
    fault: str = "pass"

    def matches(self, method, path):
        """`path` is a substring of the quoted path; None matches everything."""
        return (method in (None, self.method)) and (path is None or path in self.path)


class Dropped(Exception):
    """The fault hung up."""


class Exchange:
    """One request in a fault's hands."""

    def __init__(self, proxy, handler, request):
        self.proxy, self._handler, self.request = proxy, handler, request

    def forward(self):
        """Sends the request upstream; the whole Reply. An upstream that hangs up is passed on."""
        self.request.forwarded = True
        try:
            return self.proxy.ask_upstream(self.request)
        except (OSError, http.client.HTTPException):
            self.drop()

    def send(self, reply, stop_after=None):
        """Sends `reply`; with `stop_after`, only that many bytes of its body."""
        self.proxy.note_answered(self.request, reply.status)
        handler = self._handler
        handler.send_response_only(reply.status)
        length = len(reply.body) if reply.content_length is None else reply.content_length
        for name, value in reply.headers:
            handler.send_header(name, value)
        if reply.status not in (204, 304):
            handler.send_header("Content-Length", str(length))
        handler.end_headers()
        if self.request.method != "HEAD":
            self.send_bytes(reply.body[:stop_after])

    def send_bytes(self, body):
        """Raw bytes, outside any framing."""
        self._handler.wfile.write(body)

    def drop(self, reset=False):
        """Hangs up, in an orderly way or with a TCP reset. Does not return."""
        self.proxy.note_answered(self.request, None)
        connection = self._handler.connection
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Dropped

    def wait(self, event=None, timeout_s=None):
        """Until `event` is set or the time is over. Hangs up when the proxy closes meanwhile."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not (event and event.is_set()):
            left = 0.02 if deadline is None else min(0.02, deadline - time.monotonic())
            if left <= 0:
                return
            if self.proxy.closing.wait(left):
                self.drop()


class _Handler(http.server.BaseHTTPRequestHandler):
    """Reads requests, lets the fault act, and keeps the connection alive in between."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 0

    def handle_any(self):
        """Every method comes here."""
        proxy = self.server.proxy
        if proxy.closing.is_set():
            self.close_connection = True
            return
        request = proxy.note_arrival(self.command, self.path, self.headers)
        try:
            request.body = self._read_body()
            fault = proxy.choose(request)
            request.fault = fault.__qualname__.partition(".")[0]
            fault(Exchange(proxy, self, request))
        except (Dropped, OSError):
            self.close_connection = True
        except BaseException:
            self.close_connection = True
            raise
        finally:
            proxy.note_finished(request)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_any

    def _read_body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *_):
        """Quiet: proxy.requests is the log."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """A client that hung up is no news; a fault that is wrong is kept for close() to raise."""
        self.proxy.note_error()


class FaultyProxy:
    """The proxy; a context manager. Thread-safe where a test needs it to be."""

    def __init__(self, upstream, behaviour=None):
        self._upstream = urllib.parse.urlsplit(upstream)
        if self._upstream.scheme != "http":
            raise ValueError(f"upstream {upstream}: the proxy speaks http alone")
        self.behaviour = behaviour
        self.closing = threading.Event()
        self._changed = threading.Condition()  # protects what follows
        self._requests, self._script, self._error = [], [], None
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Hangs up on whatever is stalled. Raises what a wrong fault or behaviour raised."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        if self._error:
            raise self._error

    def script(self, *faults, method=None, path=None):
        """The next requests that match get these faults, one each, in order of arrival."""
        with self._changed:
            self._script += [(method, path, fault) for fault in faults]

    @property
    def requests(self):
        """Every Request so far, in order of arrival."""
        with self._changed:
            return list(self._requests)

    def matching(self, method=None, path=None):
        """Requests by method and by a part of their path."""
        return [request for request in self.requests if request.matches(method, path)]

    def count(self, method=None, path=None):
        """How many requests arrived."""
        return len(self.matching(method, path))

    def in_flight(self, method=None, path=None):
        """Requests that arrived and are not answered."""
        return [request for request in self.matching(method, path) if request.answered is None]

    def most_in_flight(self, method=None, path=None):
        """The greatest number of such requests that were ever unanswered at one time."""
        events = []
        for request in self.matching(method, path):
            events.append((request.arrived, 1))
            if request.answered is not None:
                events.append((request.answered, -1))
        most = now = 0
        for _, step in sorted(events):
            now += step
            most = max(most, now)
        return most

    def wait_for(self, number, method=None, path=None, timeout_s=30):
        """Blocks until at least `number` such requests have arrived."""
        with self._changed:

            def arrived():
                return sum(r.matches(method, path) for r in self._requests) >= number

            if not self._changed.wait_for(arrived, timeout_s):
                raise TimeoutError(
                    f"{number} requests {method} {path}: only "
                    f"{sum(r.matches(method, path) for r in self._requests)} within {timeout_s} s"
                )

    def wait_until_idle(self, timeout_s=30):
        """Blocks until every request that arrived is finished."""
        data.wait_until(
            lambda: all(r.finished is not None for r in self.requests), timeout_s, "proxy idle"
        )

    def choose(self, request):
        """The fault for a request: from the script, else from the behaviour, else pass."""
        with self._changed:
            for entry in self._script:
                method, path, fault = entry
                if request.matches(method, path):
                    self._script.remove(entry)
                    return fault
        return (self.behaviour and self.behaviour(request)) or faults.passed()

    def ask_upstream(self, request):
        """The upstream's whole answer, over a connection of its own."""
        url = self._upstream
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
        try:
            target = request.path + ("?" + request.query if request.query else "")
            connection.putrequest(
                request.method, target, skip_host=True, skip_accept_encoding=True
            )
            for name, value in request.headers.items():
                if name.lower() not in _HOP_BY_HOP | {"content-length"}:
                    connection.putheader(name, value)
            if request.body or request.method in ("PUT", "POST"):
                connection.putheader("Content-Length", str(len(request.body)))
            connection.endheaders(request.body or None)
            answer = connection.getresponse()
            body = answer.read()
            kept = [
                (name, value)
                for name, value in answer.getheaders()
                if name.lower() not in _HOP_BY_HOP | {"content-length"}
            ]
            length = answer.getheader("Content-Length") if request.method == "HEAD" else None
            return faults.Reply(answer.status, kept, body, int(length) if length else None)
        finally:
            connection.close()

    def note_arrival(self, method, target, headers):
        """Enters a request into the log."""
        path, _, query = target.partition("?")
        with self._changed:
            request = Request(
                len(self._requests), method, path, query, dict(headers), arrived=time.monotonic()
            )
            self._requests.append(request)
            self._changed.notify_all()
            return request

    def note_answered(self, request, status_code):
        """The client may learn the outcome from now on."""
        with self._changed:
            if request.answered is None:
                request.answered, request.status = time.monotonic(), status_code
                self._changed.notify_all()

    def note_finished(self, request):
        """The exchange is over."""
        self.note_answered(request, None)
        with self._changed:
            request.finished = time.monotonic()
            self._changed.notify_all()

    def note_error(self):
        """Keeps the first exception that is not a client hanging up."""
        error = sys.exc_info()[1]
        with self._changed:
            if not isinstance(error, OSError):
                self._error = self._error or error
