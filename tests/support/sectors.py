"""The oracle of the kill -9 test: what each sector of a disk may contain after a crash.

Every sector that is written carries its own number and the sequence number of the request that
wrote it, so what is read names its origin, and torn, misplaced and stale content shows.

A sector has a line of versions, oldest first: the one that must at least be there, and one for each
change since, done or not. A version is a set of contents, because a trim leaves either what was
there or zeros. What holds:

    event                            the sector's versions
    a change is sent                 one more
    a change has failed              stays: it may have been done, or done in part; a read may show
                                     it, and everything back to the last one done
    a FLUSH has succeeded            those older than the last one done when it was sent are gone
    a change with FUA has succeeded  those older than it are gone
    the server was killed            any one of them is right, each sector for itself
    ... and started again            what it shows then is the only one

No two changes of a sector may be in flight together: the test would not know which came last.
"""

import struct

SECTOR_BYTES = 512
ZEROS = 0  # the content "zeros", among sequence numbers, which start at 1
_STAMP = struct.Struct(">QQ")
_REPEATS = SECTOR_BYTES // _STAMP.size


class WrongSector(AssertionError):
    """A sector holds what it must not; the message says which, what, and what would be right."""


def stamped(first_sector, count, sequence):
    """The content of `count` sectors written by request `sequence`."""
    numbers = range(first_sector, first_sector + count)
    return b"".join(_STAMP.pack(number, sequence) * _REPEATS for number in numbers)


class _Sector:
    __slots__ = ("versions", "in_flight")

    def __init__(self):
        self.versions = [(None, frozenset([ZEROS]))]  # (sequence, contents), oldest first
        self.in_flight = False


class SectorModel:
    """What the sectors of a disk that was all zeros may contain."""

    def __init__(self, sectors):
        self.size_bytes = sectors * SECTOR_BYTES
        self._sectors = [_Sector() for _ in range(sectors)]
        self._unsettled = set()  # sectors with more than one version
        self._done = 0  # changes that succeeded: a clock for flushes
        self._done_at = {}  # sequence -> that clock when it succeeded

    def __len__(self):
        return len(self._sectors)

    def is_changing(self, first, count):
        """Whether a change of any of these sectors is in flight."""
        return any(sector.in_flight for sector in self._sectors[first : first + count])

    def sent(self, sequence, kind, first, count):
        """A "write", "zero" or "trim" is on its way."""
        for number in range(first, first + count):
            sector = self._sectors[number]
            contents = {"write": {sequence}, "zero": {ZEROS}}.get(kind)
            if contents is None:
                contents = {ZEROS}.union(*(each for _, each in self._present(sector)))
            sector.versions.append((sequence, frozenset(contents)))
            sector.in_flight = True
            self._unsettled.add(number)

    def succeeded(self, sequence, first, count, fua=False):
        """The change was answered without an error."""
        self._done += 1
        self._done_at[sequence] = self._done
        for number in range(first, first + count):
            self._sectors[number].in_flight = False
            if fua:
                self._forget_before(number, self._done)

    def failed(self, first, count):
        """The change was answered with an error."""
        for sector in self._sectors[first : first + count]:
            sector.in_flight = False

    def flush_sent(self):
        """The mark to hand to flushed()."""
        return self._done

    def flushed(self, mark):
        """A FLUSH that was sent at `mark` succeeded."""
        for number in list(self._unsettled):
            self._forget_before(number, mark)

    def _forget_before(self, number, mark):
        """Forgets the versions of a sector older than the last that was done by `mark`."""
        sector = self._sectors[number]
        for index in range(len(sector.versions) - 1, 0, -1):
            done_at = self._done_at.get(sector.versions[index][0])
            if done_at is not None and done_at <= mark:
                sector.versions[:index] = []
                break
        if len(sector.versions) == 1:
            self._unsettled.discard(number)

    def _present(self, sector):
        """The versions that it may show while the server runs: the last one done, and those that
        failed since."""
        versions, index = sector.versions, len(sector.versions) - 1
        while index > 0 and versions[index][0] not in self._done_at:
            index -= 1
        return versions[index:]

    def check_read(self, first, content):
        """A read while the server runs, of sectors that nobody was changing: the last version."""
        self._check(first, content, "was read as")

    def _check(self, first, content, what):
        for number, found in _split(first, content):
            versions = self._present(self._sectors[number])
            if not any(_is_one_of(number, found, contents) for _, contents in versions):
                raise WrongSector(self._explain(number, found, versions, what))

    def settle(self, content):
        """What a server that was killed shows when it is started again: the whole disk. From now
        on the disk must be this. Returns how many sectors had a choice, and how many of those show
        the last that was sent."""
        choice = newest = 0
        for number, found in _split(0, content):
            sector = self._sectors[number]
            if not any(_is_one_of(number, found, contents) for _, contents in sector.versions):
                raise WrongSector(self._explain(number, found, sector.versions, "came back as"))
            if number in self._unsettled:
                choice += 1
                newest += _is_one_of(number, found, sector.versions[-1][1])
            sector.versions = [(None, frozenset([_sequence(found)]))]
            sector.in_flight = False
        self._unsettled.clear()
        self._done_at.clear()
        return choice, newest

    def check_stored(self, content):
        """The disk below once everything has been flushed: nothing in flight, and no doubt left but
        about changes that failed."""
        self._check(0, content, "is stored below as")

    def _explain(self, number, found, versions, what):
        right = " or ".join(_name(content) for _, contents in versions for content in contents)
        return f"sector {number} {what} {_describe(number, found)}; right would be {right}"


def _split(first, content):
    view = memoryview(content)
    for index in range(len(content) // SECTOR_BYTES):
        yield first + index, view[index * SECTOR_BYTES : (index + 1) * SECTOR_BYTES]


def _sequence(found):
    return _STAMP.unpack_from(found)[1]


def _is_one_of(number, found, contents):
    sequence = _sequence(found)
    if sequence not in contents:
        return False
    return found == (_STAMP.pack(number if sequence else 0, sequence) * _REPEATS)


def _name(content):
    return f"request {content}" if content else "zeros"


def _describe(number, found):
    stamps = list(dict.fromkeys(_STAMP.iter_unpack(found)))
    if len(stamps) > 1:
        return f"torn: {len(stamps)} different stamps, {stamps[:3]}"
    written_for, sequence = stamps[0]
    if sequence and written_for != number:
        return f"sector {written_for} of request {sequence}"
    return _name(sequence)


def random_range(rng, sectors, most, block_sectors):
    """(first, count) of a request: from one sector to `most`, anywhere or crowding around the
    boundaries of blocks, in a disk of `sectors`."""
    whole = block_sectors * rng.randint(1, max(1, most // block_sectors))
    count = rng.choice([1, rng.randint(1, 8), 8, rng.randint(1, most), whole])
    first = rng.randrange(sectors)
    block = first // block_sectors * block_sectors
    first = rng.choice([first, first // 8 * 8, block, block - count // 2])
    count = min(count, most, sectors)
    return max(0, min(first, sectors - count)), count
