"""The kill -9 test's oracle lets right content pass and notices wrong content."""

import random
import unittest

from support.sectors import SECTOR_BYTES, SectorModel, WrongSector, random_range, stamped

ZERO = bytes(SECTOR_BYTES)


def disk(*sequences):
    """A disk whose sector n holds the stamp of request sequences[n]; 0: zeros."""
    return b"".join(stamped(n, 1, s) if s else ZERO for n, s in enumerate(sequences))


class Oracle(unittest.TestCase):
    def setUp(self):
        self.model = SectorModel(2)

    def change(self, sequence, kind="write", first=0, count=1, fua=False):
        self.model.sent(sequence, kind, first, count)
        self.model.succeeded(sequence, first, count, fua)

    def flush(self):
        self.model.flushed(self.model.flush_sent())

    def check_crash(self, right, *wrong):
        """After a crash now, the disk `right` passes and none of the others does."""
        for content in wrong:
            with self.assertRaises(WrongSector, msg=content):
                self.model.settle(content)
        self.model.settle(right)

    def test_sector_not_flushed_is_old_or_new(self):
        """A sector that was not flushed may have any version from the flushed one on, and none
        before it."""
        for right in (1, 2, 3):
            with self.subTest(right):
                self.model = SectorModel(2)
                self.change(1)
                self.flush()
                self.change(2)
                self.change(3)
                self.check_crash(disk(right, 0), disk(0, 0), disk(4, 0))

    def test_flushed_sector_is_there(self):
        """A flushed sector must be there."""
        self.change(1)
        self.change(2)
        self.flush()
        self.check_crash(disk(2, 0), disk(1, 0), disk(0, 0))

    def test_flush_covers_only_what_was_done_when_it_was_sent(self):
        """A flush covers only what was done when it was sent."""
        self.change(1)
        mark = self.model.flush_sent()
        self.change(2)
        self.model.flushed(mark)
        self.check_crash(disk(1, 0), disk(0, 0))

    def test_fua_covers_its_own_sectors(self):
        """FUA covers its own sectors, and no others."""
        self.change(1, first=1)
        self.change(2, fua=True)
        self.check_crash(disk(2, 0), disk(0, 0), disk(0, 1))

    def test_failed_and_unanswered_changes_are_old_or_new(self):
        """After a failed or unanswered change a sector is old or new."""
        for right in (0, 1):
            with self.subTest(right):
                self.model = SectorModel(2)
                self.model.sent(1, "write", 0, 1)
                self.model.failed(0, 1)
                self.model.sent(2, "write", 1, 1)
                self.flush()
                self.check_crash(disk(right, 2 * right), disk(right, 1))

    def test_trimmed_sector_is_what_it_was_or_zeros(self):
        """A trimmed sector is what it was, or zeros."""
        for right in (1, 0):
            with self.subTest(right):
                self.model = SectorModel(2)
                self.change(1)
                self.flush()
                self.change(2, "trim")
                self.flush()
                self.check_crash(disk(right, 0), disk(2, 0))

    def test_what_is_shown_after_a_crash_stays(self):
        """What was shown after a crash stays, also after a second one."""
        self.change(1)
        self.change(2)
        self.model.settle(disk(2, 0))
        self.check_crash(disk(2, 0), disk(1, 0), disk(0, 0))

    def test_torn_and_misplaced_sectors_are_noticed(self):
        """Torn and misplaced sectors are noticed."""
        self.change(1, count=2)
        self.flush()
        torn = disk(1, 1)[: SECTOR_BYTES - 16] + bytes(16) + disk(1, 1)[SECTOR_BYTES:]
        misplaced = disk(1, 1)[SECTOR_BYTES:] * 2
        self.check_crash(disk(1, 1), torn, misplaced)

    def test_reads_must_see_the_last_version(self):
        """Reads must see the last version."""
        self.change(1)
        self.change(2)
        self.model.check_read(0, disk(2))
        with self.assertRaises(WrongSector):
            self.model.check_read(0, disk(1))

    def test_reads_may_see_what_failed_or_what_was_there(self):
        """Reads may see what failed, or what was there before."""
        self.change(1)
        self.change(2)
        self.model.sent(3, "write", 0, 1)
        self.model.failed(0, 1)
        for right in (2, 3):
            self.model.check_read(0, disk(right))
        self.change(4, "trim")
        for right in (2, 3, 0):
            self.model.check_read(0, disk(right))
            self.model.check_stored(disk(right, 0))
        for wrong in (1, 4):
            with self.assertRaises(WrongSector):
                self.model.check_read(0, disk(wrong))
        self.change(5)
        with self.assertRaises(WrongSector):
            self.model.check_read(0, disk(3))

    def test_random_ranges_lie_on_the_disk(self):
        """Random ranges lie on the disk, are not empty, and come small and large."""
        rng, seen = random.Random(1), set()
        for _ in range(2000):
            first, count = random_range(rng, 1000, 256, 128)
            self.assertTrue(0 <= first and 0 < count and first + count <= 1000)
            seen.add(count)
        self.assertLessEqual({1, 8, 128}, seen)
        self.assertGreater(max(seen), 128)


if __name__ == "__main__":
    unittest.main()
