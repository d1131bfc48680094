"""The md5 filter: a disk below that returns old or damaged data, seen through it."""

import errno
import hashlib
import tempfile
import time
import unittest

import nbd

from e2e.faulty_disk import FaultyDisk
from support import data
from support.model import Mix, ShadowDisk, Workload
from support.nbdkit import Nbdkit, run_expecting_failure

BLOCK = 65536
SIZE = 16 * BLOCK

# A disk per export that remembers its past, for nbdkit's Python plugin, whose calls nbdkit serves
# one at a time. A file in `control` named for what is wrong with it holds how wrong:
#   stale   seconds: reads return what was there so long ago
#   damage  reads: so many reads from now on have their first bit flipped
FAULTY_DISK = f"""
import pathlib, time

API_VERSION = 2
control = None
exports = {{}}

def config(key, value):
    global control
    control = pathlib.Path(value)

def amount(fault):
    path = control / fault
    return float(path.read_text()) if path.exists() else 0

def list_exports(readonly, is_tls):
    return [("", None)]

def open(readonly):
    import nbdkit
    return exports.setdefault(nbdkit.export_name(), [(0, bytes({SIZE}))])

def get_size(history):
    return {SIZE}

def change(history, offset, content):
    disk = bytearray(history[-1][1])
    disk[offset:offset + len(content)] = content
    history.append((time.monotonic(), bytes(disk)))

def pwrite(history, content, offset, flags):
    change(history, offset, content)

def zero(history, count, offset, flags):
    change(history, offset, bytes(count))

def flush(history, flags):
    pass

def pread(history, buffer, offset, flags):
    until = time.monotonic() - amount("stale")
    disk = [disk for when, disk in history if when <= until][-1]
    buffer[:] = disk[offset:offset + len(buffer)]
    reads = amount("damage")
    if reads > 0:
        buffer[0] ^= 1
        (control / "damage").write_text(str(reads - 1))
"""


class Verifying(unittest.TestCase):
    def setUp(self):
        self.disk = FaultyDisk(self, FAULTY_DISK)
        self.old = data.random_bytes(1, BLOCK)
        self.new = data.random_bytes(2, BLOCK)

    def test_without_the_filter_the_stale_disk_returns_old_data(self):
        """The control of the next test: its disk is stale indeed."""
        handle = self.disk.serve(filters=()).connect()
        handle.pwrite(self.old, BLOCK)
        time.sleep(2.1)
        self.disk.set("stale", 2)
        handle.pwrite(self.new, BLOCK)
        self.assertEqual(handle.pread(BLOCK, BLOCK), self.old)

    def test_stale_read_waits_for_the_new_data(self):
        server = self.disk.serve()
        handle = server.connect()
        handle.pwrite(self.old, BLOCK)
        self.disk.set("stale", 2)
        handle.pwrite(self.new, BLOCK)
        self.assertEqual(handle.pread(1000, BLOCK + 500), self.new[500:1500])
        self.assertEqual(handle.pread(BLOCK, BLOCK), self.new)
        self.assertIn("block 1 is not what was last written", server.log())
        self.assertRegex(server.log(), "block 1 was read right at attempt [2-9]")

    def test_part_is_not_merged_into_stale_data(self):
        handle = self.disk.serve().connect()
        handle.pwrite(self.old, BLOCK)
        self.disk.set("stale", 1)
        handle.pwrite(self.new, BLOCK)
        handle.pwrite(b"part", BLOCK + 100)
        expected = self.new[:100] + b"part" + self.new[104:]
        self.assertEqual(handle.pread(BLOCK, BLOCK), expected)

    def test_stale_read_after_zeroing_waits_for_the_zeros(self):
        handle = self.disk.serve().connect()
        handle.pwrite(self.old, BLOCK)
        self.disk.set("stale", 1)
        handle.zero(BLOCK, BLOCK)
        self.assertEqual(handle.pread(BLOCK, BLOCK), bytes(BLOCK))

    def test_damage_that_passes_is_not_seen(self):
        handle = self.disk.serve().connect()
        handle.pwrite(self.new, BLOCK)
        self.disk.set("damage", 3)
        self.assertEqual(handle.pread(BLOCK, BLOCK), self.new)

    def test_lasting_damage_is_eio_and_names_block_and_digests(self):
        server = self.disk.serve("md5-retry-time=1")
        handle = server.connect()
        handle.pwrite(self.new, 3 * BLOCK)
        self.disk.set("damage", 1e9)
        started = time.monotonic()
        with self.assertRaises(nbd.Error) as caught:
            handle.pread(BLOCK, 3 * BLOCK)
        self.assertEqual(caught.exception.errnum, errno.EIO)
        self.assertLess(time.monotonic() - started, 15)
        damaged = bytes([self.new[0] ^ 1]) + self.new[1:]
        expected, found = (hashlib.md5(each).hexdigest() for each in (self.new, damaged))
        self.assertRegex(
            server.log(),
            rf"error: .*md5: block 3 \(offset {3 * BLOCK}, .*expected MD5 {expected}, found {found}",
        )
        # The server and the other blocks are well.
        self.disk.set("damage", 0)
        self.assertEqual(handle.pread(BLOCK, 3 * BLOCK), self.new)

    def test_expired_digest_is_not_held_against_anybody(self):
        handle = self.disk.serve("md5-cache-time=0.2").connect()
        handle.pwrite(self.new, 3 * BLOCK)
        self.disk.set("damage", 1e9)
        time.sleep(0.3)
        self.assertNotEqual(handle.pread(BLOCK, 3 * BLOCK), self.new)

    def test_connections_share_what_is_remembered(self):
        server = self.disk.serve("md5-retry-time=0")
        writer, reader = server.connect(), server.connect()
        writer.pwrite(self.new, BLOCK)
        self.disk.set("damage", 1e9)
        with self.assertRaises(nbd.Error):
            reader.pread(BLOCK, BLOCK)

    def test_exports_do_not_see_each_others_digests(self):
        server = self.disk.serve("md5-retry-time=0", "md5-exports=each")
        one, other = server.connect("one"), server.connect("other")
        one.pwrite(self.old, BLOCK)
        self.assertEqual(other.pread(BLOCK, BLOCK), bytes(BLOCK))
        other.pwrite(self.new, BLOCK)
        self.assertEqual(one.pread(BLOCK, BLOCK), self.old)

    def test_server_ends_while_a_read_retries(self):
        server = self.disk.serve("md5-retry-time=1h")
        handle = server.connect()
        handle.pwrite(self.new, BLOCK)
        self.disk.set("damage", 1e9)
        handle.aio_pread(nbd.Buffer(BLOCK), BLOCK)
        data.wait_until(lambda: "is not what was last written" in server.log(), 20, "a retry")
        server.process.terminate()
        self.assertEqual(server.wait(20), 0)


class Writing(unittest.TestCase):
    def test_full_table_makes_a_write_wait_and_says_so(self):
        server = FaultyDisk(self, FAULTY_DISK).serve("md5-cache-size=2", "md5-cache-time=1")
        handle = server.connect()
        content = data.random_bytes(1, 4 * BLOCK)
        handle.pwrite(content, 0)
        self.assertIn("all 2 blocks of the table are in use", server.log())
        self.assertIn("md5-cache-size", server.log())
        self.assertEqual(handle.pread(4 * BLOCK, 0), content)

    def test_write_that_waits_is_not_lost_when_the_server_stops(self):
        with tempfile.NamedTemporaryFile() as disk:
            disk.truncate(SIZE)
            server = Nbdkit("--filter=md5", "file", disk.name, "md5-block-size=64k",
                            "md5-cache-size=1", "md5-cache-time=1h", verbose=True)  # fmt: skip
            self.addCleanup(server.stop)
            handle = server.connect()
            content = data.random_bytes(1, 2 * BLOCK)
            cookie = handle.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(content)), 0)
            data.wait_until(lambda: "all 1 blocks of the table" in server.log(), 20, "a wait")
            server.process.terminate()
            while not handle.aio_command_completed(cookie):
                self.assertEqual(handle.poll(20000), 1, "no answer")
            server.disconnect()
            self.assertEqual(server.wait(20), 0)
            self.assertEqual(disk.read(2 * BLOCK), content)

    def test_minimum_delay_separates_writes_of_a_block(self):
        server = FaultyDisk(self, FAULTY_DISK).serve(
            "md5-min-write-delay=300ms", "-D", "md5.verbose=1"
        )
        handle = server.connect()
        started = time.monotonic()
        for _ in range(3):
            handle.pwrite(bytes(BLOCK), BLOCK)
        self.assertGreaterEqual(time.monotonic() - started, 0.6)
        self.assertIn("write of block 1 waits (md5-min-write-delay)", server.log())

    def test_random_requests_over_a_parallel_disk(self):
        self._run_workload(Nbdkit("--filter=md5", "memory", "4M", "md5-block-size=4096"), 4, 16)

    def test_random_requests_over_a_disk_that_serves_one_at_a_time(self):
        filters = ("--filter=md5", "--filter=noparallel")
        server = Nbdkit(*filters, "memory", "4M", "md5-block-size=4096", "md5-cache-size=64",
                        "md5-cache-time=50ms")  # fmt: skip
        self._run_workload(server, 2, 16)

    def _run_workload(self, server, connections, in_flight):
        self.addCleanup(server.stop)
        disk = ShadowDisk(4 << 20)
        workload = Workload(
            disk, seed=3, requests=3000, connections=connections, in_flight=in_flight,
            block_size=4096, max_bytes=65536, mix=Mix(cache=0),
        )  # fmt: skip
        workload.run(server.connect)
        disk.compare_with(server.connect())


class Starting(unittest.TestCase):
    def test_bad_parameters_are_refused_by_name(self):
        cases = {
            "md5-block-size=511": "md5-block-size",
            "md5-block-size=3000": "md5-block-size",
            "md5-block-size=64M": "md5-block-size",
            "md5-block-size=x": "md5-block-size",
            "md5-cache-size=0": "md5-cache-size",
            "md5-cache-size=-1": "md5-cache-size",
            "md5-cache-time=-1": "md5-cache-time",
            "md5-cache-time=soon": "md5-cache-time",
            "md5-retry-time=1y": "md5-retry-time",
            "md5-min-write-delay=": "md5-min-write-delay",
            "md5-min-write-delay=11": "md5-min-write-delay must not be longer than md5-cache-time",
        }
        for parameter, expected in cases.items():
            with self.subTest(parameter):
                code, errors = run_expecting_failure("--filter=md5", "memory", "1M", parameter)
                self.assertEqual(code, 1)
                self.assertRegex(errors, f"error: .*{expected}")

    def test_minimum_delay_is_free_when_digests_never_expire(self):
        with Nbdkit("--filter=md5", "memory", "1M", "md5-cache-time=0", "md5-min-write-delay=11"):
            pass

    def test_block_size_that_the_layer_below_refuses_is_told(self):
        server = Nbdkit(
            "--filter=md5", "--filter=blocksize-policy", "memory", "1M", "md5-block-size=1M",
            "blocksize-minimum=512", "blocksize-preferred=4096", "blocksize-maximum=65536",
        )  # fmt: skip
        self.addCleanup(server.stop)
        with self.assertRaises(nbd.Error):
            server.connect()
        self.assertIn("md5-block-size is 1048576, but the layer below takes", server.log())

    def test_block_size_is_stated_to_the_client(self):
        for parameters, expected in (((), 65536), (("md5-block-size=4k",), 4096)):
            with self.subTest(parameters):
                with Nbdkit("--filter=md5", "memory", "1M", *parameters) as server:
                    handle = server.connect()
                    self.assertEqual(handle.get_block_size(nbd.SIZE_PREFERRED), expected)
                    self.assertEqual(handle.get_block_size(nbd.SIZE_MINIMUM), 1)


if __name__ == "__main__":
    unittest.main()
