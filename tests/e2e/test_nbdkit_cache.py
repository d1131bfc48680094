"""What nbdkit's own cache filter promises and its tests pin down: ours keeps it. What reaches the
layer below is counted by nbdkit's log filter."""

import os
import pathlib
import tempfile
import textwrap
import time
import unittest

import nbd

from support import data
from support.nbdkit import Nbdkit

KIB, MIB = 1 << 10, 1 << 20
BLOCK = 64 * KIB


class _Cache(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="cache-test-")
        self.addCleanup(scratch.cleanup)
        self.scratch = pathlib.Path(scratch.name)
        self.disk, self.requests_log = self.scratch / "disk", self.scratch / "requests"

    def serve(self, size, *parameters, content=None, **options):
        """The cache filter over a log of the requests below it, over a file of `size` bytes."""
        if not self.disk.exists():
            self.disk.write_bytes(content or b"")
            os.truncate(self.disk, size)
        server = Nbdkit(
            "--filter=cache", "--filter=log", "file", self.disk, f"logfile={self.requests_log}",
            *parameters, **options,
        )  # fmt: skip
        self.addCleanup(server.stop)
        return server

    def below(self, kind):
        """(offset, count) of every request of a kind, "Read", "Write", "Flush", that went below."""
        found = []
        for line in self.requests_log.read_text().splitlines():
            words = line.split()
            if kind in words and words[-1] == "...":
                fields = dict(word.split("=", 1) for word in words if "=" in word)
                found.append((int(fields.get("offset", "0"), 0), int(fields.get("count", "0"), 0)))
        return found


class Sizes(_Cache):
    def test_disk_whose_size_is_no_multiple_of_anything(self):
        """The last bytes of a disk of any size are kept, and nothing is written beyond them."""
        for size in (1, 511, 4095, 4097, BLOCK - 1, BLOCK + 1, 3 * BLOCK + 12345):
            with self.subTest(size):
                self.disk.unlink(missing_ok=True)
                server = self.serve(size)
                handle, content = server.connect(), data.random_bytes(size, size)
                handle.pwrite(content, 0)
                self.assertEqual(handle.pread(size, 0), content)
                handle.pwrite(b"!", size - 1)
                handle.flush()
                self.assertEqual(self.disk.read_bytes(), content[:-1] + b"!")
                server.stop()

    def test_write_across_the_boundary_of_two_blocks(self):
        """A write across two blocks leaves the rest of both alone."""
        server = self.serve(4 * BLOCK, content=b"o" * 4 * BLOCK)
        handle = server.connect()
        handle.pwrite(b"N" * BLOCK, BLOCK // 2)
        expected = b"o" * (BLOCK // 2) + b"N" * BLOCK + b"o" * (BLOCK // 2) * 5
        self.assertEqual(handle.pread(4 * BLOCK, 0), expected)
        handle.flush()
        self.assertEqual(self.disk.read_bytes(), expected)


class RequestsBelow(_Cache):
    def test_nothing_is_written_below_before_a_flush(self):
        """Nothing is written below before a flush."""
        handle = self.serve(MIB).connect()
        handle.pwrite(b"x" * BLOCK, 0)
        self.assertEqual((self.below("Write"), self.disk.read_bytes().count(b"x")), ([], 0))
        handle.flush()
        self.assertEqual(self.below("Write"), [(0, BLOCK)])
        self.assertEqual(self.disk.read_bytes().count(b"x"), BLOCK)

    def test_write_of_a_whole_block_reads_nothing(self):
        """A write of a whole block fetches nothing."""
        handle = self.serve(MIB).connect()
        handle.pwrite(b"x" * 3 * BLOCK, 2 * BLOCK)
        self.assertEqual(handle.pread(BLOCK, 3 * BLOCK), b"x" * BLOCK)
        handle.flush()
        self.assertEqual(self.below("Read"), [])

    def test_miss_fetches_whole_blocks_once(self):
        """A miss fetches whole blocks, once."""
        handle = self.serve(MIB, "cache-on-read=true", content=data.tagged(1, 0, MIB)).connect()
        for offset in (BLOCK + 5, BLOCK + 60000, BLOCK, 2 * BLOCK - 1):
            self.assertEqual(handle.pread(1, offset), data.tagged(1, offset, 1))
        self.assertEqual(self.below("Read"), [(BLOCK, BLOCK)])

    def test_reads_are_not_cached_unless_asked_for(self):
        """Reads are not cached unless cache-on-read is given."""
        handle = self.serve(MIB).connect()
        for _ in range(3):
            handle.pread(BLOCK, 0)
        self.assertEqual(len(self.below("Read")), 3)

    def test_cache_request_fetches(self):
        """NBD_CMD_CACHE fetches, and the next read is a hit."""
        handle = self.serve(MIB, content=data.tagged(1, 0, MIB)).connect()
        handle.cache(2 * BLOCK, BLOCK)
        fetched = sum(count for _, count in self.below("Read"))
        self.assertEqual(handle.pread(2 * BLOCK, BLOCK), data.tagged(1, BLOCK, 2 * BLOCK))
        self.assertEqual((fetched, len(self.below("Read"))), (2 * BLOCK, 1))

    def test_flush_reaches_the_layer_below(self):
        """A flush reaches the layer below; with nothing dirty, as one flush without a write."""
        handle = self.serve(MIB).connect()
        for number in range(1, 4):
            handle.flush()
            self.assertEqual((len(self.below("Flush")), self.below("Write")), (number, []))
        handle.pwrite(b"x", 0)
        handle.flush()
        handle.flush()
        self.assertEqual((len(self.below("Flush")), len(self.below("Write"))), (5, 1))

    def test_unsafe_mode_does_not_flush(self):
        """With cache=unsafe a flush does not reach the layer below."""
        handle = self.serve(MIB, "cache=unsafe").connect()
        handle.pwrite(b"x", 0)
        handle.flush()
        self.assertEqual((self.below("Flush"), self.below("Write")), ([], []))

    def test_writethrough_writes_at_once(self):
        """With cache=writethrough a write is below when it is answered."""
        handle = self.serve(MIB, "cache=writethrough").connect()
        handle.pwrite(b"x" * BLOCK, BLOCK)
        self.assertEqual(self.disk.read_bytes().count(b"x"), BLOCK)
        self.assertEqual(handle.pread(BLOCK, BLOCK), b"x" * BLOCK)

    def test_fua_write_is_stored_when_it_is_answered(self):
        """A FUA write is below when it is answered."""
        handle = self.serve(MIB).connect()
        handle.pwrite(b"later" * 1000, 3 * BLOCK)
        handle.pwrite(b"x" * 100, BLOCK + 5, nbd.CMD_FLAG_FUA)
        stored = self.disk.read_bytes()
        self.assertEqual((stored.count(b"x"), stored.find(b"x")), (100, BLOCK + 5))

    def test_smallest_block_size(self):
        """With cache-min-block-size=4096 blocks of 4 KiB are moved."""
        if os.statvfs(self.scratch).f_bsize > 4096:
            self.fail("TMPDIR must have blocks of 4096 bytes or less for this test")
        handle = self.serve(MIB, "cache-min-block-size=4096", "cache-on-read=true").connect()
        handle.pread(1, 10000)
        self.assertEqual(self.below("Read"), [(8192, 4096)])


class CacheOnRead(_Cache):
    def test_switched_while_it_runs(self):
        """cache-on-read=/PATH follows the file while the server runs."""
        switch = self.scratch / "switch"
        handle = self.serve(MIB, f"cache-on-read={switch}").connect()

        def reads_for_two(block):
            before = len(self.below("Read"))
            for _ in range(2):
                handle.pread(BLOCK, block * BLOCK)
            return len(self.below("Read")) - before

        self.assertEqual(reads_for_two(1), 2)
        switch.touch()
        self.assertEqual(reads_for_two(2), 1)
        switch.unlink()
        self.assertEqual(reads_for_two(3), 2)
        self.assertEqual(reads_for_two(2), 0)  # still cached

    def test_second_read_does_not_wait_for_the_layer_below(self):
        """A second read does not wait for the layer below."""
        with Nbdkit(
            "--filter=cache", "--filter=delay", "memory", "1M", "cache-on-read=true", "rdelay=2"
        ) as server:
            handle, times = server.connect(), []
            for _ in range(2):
                start = time.monotonic()
                handle.pread(BLOCK, 0)
                times.append(time.monotonic() - start)
        self.assertGreater(times[0], 1.9)
        self.assertLess(times[1], 1)


class CacheFile(_Cache):
    def test_bounded_and_found_by_its_path(self):
        """The cache file lies in TMPDIR, also a relative one, hidden from others and within
        cache-max-size."""
        (self.scratch / "cache").mkdir()
        before = os.getcwd()
        os.chdir(self.scratch)
        try:
            server = self.serve(
                1 << 30, "cache-max-size=10M", "cache-on-read=true", tmpdir="cache"
            )
        finally:
            os.chdir(before)
        handle = server.connect()
        for offset in (0, 20 * MIB, 40 * MIB):
            handle.pwrite(data.tagged(1, offset, 10 * MIB), offset)
            handle.pread(10 * MIB, offset + 10 * MIB)
        server.disconnect()
        found = [size for path, size in self.open_files(server) if "/cache-test-" in path]
        self.assertEqual(len(found), 1, "one cache file, under TMPDIR")
        self.assertLessEqual(found[0], 11 * MIB)
        self.assertEqual(list((self.scratch / "cache").iterdir()), [])
        self.assertEqual(server.terminate(), 0)
        stored = self.disk.read_bytes()[: 50 * MIB]
        for offset in (0, 20 * MIB, 40 * MIB):
            expected = data.tagged(1, offset, 10 * MIB)
            self.assertEqual(data.sha256(stored[offset : offset + 10 * MIB]), data.sha256(expected))

    def open_files(self, server):
        """(path, allocated bytes) of what the server has open under its TMPDIR."""
        directory = f"{self.scratch}/cache/"
        for link in pathlib.Path(f"/proc/{server.pid}/fd").iterdir():
            path = os.readlink(link)
            if path.startswith(directory):
                yield path, link.stat().st_blocks * 512


# A disk in memory that keeps per connection what it wrote until a flush on that connection, and
# what it read until its next one: a plugin that must not be used by two clients at once, and says
# so. Every flush puts the disk into the file `store`.
SEPARATE = """
    import nbdkit, pathlib
    API_VERSION = 2
    disk, store = bytearray(b"Initial contents" + bytes(131056)), None

    def config(key, value):
        global store
        store = value

    def thread_model(): return nbdkit.THREAD_MODEL_SERIALIZE_ALL_REQUESTS
    def open(readonly): return {"written": {}, "seen": {}}
    def get_size(h): return len(disk)
    def can_multi_conn(h): return False
    def can_fua(h): return nbdkit.FUA_EMULATE

    def pread(h, buf, offset, flags):
        for i in range(offset, offset + len(buf)):
            value = h["written"].get(i, h["seen"].setdefault(i, disk[i]))
            buf[i - offset] = value

    def pwrite(h, buf, offset, flags):
        for i, value in enumerate(bytes(buf), offset):
            h["written"][i] = value

    def flush(h, flags):
        for i, value in h["written"].items():
            disk[i] = value
        h["written"].clear()
        h["seen"].clear()
        pathlib.Path(store).write_bytes(disk)
"""


class ManyConnections(_Cache):
    def serve_separate(self, *filters, parameters=()):
        """Over the plugin above, which has no multi-conn."""
        script = self.scratch / "separate.py"
        script.write_text(textwrap.dedent(SEPARATE))
        self.store = self.scratch / "store"
        server = Nbdkit(*filters, "python", script, f"store={self.store}", *parameters)
        self.addCleanup(server.stop)
        return server

    def test_plugin_without_multi_conn_shows_connections_apart(self):
        """The control: this plugin shows a connection's writes to others after a flush only."""
        server = self.serve_separate()
        a, b = server.connect(), server.connect()
        self.assertFalse(a.can_multi_conn())
        self.assertEqual(a.pread(4, 0), b"Init")
        b.pwrite(b"next", 0)
        b.flush()
        self.assertEqual((a.pread(4, 0), b.pread(4, 0)), (b"Init", b"next"))

    def test_cache_makes_connections_consistent(self):
        """Over it the cache offers multi-conn, and keeps its promise."""
        server = self.serve_separate("--filter=cache")
        a, b, c = (server.connect() for _ in range(3))
        self.assertTrue(a.can_multi_conn())
        a.cache(12, 0)
        b.pwrite(b"Hello ", 0, nbd.CMD_FLAG_FUA)
        self.assertEqual(a.pread(12, 0), b"Hello l cont")
        b.pwrite(b"world.", 6)
        c.flush()
        self.assertEqual(a.pread(12, 0), b"Hello world.")
        server.kill()

    def test_flush_of_another_connection_makes_durable(self):
        """A flush of one connection makes the writes of another one durable."""
        server = self.serve_separate("--filter=cache")
        a, b = server.connect(), server.connect()
        a.pwrite(b"durable!", 8)
        b.flush()
        self.assertEqual(self.store.read_bytes()[:16], b"Initial durable!")

    def test_writethrough_over_such_a_plugin_offers_no_multi_conn(self):
        """With writethrough over such a plugin, multi-conn is not offered."""
        server = self.serve_separate("--filter=cache", parameters=["cache=writethrough"])
        self.assertFalse(server.connect().can_multi_conn())


if __name__ == "__main__":
    unittest.main()
