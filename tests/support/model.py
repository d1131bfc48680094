"""The shadow disk: many random requests in flight, every read compared with a model in memory.

    disk = ShadowDisk(64 << 20)
    Workload(disk, seed=7, requests=5000, connections=4, in_flight=16).run(server.connect)
    disk.compare_with(server.connect())

What holds at every moment:
- Two requests in flight share a byte only if both leave it alone (reads and cache hints). So what
  the disk must contain is known without knowing in which order the server works.
- The model changes when a request is answered, not when it is sent.
- A byte is *unspecified* after a trim (unless the test says that trims read as zeros) and after a
  write, zero or trim that failed; it may then read as anything until it is written again.

One thread, poll() over libnbd's asynchronous calls. Request number n is drawn from the seed and n
alone; only where a collision moves it to, and how requests mingle, depends on the order of the
server's answers. With one request in flight a run repeats exactly.
"""

import dataclasses
import random
import select
import time

import nbd

from support import data


class ModelMismatch(AssertionError):
    """The disk is not what it should be; the message tells where, what and who wrote there last."""


class WorkloadError(AssertionError):
    """A request failed that must not, is not offered by the server, or was never answered."""


class ShadowDisk:
    """What a disk must contain. Memory: twice its size."""

    def __init__(self, size_bytes, content=None):
        self.size_bytes = size_bytes
        self.content = bytearray(content if content is not None else bytes(size_bytes))
        self._unspecified = bytearray(size_bytes)  # 1 = may read as anything
        self._history = []  # (number, kind, offset, count) of every change

    @classmethod
    def of_export(cls, handle, chunk_bytes=1 << 20):
        """A model of what an export contains now."""
        size, content = handle.get_size(), bytearray()
        while len(content) < size:
            content += handle.pread(min(chunk_bytes, size - len(content)), len(content))
        return cls(size, content)

    def note_write(self, offset, written, number=None, kind="write"):
        """A write of these bytes succeeded."""
        self.content[offset : offset + len(written)] = written
        self._unspecified[offset : offset + len(written)] = bytes(len(written))
        self._history.append((number, kind, offset, len(written)))

    def note_zero(self, offset, count, number=None, kind="zero"):
        """A zero, or a trim known to read as zeros, succeeded."""
        self.note_write(offset, bytes(count), number, kind)

    def note_unspecified(self, offset, count, number=None, kind="trim"):
        """These bytes may be anything from now on: a trim, or a change that failed."""
        self._unspecified[offset : offset + count] = b"\1" * count
        self._history.append((number, kind, offset, count))

    def check(self, offset, found, what="read"):
        """Raises ModelMismatch when `found` is not what the disk must hold at `offset`."""
        expected = self.content[offset : offset + len(found)]
        if found == expected:
            return
        mask, position = self._unspecified, offset
        end = offset + len(found)
        while (position := mask.find(0, position, end)) >= 0:
            stop = mask.find(1, position, end)
            stop = end if stop < 0 else stop
            part = slice(position - offset, stop - offset)
            if found[part] != expected[part]:
                wrong = [i for i in range(part.start, part.stop) if found[i] != expected[i]]
                raise ModelMismatch(self._explain(what, offset, found, expected, wrong))
            position = stop

    def compare_with(self, handle, chunk_bytes=1 << 20):
        """Reads the whole export through a libnbd handle and checks every byte."""
        if handle.get_size() != self.size_bytes:
            raise ModelMismatch(f"size {handle.get_size()} instead of {self.size_bytes}")
        for offset in range(0, self.size_bytes, chunk_bytes):
            count = min(chunk_bytes, self.size_bytes - offset)
            self.check(offset, handle.pread(count, offset), "final comparison")

    def _explain(self, what, offset, found, expected, wrong):
        at = offset + wrong[0]
        word = at - at % data.WORD_BYTES - offset
        here = slice(max(0, word), max(0, word) + data.WORD_BYTES)
        past = [entry for entry in self._history if entry[2] <= at < entry[2] + entry[3]]
        lines = [
            f"{what}: {len(wrong)} wrong bytes from {at:#x} to {offset + wrong[-1]:#x}",
            f"  found    {data.describe_word(bytes(found[here]))}",
            f"  expected {data.describe_word(bytes(expected[here]))}",
            "  last changes of that byte:",
        ]
        lines += [f"    #{n} {kind} {count} bytes at {o:#x}" for n, kind, o, count in past[-5:]]
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class Mix:
    """How often each kind of request comes, relative to the others. A kind above 0 must be offered
    by the server: a test that wants less says so."""

    read: float = 40
    write: float = 30
    write_zeros: float = 3  # a plain write whose bytes happen to be zero
    zero: float = 5  # NBD_CMD_WRITE_ZEROES that may punch holes
    zero_no_hole: float = 3
    trim: float = 4
    flush: float = 3
    cache: float = 3
    fua_share: float = 0.1  # of the writes, zeros and trims


@dataclasses.dataclass
class _Request:
    number: int
    kind: str
    offset: int
    count: int
    fua: bool
    buffer: object = None
    written: bytes = b""
    sent: float = 0.0  # time.monotonic()

    @property
    def changes(self):
        return self.kind not in ("read", "cache", "flush")

    def collides(self, other):
        """Whether the two may not be in flight together."""
        end, other_end = self.offset + self.count, other.offset + other.count
        overlap = self.offset < other_end and other.offset < end
        return overlap and (self.changes or other.changes)

    def __str__(self):
        return f"#{self.number} {self.kind} {self.count} bytes at {self.offset:#x}"


class Workload:
    """Random requests against an export, compared with a ShadowDisk.

    requests         how many
    connections      of which each has up to `in_flight` requests under way
    block_size       the interesting alignment: offsets and sizes crowd around its multiples
    max_bytes        the largest request
    alignment        offsets and sizes are multiples of it (a disk that refuses smaller requests)
    trim_reads_zero  the test knows that trimmed bytes read as zeros
    may_fail         errors, by name ("EIO"), that are no failure of the test; the bytes of a change
                     that failed become unspecified
    stall_s          no answer at all for this long is a failure
    """

    def __init__(
        self, disk, seed, requests, connections=1, in_flight=1, block_size=65536,
        max_bytes=1 << 20, alignment=1, mix=Mix(), trim_reads_zero=False, may_fail=(), stall_s=60,
    ):  # fmt: skip
        self.disk, self.mix = disk, mix
        self.requests, self.connections, self.in_flight = requests, connections, in_flight
        self.block_size, self.alignment = block_size, alignment
        self.max_bytes = min(max_bytes, disk.size_bytes)
        self.trim_reads_zero, self.may_fail, self.stall_s = trim_reads_zero, may_fail, stall_s
        self.failures = []  # (request, name of the error) of what was allowed to fail
        self.counts = {}  # requests by kind
        self.bytes_read = self.bytes_written = 0
        self.longest_s, self.longest = 0.0, None  # the request that took the longest
        self._seed = seed
        self._pending = {}  # (handle index, cookie) -> _Request
        self._handles = []

    def run(self, connect):
        """Calls `connect` for each connection and runs to the end, once. WorkloadError and
        ModelMismatch name the seed. Returns self, for `counts`, `failures` and `longest_s`."""
        self._handles = [connect() for _ in range(self.connections)]
        try:
            self._require_offers()
            self._loop()
        except (ModelMismatch, WorkloadError) as error:
            raise type(error)(f"seed {self._seed}: {error}") from None
        return self

    def _require_offers(self):
        handle, mix = self._handles[0], self.mix
        needed = [
            (mix.zero + mix.zero_no_hole, handle.can_zero, "write-zeroes"),
            (mix.trim, handle.can_trim, "trim"),
            (mix.flush, handle.can_flush, "flush"),
            (mix.cache, handle.can_cache, "cache"),
            (mix.fua_share, handle.can_fua, "FUA"),
            (self.connections > 1, handle.can_multi_conn, "multi-conn"),
        ]
        missing = [name for wanted, offered, name in needed if wanted and not offered()]
        if missing:
            raise WorkloadError(f"the server does not offer {', '.join(missing)}")

    def _loop(self):
        """Keeps every connection full until all requests are sent, then drains."""
        number, following, heard = 0, None, time.monotonic()
        while number < self.requests or following or self._pending:
            index = self._free_connection()
            if following is None and number < self.requests:
                number += 1
                following = self._choose(number)
            if following and index is not None and not self._blocked(following):
                self._send(index, following)
                following = None
                continue
            if self._collect():
                heard = time.monotonic()
            elif time.monotonic() - heard > self.stall_s:
                stuck = "; ".join(str(request) for request in self._pending.values())
                raise WorkloadError(f"no answer for {self.stall_s} s to {stuck}")

    def _free_connection(self):
        load = [0] * self.connections
        for index, _ in self._pending:
            load[index] += 1
        index = load.index(min(load))
        return index if load[index] < self.in_flight else None

    def _blocked(self, request):
        return any(request.collides(other) for other in self._pending.values())

    def _choose(self, number):
        """A request at random. One that collides is moved a few times, then waits its turn."""
        rng = random.Random(f"{self._seed} {number}")
        mix = dataclasses.asdict(self.mix)
        fua = rng.random() < mix.pop("fua_share")
        kind = rng.choices(list(mix), list(mix.values()))[0]
        for _ in range(8):
            offset, count = (0, 0) if kind == "flush" else self._place(rng)
            request = _Request(number, kind, offset, count, fua)
            if not self._blocked(request):
                break
        return request

    def _place(self, rng):
        """Offset and count: anything, sectors, or near and across multiples of block_size."""
        size, block = self.disk.size_bytes, self.block_size
        count = rng.choice(
            [
                rng.randint(1, 16),
                rng.randint(1, block),
                512 * rng.randint(1, 16),
                block,
                block + rng.randint(-3, 3),
                block * rng.randint(1, max(1, self.max_bytes // block)),
                rng.randint(1, self.max_bytes),
            ]
        )
        count = max(1, min(count, self.max_bytes))
        offset = rng.choice(
            [
                rng.randrange(size),
                rng.randrange(size) // 512 * 512,
                rng.randrange(size) // block * block,
                rng.randrange(size) // block * block - rng.randint(0, count),
                size - count,
            ]
        )
        count = max(self.alignment, count // self.alignment * self.alignment)
        offset = max(0, min(offset, size - count)) // self.alignment * self.alignment
        return offset, min(count, size - offset)

    def _send(self, index, request):
        handle, offset, count = self._handles[index], request.offset, request.count
        fua = nbd.CMD_FLAG_FUA if request.fua else 0
        request.sent = time.monotonic()
        if request.kind == "read":
            request.buffer = nbd.Buffer(count)
            cookie = handle.aio_pread(request.buffer, offset)
        elif request.kind in ("write", "write_zeros"):
            request.written = self._bytes_to_write(request)
            request.buffer = nbd.Buffer.from_bytearray(bytearray(request.written))
            cookie = handle.aio_pwrite(request.buffer, offset, flags=fua)
        elif request.kind == "zero":
            cookie = handle.aio_zero(count, offset, flags=fua)
        elif request.kind == "zero_no_hole":
            cookie = handle.aio_zero(count, offset, flags=fua | nbd.CMD_FLAG_NO_HOLE)
        elif request.kind == "trim":
            cookie = handle.aio_trim(count, offset, flags=fua)
        elif request.kind == "cache":
            cookie = handle.aio_cache(count, offset)
        else:
            cookie = handle.aio_flush()
        self._pending[index, cookie] = request
        self.counts[request.kind] = self.counts.get(request.kind, 0) + 1

    def _bytes_to_write(self, request):
        if request.kind == "write_zeros":
            return bytes(request.count)
        if request.count < 4 * data.WORD_BYTES:  # a tag would be mostly zeros
            return data.random_bytes(f"{self._seed} {request.number}", request.count)
        return data.tagged(request.number, request.offset, request.count)

    def _collect(self):
        """Waits up to a second for answers and takes in every one; whether there was any."""
        poll, by_fd = select.poll(), {}
        for handle in self._handles:
            direction = handle.aio_get_direction()
            events = (select.POLLIN if direction & nbd.AIO_DIRECTION_READ else 0) | (
                select.POLLOUT if direction & nbd.AIO_DIRECTION_WRITE else 0
            )
            if events:
                by_fd[handle.aio_get_fd()] = handle
                poll.register(handle.aio_get_fd(), events)
        for fd, event in poll.poll(1000):
            self._notify(by_fd[fd], event)
        return self._take_completed()

    def _notify(self, handle, event):
        direction = handle.aio_get_direction()
        try:
            if event & ~select.POLLOUT and direction & nbd.AIO_DIRECTION_READ:
                handle.aio_notify_read()
            elif direction & nbd.AIO_DIRECTION_WRITE:
                handle.aio_notify_write()
        except nbd.Error as error:
            raise WorkloadError(f"the connection broke: {error}") from None

    def _take_completed(self):
        done = []
        for index, cookie in list(self._pending):
            handle = self._handles[index]
            try:
                if not handle.aio_command_completed(cookie):
                    continue
                code = None
            except nbd.Error as error:
                code = error.errno
            done.append((self._pending.pop((index, cookie)), code))
        for request, code in done:
            self._finish(request, code)
        return bool(done)

    def _finish(self, request, code):
        """Takes an answer into the model."""
        disk, offset, count = self.disk, request.offset, request.count
        seconds = time.monotonic() - request.sent
        if seconds > self.longest_s:
            self.longest_s, self.longest = seconds, request
        if code is not None:
            if code not in self.may_fail:
                raise WorkloadError(f"{request} failed: {code}")
            self.failures.append((request, code))
            if request.changes:
                disk.note_unspecified(offset, count, request.number, f"failed {request.kind}")
        elif request.kind == "read":
            self.bytes_read += count
            disk.check(offset, request.buffer.to_bytearray(), str(request))
        elif request.kind in ("write", "write_zeros"):
            self.bytes_written += count
            disk.note_write(offset, request.written, request.number, request.kind)
        elif request.kind in ("zero", "zero_no_hole") or (
            request.kind == "trim" and self.trim_reads_zero
        ):
            disk.note_zero(offset, count, request.number, request.kind)
        elif request.kind == "trim":
            disk.note_unspecified(offset, count, request.number)
