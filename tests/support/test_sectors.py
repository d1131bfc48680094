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
        """A version between the flushed one and the last one, or the flushed one, taken for an
        error; or an older one accepted."""
        for right in (1, 2, 3):
            with self.subTest(right):
                self.model = SectorModel(2)
                self.change(1)
                self.flush()
                self.change(2)
                self.change(3)
                self.check_crash(disk(right, 0), disk(0, 0), disk(4, 0))

    def test_flushed_sector_is_there(self):
        """Loss of what was flushed accepted."""
        self.change(1)
        self.change(2)
        self.flush()
        self.check_crash(disk(2, 0), disk(1, 0), disk(0, 0))

    def test_flush_covers_only_what_was_done_when_it_was_sent(self):
        """A write that overtook the flush expected to be stored."""
        self.change(1)
        mark = self.model.flush_sent()
        self.change(2)
        self.model.flushed(mark)
        self.check_crash(disk(1, 0), disk(0, 0))

    def test_fua_covers_its_own_sectors(self):
        """FUA taken for a flush of everything, or for nothing."""
        self.change(1, first=1)
        self.change(2, fua=True)
        self.check_crash(disk(2, 0), disk(0, 0), disk(0, 1))

    def test_failed_and_unanswered_changes_are_old_or_new(self):
        """Certainty about what nobody promised."""
        for right in (0, 1):
            with self.subTest(right):
                self.model = SectorModel(2)
                self.model.sent(1, "write", 0, 1)
                self.model.failed(0, 1)
                self.model.sent(2, "write", 1, 1)
                self.flush()
                self.check_crash(disk(right, 2 * right), disk(right, 1))

    def test_trimmed_sector_is_what_it_was_or_zeros(self):
        """A trim taken for a zero, or for permission to show anything."""
        for right in (1, 0):
            with self.subTest(right):
                self.model = SectorModel(2)
                self.change(1)
                self.flush()
                self.change(2, "trim")
                self.flush()
                self.check_crash(disk(right, 0), disk(2, 0))

    def test_what_is_shown_after_a_crash_stays(self):
        """Old content that comes back at the second crash."""
        self.change(1)
        self.change(2)
        self.model.settle(disk(2, 0))
        self.check_crash(disk(2, 0), disk(1, 0), disk(0, 0))

    def test_torn_and_misplaced_sectors_are_noticed(self):
        """Content judged by its first bytes alone."""
        self.change(1, count=2)
        self.flush()
        torn = disk(1, 1)[: SECTOR_BYTES - 16] + bytes(16) + disk(1, 1)[SECTOR_BYTES:]
        misplaced = disk(1, 1)[SECTOR_BYTES:] * 2
        self.check_crash(disk(1, 1), torn, misplaced)

    def test_reads_must_see_the_last_version(self):
        """A running server that shows an older version."""
        self.change(1)
        self.change(2)
        self.model.check_read(0, disk(2))
        with self.assertRaises(WrongSector):
            self.model.check_read(0, disk(1))

    def test_reads_may_see_what_failed_or_what_was_there(self):
        """After a failure: certainty about what nobody promised, or anything accepted."""
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
        """Requests beyond the end, empty ones, or never a small or a large one."""
        rng, seen = random.Random(1), set()
        for _ in range(2000):
            first, count = random_range(rng, 1000, 256, 128)
            self.assertTrue(0 <= first and 0 < count and first + count <= 1000)
            seen.add(count)
        self.assertLessEqual({1, 8, 128}, seen)
        self.assertGreater(max(seen), 128)


if __name__ == "__main__":
    unittest.main()
