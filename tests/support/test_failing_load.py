"""The load that may fail judges right and wrong disks rightly."""

import random
import threading
import unittest

import nbd

from support.failing_load import FailingLoad
from support.sectors import SECTOR_BYTES, SectorModel, WrongSector

SECTORS = 512


class _Disk:
    """A disk in memory with the calls of a libnbd handle. `mischief(kind)` says what goes wrong:

    "refuse"  an error, and nothing was done
    "half"    an error, and the first half was done
    "lose"    success, and nothing was done
    """

    def __init__(self, mischief=lambda kind: None):
        self.content = bytearray(SECTORS * SECTOR_BYTES)
        self._mischief, self._lock = mischief, threading.Lock()

    def pread(self, count, offset):
        with self._lock:
            if self._mischief("read"):
                raise nbd.Error("refused", 5)
            return bytearray(self.content[offset : offset + count])

    def pwrite(self, written, offset):
        with self._lock:
            wrong = self._mischief("write")
            sectors = len(written) // SECTOR_BYTES
            if wrong == "half":
                written = written[: sectors // 2 * SECTOR_BYTES]
            if wrong not in ("refuse", "lose"):
                self.content[offset : offset + len(written)] = written
            if wrong in ("refuse", "half"):
                raise nbd.Error("refused", 5)

    def zero(self, count, offset):
        self.pwrite(bytes(count), offset)

    def trim(self, count, offset):
        if offset % (2 * SECTOR_BYTES):
            self.pwrite(bytes(count), offset)


class Judging(unittest.TestCase):
    def run_load(self, disk):
        """The load, and a look at everything afterwards."""
        load = FailingLoad(SectorModel(SECTORS), seed=1, block_sectors=16)
        load.run(lambda: disk, threads=4, requests=600)
        load.model.check_stored(disk.content)
        return load

    def test_right_disk(self):
        load = self.run_load(_Disk())
        self.assertEqual((load.failures, load.answered), ([], 600))

    def test_failures_are_old_or_new(self):
        rng = random.Random(1)
        kinds = [None, None, "refuse", "half"]
        load = self.run_load(_Disk(lambda kind: rng.choice(kinds) if kind == "write" else None))
        self.assertGreater(len(load.failures), 50)

    def test_failed_reads_promise_nothing(self):
        rng = random.Random(1)
        load = self.run_load(_Disk(lambda kind: kind == "read" and rng.random() < 0.5))
        self.assertGreater(len(load.failures), 50)
        self.assertTrue(all(what.startswith("read") for what, _ in load.failures))

    def test_lost_write_is_noticed(self):
        rng = random.Random(1)
        with self.assertRaises(WrongSector):
            self.run_load(_Disk(lambda _: "lose" if rng.random() < 0.02 else None))

    def test_write_that_comes_undone_is_noticed(self):
        """Old content that comes back when it had been replaced by what succeeded."""
        disk = _Disk()
        load = FailingLoad(SectorModel(SECTORS), seed=1, block_sectors=16)
        load.run(lambda: disk, threads=4, requests=300)
        before = bytes(disk.content)
        load.run(lambda: disk, threads=4, requests=300)
        disk.content[:] = before
        with self.assertRaises(WrongSector):
            load.model.check_stored(disk.content)


if __name__ == "__main__":
    unittest.main()
