"""cache-dir: the cache survives the server, however that ends, and keeps its bounds."""

import shutil
import unittest

import nbd

from support import data
from support.cache_case import BLOCK, SIZE, CacheDirCase, error_of
from support.layer_below import FUA

KIB, MIB = 1 << 10, 1 << 20
LOCAL = "cache-flush=local"


class Restart(CacheDirCase):
    def test_second_run_reads_nothing_below(self):
        """What one server has cached, the next one reads from the directory."""
        self.below.tell(5)
        expected = self.fill()
        self.below.tell(6, since=5)
        handle = self.serve().connect()
        self.assertEqual(handle.pread(32 * BLOCK, 0), expected)
        handle.flush()
        self.assertEqual(self.below.requests("pread", "pwrite"), [])

    def test_clean_blocks_survive_a_crash(self):
        """So it does after SIGKILL, once a flush has been answered."""
        self.below.tell(5)
        server = self.serve("cache-on-read=true", LOCAL)
        handle = server.connect()
        expected = bytes(handle.pread(4 * BLOCK, 0))
        handle.flush()
        server.kill()
        self.below.forget_requests()
        self.below.tell(6, since=5)
        self.assertEqual(self.serve(LOCAL).connect().pread(4 * BLOCK, 0), expected)
        self.assertEqual(self.below.requests("pread"), [])

    def test_dirty_blocks_are_written_back_after_a_crash(self):
        """After SIGKILL the next server writes back what was flushed, without a client."""
        written = self.leave_dirty(5 * BLOCK + 8 * KIB, 7, 3 * BLOCK)
        self.below.heal()
        self.serve(LOCAL)
        self.below.wait_until_stored(5 * BLOCK + 8 * KIB, written)

    def test_dirty_blocks_are_served_after_a_crash(self):
        """Flushed data are served after two crashes, though they cannot be written below."""
        written = self.leave_dirty(5 * BLOCK, 7)
        for _ in range(2):
            server = self.serve(LOCAL)
            self.assertEqual(server.connect().pread(BLOCK, 5 * BLOCK), written)
            server.kill()

    def test_fua_survives_a_crash(self):
        """An acknowledged FUA write is durable in the directory (local), or stored below (below).
        """
        self.below.fail("pwrite")
        server, written = self.serve(LOCAL), data.tagged(7, BLOCK, 4 * KIB)
        server.connect().pwrite(written, BLOCK, nbd.CMD_FLAG_FUA)
        server.kill()
        self.below.heal()
        server = self.serve("cache-flush=below")
        handle = server.connect()
        self.assertEqual(handle.pread(4 * KIB, BLOCK), written)
        handle.pwrite(data.tagged(8, 0, BLOCK), 0, nbd.CMD_FLAG_FUA)
        self.assertEqual(self.below.stored(0, BLOCK), data.tagged(8, 0, BLOCK))
        stored = self.below.requests("pwrite", "flush")
        self.assertTrue(stored[-1].kind == "flush" or stored[-1].flags & FUA, stored)

    def test_flush_below_reaches_below(self):
        """With cache-flush=below, the default, a flush is answered by the layer below."""
        handle, written = self.serve().connect(), data.tagged(7, BLOCK, BLOCK)
        handle.pwrite(written, BLOCK)
        handle.flush()
        self.assertEqual(self.below.stored(BLOCK, BLOCK), written)
        self.assertEqual(self.below.requests()[-1].kind, "flush")

    def test_local_flush_does_not_wait_for_below(self):
        """With cache-flush=local a flush does not wait for the layer below."""
        self.below.hold("pwrite", "flush")
        handle = self.serve(LOCAL).connect()
        handle.pwrite(data.tagged(7, BLOCK, BLOCK), BLOCK)
        handle.flush()
        self.below.release()
        self.below.wait_until_stored(BLOCK, data.tagged(7, BLOCK, BLOCK))

    def test_local_flush_of_a_directory_that_is_gone_waits_for_below(self):
        """When the directory has been removed, a local flush is one below."""
        for gone in (shutil.rmtree, lambda directory: directory.rename(self.scratch / "moved")):
            with self.subTest(gone=gone):
                written = data.tagged(7, BLOCK, BLOCK)
                server = self.serve(LOCAL)
                handle = server.connect()
                handle.pwrite(written, 0)
                handle.flush()
                gone(self.directory)
                self.below.fail("pwrite")
                handle.pwrite(written, BLOCK)
                self.assertEqual(error_of(handle.flush), "EIO")
                self.below.heal()
                handle.flush()
                self.assertEqual(self.below.stored(BLOCK, BLOCK), written)
                server.kill()
                self.assertEqual(server.log().count("is not there any more"), 1)

    def test_zeros_survive_a_crash(self):
        """Flushed zeros, which take no storage, survive SIGKILL."""
        self.below.fail("pwrite", "zero", "trim")
        server = self.serve(LOCAL)
        handle = server.connect()
        handle.zero(40 * BLOCK + 100, BLOCK + 50)
        handle.flush()
        server.kill()
        server = self.serve(LOCAL)
        expected = bytearray(self.below.stored(0, 64 * BLOCK))
        expected[BLOCK + 50 : 41 * BLOCK + 150] = bytes(40 * BLOCK + 100)
        self.assertEqual(server.connect().pread(64 * BLOCK, 0), expected)
        self.below.heal()
        self.below.wait_until_stored(0, bytes(expected))


class Bounds(CacheDirCase):
    def used_bytes(self):
        """Storage of all files in the directory."""
        return sum(file.stat().st_blocks * 512 for file in self.directory.iterdir())

    def test_other_size_between_runs_loses_nothing_dirty(self):
        """A smaller cache-max-size keeps dirty blocks until they are written back, then holds; a
        larger one loses nothing."""
        written = self.leave_dirty(BLOCK, 7, 8 * MIB, ["cache-max-size=16M"])
        server = self.serve(LOCAL, "cache-max-size=1M")
        self.assertEqual(server.connect().pread(8 * MIB, BLOCK), written)
        server.kill()
        server = self.serve(LOCAL, "cache-max-size=64M")
        self.assertEqual(server.connect().pread(8 * MIB, BLOCK), written)
        server.kill()
        server = self.serve(LOCAL, "cache-max-size=1M")
        self.below.heal()
        self.below.wait_until_stored(BLOCK, written)
        handle = server.connect()
        self.assertEqual(handle.pread(8 * MIB, BLOCK), written)
        handle.pwrite(data.tagged(8, 0, BLOCK), 0)
        handle.flush()
        data.wait_until(lambda: self.used_bytes() < 2 * MIB, 30, "a cache of the new size")

    def test_cache_stays_within_its_bound(self):
        """The directory takes no more storage than cache-max-size, the index and what is under way.
        """
        handle = self.serve(LOCAL, "cache-max-size=2M", "cache-on-read=true").connect()
        for turn in range(3):
            for offset in range(0, SIZE, MIB):
                handle.pwrite(data.tagged(turn + 2, offset, MIB), offset)
                handle.pread(MIB, (offset + SIZE // 2) % SIZE)
                handle.flush()
                self.assertLess(self.used_bytes(), 2 * MIB + 2 * MIB)
        handle.flush()
        self.below.wait_until_stored(0, data.tagged(4, 0, SIZE))


class Outage(CacheDirCase):
    def setUp(self):
        super().setUp()
        # Write-back that has failed is tried again with growing pauses.
        self.patience_s = 60

    def test_cached_blocks_are_read(self):
        """What is cached is read during an outage."""
        handle = self.serve("cache-on-read=true").connect()
        handle.pread(BLOCK, 0)
        self.below.fail()
        self.assertEqual(handle.pread(BLOCK, 0), data.tagged(1, 0, BLOCK))
        self.assertEqual(error_of(lambda: handle.pread(BLOCK, BLOCK)), "EIO")
        self.below.heal()
        self.assertEqual(handle.pread(BLOCK, BLOCK), data.tagged(1, BLOCK, BLOCK))

    def test_writes_and_flushes_go_on(self):
        """Writes and local flushes succeed during an outage, and are written back by themselves
        after it."""
        handle = self.serve(LOCAL, "cache-max-size=8M").connect()
        self.below.fail()
        expected = bytearray(data.tagged(1, 0, SIZE))
        for number in range(32):
            offset, count = number * 5 * BLOCK // 2 // 4096 * 4096, BLOCK
            expected[offset : offset + count] = data.tagged(9, offset, count)
            handle.pwrite(data.tagged(9, offset, count), offset)
            handle.flush()
            self.assertEqual(handle.pread(count, offset), data.tagged(9, offset, count))
        self.below.heal()
        self.below.wait_until_stored(0, bytes(expected), self.patience_s)

    def test_flush_below_fails_and_keeps_the_data(self):
        """During an outage a flush below fails, in time, and keeps the data."""
        handle = self.serve("cache-flush=below").connect()
        self.below.fail()
        handle.pwrite(data.tagged(9, BLOCK, BLOCK), BLOCK)
        self.assertEqual(error_of(handle.flush), "EIO")
        self.assertEqual(handle.pread(BLOCK, BLOCK), data.tagged(9, BLOCK, BLOCK))
        self.below.heal()
        data.wait_until(lambda: error_of(handle.flush) is None, self.patience_s, "a flush again")
        self.assertEqual(self.below.stored(BLOCK, BLOCK), data.tagged(9, BLOCK, BLOCK))

    def test_stop_during_an_outage(self):
        """What cannot be written at SIGTERM is reported as kept, and written back by the next
        server."""
        server, written = self.serve(LOCAL), data.tagged(9, BLOCK, 4 * BLOCK)
        handle = server.connect()
        self.below.fail()
        handle.pwrite(written, BLOCK)  # not flushed: SIGTERM is no crash
        server.terminate()
        said = server.log()
        self.assertRegex(said, rf"error: .*\b{4 * BLOCK}\b bytes")
        self.assertIn(str(self.directory), said)
        self.assertNotIn("LOST", said)
        self.below.heal()
        self.serve(LOCAL)
        self.below.wait_until_stored(BLOCK, written)


if __name__ == "__main__":
    unittest.main()
