"""Full, damaged: the cache has a way out of each, without a restart."""

import pathlib
import re
import threading
import unittest

import nbd

from support import data
from support.cache_case import BLOCK, CacheCase, CacheDirCase, error_of
from support.small_file_system import CannotMount, in_small_file_system

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
        """A cache full of damaged dirty blocks serves the other blocks."""
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
        """A damaged block is healed by an overwrite; flushes report it until then."""
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


class FullDisk(CacheCase):
    """The cache's directory lies on a file system that somebody else fills for a moment."""

    SIZE_MIB = 12  # for the cache's 3 MiB twice, and journals
    MODES = (["cache=writethrough"], ["cache-write-delay=1"], ["cache-on-read=true"], [LOCAL])

    def start(self, *parameters):
        """A server with cache-dir on a small file system, with some blocks in it."""
        small = self.scratch / "small"
        small.mkdir(exist_ok=True)
        try:
            launcher = in_small_file_system(small, f"{self.SIZE_MIB}M")
        except CannotMount as problem:
            self.skipTest(str(problem))
        server = self.serve(
            f"cache-dir={small}/cache", "cache-max-size=3M", *parameters, launcher=launcher
        )
        # The file system is in the server's namespace only.
        self.other = pathlib.Path(f"/proc/{server.pid}/root{small}/other")
        handle = server.connect()
        for number in range(16):
            handle.pwrite(data.tagged(2, number * BLOCK, BLOCK), number * BLOCK)
        handle.flush()
        return server, handle

    def fill_up(self):
        """Until nothing fits any more."""
        with open(self.other, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass

    def change_all(self, handle, tag):
        """Writes 96 blocks, with flushes and reads in between."""
        for number in range(96):
            offset = number * BLOCK
            handle.pwrite(data.tagged(tag, offset, BLOCK), offset)
            if number % 5 == 4:
                handle.flush()
                self.assertEqual(handle.pread(BLOCK, offset), data.tagged(tag, offset, BLOCK))
        handle.flush()
        expected = data.tagged(tag, 0, 96 * BLOCK)
        self.assertEqual(handle.pread(len(expected), 0), expected)
        return expected

    def test_requests_pass_through(self):
        """While the local disk is full, requests pass through to the layer below; a line tells when
        that begins and ends."""
        for mode in self.MODES:
            with self.subTest(mode=mode):
                server, handle = self.start(*mode)
                self.fill_up()
                self.change_all(handle, 3)
                self.change_all(handle, 4)
                self.other.unlink()
                said = "error: .*No space left on device: going on with"
                self.assertEqual(len(re.findall(said, server.log())), 1, server.log())
                data.wait_until(lambda: self.is_used_again(server, handle), 30, "normal service")
                expected = self.change_all(handle, 6)
                self.assertEqual(server.terminate(), 0, server.log())
                self.assertEqual(self.below.stored(0, len(expected)), expected)

    def test_a_disk_that_stays_full_is_told_once(self):
        """A cache on a full disk that is used for a while serves every request, and tells once."""
        server, handle = self.start(LOCAL)
        self.fill_up()
        for tag in range(3, 63):
            self.change_all(handle, tag)
        said = "No space left on device"
        self.assertEqual(len(re.findall(said, server.log())), 1, server.log())

    def is_used_again(self, server, handle):
        """Whether the log says so, after more requests."""
        self.change_all(handle, 5)
        return "there is room for the cache again" in server.log()


if __name__ == "__main__":
    unittest.main()
