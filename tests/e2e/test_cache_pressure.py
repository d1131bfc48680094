"""Full, damaged: the cache has a way out of each, without a restart."""

import threading
import unittest

import nbd

from support import data
from support.cache_case import BLOCK, CacheDirCase, error_of

LOCAL = "cache-flush=local"
SLOTS = 16


def with_patience(action, patience_s=30):
    """The action's result; a hang is a failure, not a test that never ends."""
    result = []
    thread = threading.Thread(target=lambda: result.append(action()), daemon=True)
    thread.start()
    thread.join(patience_s)
    if not result:
        raise AssertionError(f"it takes longer than {patience_s} s")
    return result[0]


class Damaged(CacheDirCase):
    def setUp(self):
        super().setUp()
        self.parameters = [LOCAL, f"cache-max-size={SLOTS * BLOCK}"]
        self.leave_dirty(0, 7, SLOTS * BLOCK, self.parameters)
        for file in self.directory.glob("data*"):
            file.write_bytes(bytes(file.stat().st_size))
        self.below.heal()

    def test_other_blocks_are_served(self):
        """A cache that is full of damaged dirty blocks, and keeps everybody waiting for room."""
        server = self.serve(*self.parameters)
        handle, written = server.connect(), data.tagged(9, 40 * BLOCK, BLOCK)
        self.assertIsNone(with_patience(lambda: handle.pwrite(written, 40 * BLOCK)))
        self.assertEqual(with_patience(lambda: handle.pread(BLOCK, 40 * BLOCK)), written)
        self.assertEqual(
            with_patience(lambda: handle.pread(BLOCK, 50 * BLOCK)),
            data.tagged(1, 50 * BLOCK, BLOCK),
        )
        self.assertEqual(error_of(lambda: handle.pread(BLOCK, 0)), "EIO")
        self.assertEqual(with_patience(lambda: error_of(handle.flush)), "EIO")
        handle.shutdown()
        server.terminate()

    def test_healing(self):
        """A damaged block that is an error for ever, or flushes that are, or that say nothing."""
        server = self.serve(*self.parameters)
        handle = server.connect()
        for number in range(SLOTS):
            self.assertEqual(error_of(lambda at=number: handle.pread(1, at * BLOCK)), "EIO")
        self.assertEqual(with_patience(lambda: error_of(handle.flush)), "EIO")
        self.assertRegex(server.log(), r"error: .*offset 0, was damaged in \S*/cache/data before")
        handle.zero(BLOCK, 0)
        handle.trim(BLOCK, BLOCK)
        handle.pwrite(data.tagged(8, 2 * BLOCK, (SLOTS - 3) * BLOCK), 2 * BLOCK)
        self.assertEqual(error_of(handle.flush), "EIO")
        handle.zero(BLOCK, (SLOTS - 1) * BLOCK, nbd.CMD_FLAG_NO_HOLE)
        handle.flush()
        expected = bytes(2 * BLOCK) + data.tagged(8, 2 * BLOCK, (SLOTS - 3) * BLOCK) + bytes(BLOCK)
        self.assertEqual(handle.pread(SLOTS * BLOCK, 0), expected)
        self.below.wait_until_stored(0, expected)


if __name__ == "__main__":
    unittest.main()
