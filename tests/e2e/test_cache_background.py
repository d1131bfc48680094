"""What the cache does by itself: delayed write-back, bounds of what is dirty or in flight, ages."""

import pathlib
import tempfile
import time
import unittest

import nbd

from support import data
from support.cache_case import BLOCK, SIZE, CacheCase, error_of
from support.cases import parallel_reads, pump
from support.nbdkit import Nbdkit

KIB, MIB = 1 << 10, 1 << 20


class WriteBack(CacheCase):
    def test_delay(self):
        """A dirty block is written back when cache-write-delay has passed, not before."""
        handle, written = self.serve("cache-write-delay=500ms").connect(), data.tagged(2, 0, BLOCK)
        start = time.monotonic()
        handle.pwrite(written, 0)
        self.below.wait_until_stored(0, written)
        self.assertGreater(self.below.requests("pwrite")[0].time_s - start, 0.4)
        self.below.forget_requests()
        handle.flush()
        self.assertEqual([request.kind for request in self.below.requests()], ["flush"])

    def test_delay_is_counted_from_the_first_write(self):
        """A block that is written all the time is written back too: its first write counts."""
        handle = self.serve("cache-write-delay=300ms").connect()
        deadline = time.monotonic() + 10
        while not self.below.requests("pwrite") and time.monotonic() < deadline:
            handle.pwrite(b"x" * 4096, 0)
        self.assertTrue(self.below.requests("pwrite"))

    def test_units_of_time(self):
        """cache-write-delay takes the units that its manual page names."""
        for text in ("1m", "60", "60s", "60000ms", "1h"):
            with self.subTest(text):
                server = self.serve(f"cache-write-delay={text}")
                server.connect().pwrite(b"x", 0)
                time.sleep(0.2)  # long enough to notice milliseconds, and no more is asked
                self.assertEqual(self.below.requests("pwrite"), [])
                server.kill()

    def test_neighbours_are_one_request(self):
        """Dirty blocks in a row are written back by one request."""
        handle = self.serve("cache-write-delay=200ms").connect()
        for offset in range(0, 4 * BLOCK, 4 * KIB):
            handle.pwrite(data.tagged(2, offset, 4 * KIB), offset)
        self.below.wait_until_stored(0, data.tagged(2, 0, 4 * BLOCK))
        self.assertLessEqual(len(self.below.requests("pwrite")), 2)

    def test_failure_is_reported_by_the_next_flush(self):
        """The next flush reports a failed background write-back, once, on any connection."""
        server = self.serve("cache-write-delay=50ms")
        writer, other = server.connect(), server.connect()
        self.below.fail("pwrite")
        writer.pwrite(data.tagged(2, 0, BLOCK), 0)
        # The second attempt comes after the first has failed.
        data.wait_until(lambda: len(self.below.requests("pwrite")) > 1, 30, "another attempt")
        self.below.heal()
        self.assertEqual(error_of(other.flush), "EIO")
        self.assertEqual(error_of(writer.flush), None)
        self.assertEqual(self.below.stored(0, BLOCK), data.tagged(2, 0, BLOCK))

    def test_failure_is_reported_by_the_next_fua(self):
        """The next write with FUA reports it, too."""
        handle = self.serve("cache-write-delay=50ms").connect()
        self.below.fail("pwrite")
        handle.pwrite(data.tagged(2, 0, BLOCK), 0)
        data.wait_until(lambda: len(self.below.requests("pwrite")) > 1, 30, "another attempt")
        self.below.heal()
        again = data.tagged(3, 0, BLOCK)
        self.assertEqual(error_of(lambda: handle.pwrite(again, 0, nbd.CMD_FLAG_FUA)), "EIO")
        self.assertEqual(error_of(lambda: handle.pwrite(again, 0, nbd.CMD_FLAG_FUA)), None)
        self.assertEqual(self.below.stored(0, BLOCK), again)

    def test_failure_is_retried_with_growing_pauses(self):
        """A failed write-back is tried again after pauses that grow."""
        handle, written = self.serve("cache-write-delay=50ms").connect(), data.tagged(2, 0, BLOCK)
        self.below.fail("pwrite")
        handle.pwrite(written, 0)
        data.wait_until(lambda: len(self.below.requests("pwrite")) > 2, 60, "three attempts")
        times = [request.time_s for request in self.below.requests("pwrite")]
        self.assertGreater(times[2] - times[1], 1.3 * (times[1] - times[0]))
        self.below.heal()
        self.below.wait_until_stored(0, written, 60)

    def test_threads(self):
        """As many write-backs as cache-threads run at once, and no more."""
        handle = self.serve("cache-threads=3").connect()
        self.below.delay("pwrite", 0.02)
        for block in range(0, 64, 2):
            handle.pwrite(data.tagged(2, block * BLOCK, BLOCK), block * BLOCK)
        handle.flush()
        most = max(request.in_flight for request in self.below.requests("pwrite"))
        self.assertIn(most, (2, 3))

    def test_reads_do_not_wait_for_write_back(self):
        """A miss does not wait for a write-back, even with one thread."""
        server = self.serve("cache-threads=1", "cache-write-delay=50ms")
        writer, reader = server.connect(), server.connect()
        self.below.hold("pwrite")
        self.addCleanup(self.below.release)
        for block in range(0, 64, 2):
            writer.pwrite(b"x" * BLOCK, block * BLOCK)
        data.wait_until(lambda: self.below.requests("pwrite"), 30, "write-back to begin")
        parallel_reads(reader, [block * BLOCK for block in range(100, 116)], BLOCK)
        self.assertTrue(self.below.requests("pread"))
        self.below.release()


class MaxDirty(CacheCase):
    def test_writers_wait(self):
        """Writers wait at cache-max-dirty, without an error; the debug log tells."""
        server = self.serve("cache-max-dirty=1M", verbose=True)
        handle = server.connect()
        self.below.delay("pwrite", 0.01)
        for offset in range(0, SIZE, BLOCK):
            handle.pwrite(data.tagged(2, offset, BLOCK), offset)
            on_their_way = sum(request.count for request in self.below.requests("pwrite"))
            self.assertLessEqual(offset + BLOCK - on_their_way, MIB + BLOCK)
        self.assertRegex(server.log(), "debug: .*cache-max-dirty")
        handle.flush()
        self.assertEqual(self.below.stored(0, SIZE), data.tagged(2, 0, SIZE))

    def test_reads_do_not_wait_with_the_writers(self):
        """Hits and misses are served while writers wait for write-back."""
        server = self.serve("cache-max-dirty=512K")
        writer, reader = server.connect(), server.connect()
        self.below.hold("pwrite")
        self.addCleanup(self.below.release)
        written = data.tagged(2, 0, 32 * BLOCK)
        for offset in range(0, len(written), BLOCK):
            block = bytearray(written[offset : offset + BLOCK])
            writer.aio_pwrite(nbd.Buffer.from_bytearray(block), offset)
        self.assertTrue(pump(writer, lambda: self.below.requests("pwrite"), 15), "write-back")
        self.assertEqual(reader.pread(BLOCK, 8 * MIB), data.tagged(1, 8 * MIB, BLOCK))
        self.assertGreater(writer.aio_in_flight(), 0)
        self.below.release()
        self.assertTrue(pump(writer, lambda: writer.aio_in_flight() == 0, 30))
        self.assertEqual(reader.pread(len(written), 0), written)


class Ages(CacheCase):
    def test_timeout_drops_clean_blocks(self):
        """Clean blocks are hits until cache-timeout has passed, and are read again after it."""
        handle = self.serve("cache-timeout=2", "cache-on-read=true").connect()
        old, new = data.tagged(1, 0, BLOCK), data.tagged(5, 0, BLOCK)
        self.assertEqual(handle.pread(BLOCK, 0), old)
        start = time.monotonic()
        self.below.change(0, new)
        self.assertEqual(handle.pread(BLOCK, 0), old)
        data.wait_until(lambda: handle.pread(BLOCK, 0) == new, 20, "the new content")
        self.assertGreater(time.monotonic() - start, 1)

    def test_timeout_keeps_dirty_blocks(self):
        """cache-timeout drops no dirty block."""
        handle = self.serve("cache-timeout=200ms").connect()
        self.below.fail("pwrite")
        handle.pwrite(b"x" * BLOCK, 0)
        time.sleep(1)  # several times the timeout
        self.assertEqual(handle.pread(BLOCK, 0), b"x" * BLOCK)
        self.below.heal()
        error_of(handle.flush)  # which may report an attempt made meanwhile
        handle.flush()
        self.assertEqual(self.below.stored(0, BLOCK), b"x" * BLOCK)

    def test_protected_blocks_go_last(self):
        """A scan of the disk does not evict the blocks that cache-protect names."""
        for policy in ("lru", "s3fifo"):
            with self.subTest(policy):
                server = self.serve(
                    "cache-protect=1M", "cache-max-size=4M", "cache-on-read=true",
                    f"cache-policy={policy}",
                )  # fmt: skip
                handle = server.connect()
                for offset in range(0, SIZE, MIB):
                    handle.pread(MIB, offset)
                self.below.forget_requests()
                self.assertEqual(handle.pread(MIB, 0), data.tagged(1, 0, MIB))
                self.assertEqual(self.below.requests("pread"), [])
                server.stop()

    def test_protection_yields_when_nothing_else_is_left(self):
        """With cache-protect larger than the cache, other blocks are cached all the same."""
        handle = self.serve(
            "cache-protect=16M", "cache-max-size=1M", "cache-on-read=true"
        ).connect()
        for offset in range(0, SIZE, MIB):
            handle.pwrite(data.tagged(2, offset, MIB), offset)
            self.assertEqual(handle.pread(MIB, offset), data.tagged(2, offset, MIB))
        handle.flush()
        self.assertEqual(self.below.stored(0, SIZE), data.tagged(2, 0, SIZE))


class ExportsWithNames(unittest.TestCase):
    """nbdkit tells a plugin the name of an export only where a client has asked for it."""

    def serve(self, *more):
        """A plugin that notes which export each write was for."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.writes = pathlib.Path(folder.name) / "writes"
        self.writes.touch()
        server = Nbdkit(
            "--filter=cache", "eval", "open=echo $3", "get_size=echo 1M", "can_write=exit 0",
            "can_flush=exit 0", "flush=exit 0", "pread=head -c $3 /dev/zero",
            f'pwrite=cat >/dev/null; echo "[$2] $3 $4" >>{self.writes}', *more,
        )  # fmt: skip
        self.addCleanup(server.stop)
        return server

    def test_delayed_write_goes_to_its_own_export(self):
        """A delayed write goes to the export that its client opened."""
        handle = self.serve("cache-write-delay=100ms").connect("a")
        handle.pwrite(data.tagged(2, 0, BLOCK), 0)
        deadline = time.monotonic() + 30
        while not self.writes.read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(self.writes.read_text(), f"[a] {BLOCK} 0\n")

    def test_what_a_client_leaves_goes_to_its_own_export(self):
        """So does what is dirty when the client leaves, or the server stops."""
        server = self.serve("cache-write-delay=1h")
        server.connect("a").pwrite(data.tagged(2, 0, BLOCK), 0)
        server.terminate()
        self.assertEqual(self.writes.read_text(), f"[a] {BLOCK} 0\n")


if __name__ == "__main__":
    unittest.main()
