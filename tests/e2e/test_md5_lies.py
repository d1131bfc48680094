"""The md5 filter over a disk that lies by seed: every lie is caught, none reaches the client."""

import collections
import dataclasses
import errno
import random
import re
import unittest

import nbd

from e2e.faulty_disk import FaultyDisk
from support.model import ModelMismatch, ShadowDisk

BLOCK = 4096
BLOCKS = 32
SIZE = BLOCKS * BLOCK
REQUESTS = 600
KINDS = ("stale", "swapped", "flipped", "truncated")

# For nbdkit's Python plugin, whose calls nbdkit serves one at a time. Now and then a read returns
# something else for a block than what it holds:
#   stale      what it held before one of its last changes
#   swapped    what another block holds
#   flipped    one bit turned
#   truncated  zeros from some byte on, or zeros only
# A lie lasts for one read, or (lasts=until-changed) until the block is written or zeroed. Each read
# is noted in `control`/reads: offset, count, and for each lie told in it BLOCK:KIND, in order. Once
# there is a file named honest in `control`, all lies have an end.
LYING_DISK = f"""
import pathlib, random

API_VERSION = 2
BLOCK, SIZE, KINDS = {BLOCK}, {SIZE}, {KINDS}
builtin_open = open
settings = {{}}
truth = [bytes(BLOCK)] * (SIZE // BLOCK)
before = [[] for _ in truth]  # what each block held, latest last
lies = {{}}                   # of each block lied about: kind, content
owed = set()                  # blocks whose next read is right
rng = log = None

def config(key, value):
    settings[key] = value

def config_complete():
    global rng, log
    rng = random.Random(settings["seed"])
    log = builtin_open(pathlib.Path(settings["control"]) / "reads", "w", buffering=1)

def open(readonly):
    return 1

def get_size(h):
    return SIZE

def flush(h, flags):
    pass

def blocks_of(offset, count):
    return range(offset // BLOCK, (offset + count - 1) // BLOCK + 1)

def change(offset, content):
    for block in blocks_of(offset, len(content)):
        start = max(offset, block * BLOCK)
        end = min(offset + len(content), (block + 1) * BLOCK)
        fresh = bytearray(truth[block])
        fresh[start - block * BLOCK:end - block * BLOCK] = content[start - offset:end - offset]
        before[block] = before[block][-3:] + [truth[block]]
        truth[block] = bytes(fresh)
        lies.pop(block, None)
        owed.discard(block)

def pwrite(h, content, offset, flags):
    change(offset, bytes(content))

def zero(h, count, offset, flags):
    change(offset, bytes(count))

def invent(block):
    while True:
        kind, untrue = rng.choice(KINDS), bytearray(truth[block])
        if kind == "stale":
            untrue = rng.choice(before[block] or [untrue])
        elif kind == "swapped":
            untrue = rng.choice(truth)
        elif kind == "flipped":
            untrue[rng.randrange(BLOCK)] ^= 1 << rng.randrange(8)
        else:
            kept = rng.choice((0, rng.randrange(BLOCK), rng.randrange(BLOCK)))
            untrue[kept:] = bytes(BLOCK - kept)
        if untrue != truth[block]:
            return kind, bytes(untrue)

def begin_lies(blocks):
    if rng.randrange(int(settings["one_in"])) == 0:
        favourite = rng.choice(blocks)
        for block in blocks:
            if block == favourite or rng.randrange(4) == 0:
                lies.setdefault(block, invent(block))

def pread(h, buffer, offset, flags):
    end, noted = offset + len(buffer), [offset, len(buffer)]
    blocks = blocks_of(offset, len(buffer))
    honest = (pathlib.Path(settings["control"]) / "honest").exists()
    if not honest:
        begin_lies(blocks)
    for block in blocks:
        kind, content = lies.get(block, (None, None))
        first = max(offset, block * BLOCK)
        within = slice(first - block * BLOCK, min(end - block * BLOCK, BLOCK))
        answer = truth[block][within]
        if kind and not honest and block not in owed and content[within] != answer:
            answer = content[within]
            noted.append("%d:%s" % (block, kind))
            if settings["lasts"] == "one-read":
                owed.add(block)
        else:
            owed.discard(block)
        if settings["lasts"] == "one-read":
            lies.pop(block, None)
        buffer[first - offset:first - offset + len(answer)] = answer
    print(*noted, file=log)
"""


@dataclasses.dataclass(frozen=True)
class _Read:
    """A read that reached the disk."""

    offset: int
    count: int
    lies: list  # (block, kind), in order

    @property
    def is_of(self):
        """The block of which it is the read, alone and whole; None where it is another read."""
        alone = self.count == BLOCK and self.offset % BLOCK == 0
        return self.offset // BLOCK if alone else None


@dataclasses.dataclass(frozen=True)
class _Request:
    kind: str
    offset: int
    count: int
    written: bytes  # by a write or a zero

    @property
    def merged_parts(self):
        """(offset, count) of what a change has in blocks that it changes in part, where the filter
        has to read the rest."""
        parts, end = [], self.offset + self.count
        if self.kind == "read":
            return parts
        for block in sorted({self.offset // BLOCK, (end - 1) // BLOCK}):
            first, last = max(self.offset, block * BLOCK), min(end, (block + 1) * BLOCK)
            if last - first < BLOCK:
                parts.append((first, last - first))
        return parts

    @property
    def reads_needed(self):
        """By which it is done when each is answered right."""
        return 1 if self.kind == "read" else len(self.merged_parts)


def random_requests(seed):
    """Reads, writes and zeros, on block bounds and off them."""
    rng = random.Random(seed)
    for _ in range(REQUESTS):
        kind = rng.choice(("read",) * 5 + ("write",) * 3 + ("zero",) * 2)
        unit = rng.choice((1, BLOCK))
        offset = rng.randrange(SIZE) // unit * unit
        count = min(rng.randint(1, 4 * BLOCK // unit) * unit, SIZE - offset)
        yield _Request(
            kind, offset, count, rng.randbytes(count) if kind == "write" else bytes(count)
        )


class LyingDisk:
    """The disk above under a server, its client, and what the disk must contain."""

    def __init__(self, test, seed, lasts, *arguments, one_in, filters):
        self.faults = FaultyDisk(test, LYING_DISK)
        self.server = self.faults.serve(
            f"seed={seed}", f"lasts={lasts}", f"one_in={one_in}", *arguments, filters=filters
        )
        self.model, self.told = ShadowDisk(SIZE), collections.Counter()
        self._handle = self.server.connect()
        self._notes = open(self.faults.control / "reads", encoding="ascii")
        test.addCleanup(self._notes.close)
        self._handle.pwrite(bytes(SIZE), 0)  # what it holds anyhow; from now on it is remembered

    def perform(self, request):
        """The error's number (0: none) and the bytes read."""
        handle = self._handle
        try:
            if request.kind == "read":
                return 0, handle.pread(request.count, request.offset)
            if request.kind == "write":
                handle.pwrite(request.written, request.offset)
            else:
                handle.zero(request.count, request.offset)
        except nbd.Error as error:
            return error.errnum, b""
        return 0, b""

    def reads(self):
        """The reads that have reached the disk since the last call."""
        found = []
        for line in self._notes:
            offset, count, *lies = line.split()
            lies = [(int(block), kind) for block, kind in (lie.split(":") for lie in lies)]
            self.told.update(kind for _, kind in lies)
            found.append(_Read(int(offset), int(count), lies))
        return found

    def become_honest(self):
        """Ends all lies."""
        self.faults.set("honest", 1)

    def compare(self):
        """The whole disk with the model."""
        self.model.compare_with(self._handle)

    def take_in(self, request, found):
        """Into the model what a request changed, and hold what it read against it."""
        if request.kind == "read":
            self.model.check(request.offset, found)
        else:
            self.model.note_write(request.offset, request.written, kind=request.kind)


class Lies(unittest.TestCase):
    def test_lie_that_lasts_is_eio_and_names_the_block(self):
        """Reads fail, and so do changes that would be merged into false content. They leave the
        block as it was: once the disk is honest it has everything that was acknowledged."""
        for seed, retry_time, reads in ((1, "0", 1), (2, "10ms", 2)):
            with self.subTest(seed=seed):
                disk = self.serve(seed, "until-changed", f"md5-retry-time={retry_time}", one_in=12)
                requests = random_requests(seed)
                named = [self._refused(disk, request, reads) for request in requests]
                named = [block for block in named if block is not None]
                self.assertGreater(len(named), 100)
                errors = re.findall(r"error: .*md5: block (\d+) \(offset", disk.server.log())
                self.assertEqual({int(block) for block in errors}, set(named))
                self._check_all_kinds(disk)
                disk.become_honest()
                disk.compare()

    def _refused(self, disk, request, least_judged):
        """The block for which a request was refused, None when it succeeded as it must. So many
        reads of that block alone must have been wrong before."""
        code, found = disk.perform(request)
        reads = disk.reads()
        lied = next((number for number, read in enumerate(reads) if read.lies), None)
        if lied is None:
            self.assertEqual(code, 0, request)
            self.assertEqual(len(reads), request.reads_needed, request)
            disk.take_in(request, found)
            return None
        block, _ = reads[lied].lies[0]
        self.assertEqual(code, errno.EIO, request)
        # A change reads its block alone from the start.
        alone = [read.is_of for read in reads[lied:]][request.kind == "read" :]
        self.assertGreaterEqual(len(alone), least_judged, request)
        self.assertEqual(set(alone), {block}, request)
        for offset, count in request.merged_parts:
            if offset // BLOCK == block:
                break
            start = offset - request.offset
            disk.model.note_write(offset, request.written[start : start + count])
        return block

    def test_lie_of_one_read_is_healed(self):
        for seed, retry_time in ((3, "1"), (4, "30")):
            with self.subTest(seed=seed):
                disk = self.serve(seed, "one-read", f"md5-retry-time={retry_time}", one_in=5)
                healed = sum(self._healed(disk, request) for request in random_requests(seed))
                self._check_all_kinds(disk)
                self.assertEqual(healed, disk.told.total())
                disk.become_honest()
                disk.compare()

    def _healed(self, disk, request):
        """How many lies were followed by a read of their block alone, which was right."""
        code, found = disk.perform(request)
        self.assertEqual(code, 0, request)
        disk.take_in(request, found)
        lied_about, healed, others = collections.deque(), 0, 0
        for read in disk.reads():
            if not lied_about:
                others += 1
                lied_about.extend(block for block, _ in read.lies)
                continue
            self.assertEqual((read.is_of, read.lies), (lied_about.popleft(), []), request)
            healed += 1
        self.assertFalse(lied_about, request)
        self.assertEqual(others, request.reads_needed, request)
        return healed

    def test_lie_of_one_read_is_healed_in_no_time(self):
        """Also where no time is given: a read is judged when it is made for the second time."""
        disk = self.serve(5, "one-read", "md5-retry-time=0", one_in=3)
        for request in random_requests(5):
            if request.kind == "read" or not request.merged_parts:
                self._healed(disk, request)
        self._check_all_kinds(disk)

    def test_without_the_filter_the_client_is_lied_to(self):
        """The control of the others: all their lies can be seen."""
        for lasts in ("one-read", "until-changed"):
            with self.subTest(lasts):
                disk = self.serve(6, lasts, one_in=5, filters=())
                wrong, lied_to = 0, 0
                for request in random_requests(6):
                    code, found = disk.perform(request)
                    self.assertEqual(code, 0, request)
                    lied_to += any(read.lies for read in disk.reads())
                    try:
                        disk.take_in(request, found)
                    except ModelMismatch:
                        wrong += 1
                self.assertEqual(wrong, lied_to)
                self._check_all_kinds(disk)

    def serve(self, seed, lasts, *arguments, one_in, filters=("--filter=md5",)):
        """A disk that lies; under the filter, with digests that are kept for ever."""
        if filters:
            arguments += (f"md5-block-size={BLOCK}", "md5-cache-time=0")
        return LyingDisk(self, seed, lasts, *arguments, one_in=one_in, filters=filters)

    def _check_all_kinds(self, disk):
        for kind in KINDS:
            self.assertGreater(disk.told[kind], 5, kind)


if __name__ == "__main__":
    unittest.main()
