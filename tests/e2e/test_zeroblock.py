"""The zeroblock filter under a server: what reaches the layer below, and what clients see."""

import errno
import pathlib
import subprocess
import tempfile
import unittest

import nbd

from e2e.mounted_disk import BlockDevice, require_root_and_tools, run
from servers.memory_s3 import MemoryS3
from support import data
from support.layer_below import FUA, MAY_TRIM, LayerBelow
from support.model import Mix, ShadowDisk, Workload
from support.nbdkit import Nbdkit, run_expecting_failure

BLOCK, MIB = 65536, 1 << 20
SIZE = 64 * BLOCK


def scratch_of(test):
    """A directory for the time of a test."""
    directory = tempfile.TemporaryDirectory(prefix="zeroblock-")
    test.addCleanup(directory.cleanup)
    return pathlib.Path(directory.name)


class Requests(unittest.TestCase):
    """Over a disk full of data that notes every request."""

    def setUp(self):
        self.start()

    def start(self, *parameters):
        """A server anew, with these parameters of the layer below."""
        self.below = LayerBelow(
            scratch_of(self) / "below", SIZE, f"preferred={BLOCK}", *parameters,
            content=b"\x07" * SIZE,
        )  # fmt: skip
        self.server = Nbdkit("--filter=zeroblock", *self.below.arguments, verbose=True)
        self.addCleanup(self.server.stop)
        self.handle = self.server.connect()

    def reached(self):
        """(kind, offset, count, flags) of each request since the last call."""
        found = [request[:4] for request in self.below.requests()]
        self.below.forget_requests()
        return found

    def test_zeros_are_written_once_and_never_read(self):
        self.handle.pwrite(bytes(2 * BLOCK), BLOCK)
        self.assertEqual(self.reached(), [("zero", BLOCK, 2 * BLOCK, MAY_TRIM)])
        self.handle.pwrite(bytes(BLOCK), BLOCK)
        self.handle.pwrite(bytes(10), BLOCK + 20)
        self.handle.zero(BLOCK, 2 * BLOCK)
        self.handle.trim(2 * BLOCK, BLOCK)
        self.assertEqual(self.handle.pread(2 * BLOCK, BLOCK), bytes(2 * BLOCK))
        self.assertEqual(self.reached(), [])
        self.assertEqual(self.below.stored(BLOCK, 2 * BLOCK), bytes(2 * BLOCK))

    def test_part_of_a_block_of_zeros_is_one_write(self):
        self.handle.zero(BLOCK, BLOCK)
        self.reached()
        self.handle.pwrite(b"part", BLOCK + 100)
        self.assertEqual(self.reached(), [("pwrite", BLOCK, BLOCK, 0)])
        self.assertEqual(self.below.stored(BLOCK, 200), bytes(100) + b"part" + bytes(96))

    def test_zeros_with_fua_and_flushes_pass(self):
        self.handle.zero(BLOCK, BLOCK)
        self.reached()
        self.handle.pwrite(bytes(BLOCK), BLOCK, nbd.CMD_FLAG_FUA)
        self.handle.flush()
        self.assertEqual(
            self.reached(), [("zero", BLOCK, BLOCK, MAY_TRIM | FUA), ("flush", 0, 0, 0)]
        )

    def test_zeros_are_sent_again_where_flushes_are_for_one_connection(self):
        self.start("multi_conn=0")
        for _ in range(2):
            self.handle.pwrite(bytes(BLOCK), BLOCK)
            self.assertEqual(self.reached(), [("zero", BLOCK, BLOCK, MAY_TRIM)])
        self.assertEqual(self.handle.pread(BLOCK, BLOCK), bytes(BLOCK))
        self.assertEqual(self.reached(), [])

    def test_connections_share_what_is_known(self):
        self.server.connect().zero(BLOCK, BLOCK)
        self.reached()
        self.assertEqual(self.handle.pread(BLOCK, BLOCK), bytes(BLOCK))
        self.assertEqual(self.reached(), [])

    def test_failed_write_is_an_error_and_nothing_is_known(self):
        self.handle.zero(BLOCK, BLOCK)
        self.below.fail("pwrite")
        with self.assertRaises(nbd.Error) as caught:
            self.handle.pwrite(b"part", BLOCK)
        self.assertEqual(caught.exception.errnum, errno.EIO)
        self.below.heal("pwrite")
        self.reached()
        self.assertEqual(self.handle.pread(BLOCK, BLOCK), bytes(BLOCK))
        self.assertEqual(self.reached(), [("pread", BLOCK, BLOCK, 0)])

    def test_fast_zeros(self):
        fast = nbd.CMD_FLAG_FAST_ZERO
        self.below.refuse_fast_zeros()
        with self.assertRaises(nbd.Error) as caught:
            self.handle.zero(BLOCK, BLOCK, fast)
        self.assertEqual(caught.exception.errnum, errno.ENOTSUP)
        self.assertEqual(self.handle.pread(1, BLOCK), b"\x07")
        self.handle.zero(BLOCK, BLOCK)
        self.handle.zero(BLOCK, BLOCK, fast)

    def test_zeros_are_holes_to_the_client(self):
        self.handle.zero(2 * BLOCK, BLOCK)
        self.handle.zero(BLOCK, 3 * BLOCK, nbd.CMD_FLAG_NO_HOLE)
        self.handle.pwrite(b"part", 2 * BLOCK)
        found = []
        self.handle.block_status(SIZE, 0, lambda _, offset, entries, error: found.extend(entries))
        both, zero = nbd.STATE_HOLE | nbd.STATE_ZERO, nbd.STATE_ZERO
        self.assertEqual(found, [BLOCK, 0, BLOCK, both, BLOCK, 0, BLOCK, zero, SIZE - 4 * BLOCK, 0])


class Exports(unittest.TestCase):
    def test_exports_do_not_see_each_others_zeros(self):
        folder = scratch_of(self)
        for name in ("one", "other"):
            (folder / name).write_bytes(b"\x07" * MIB)
        with Nbdkit(
            "--filter=zeroblock", "file", f"dir={folder}", "zeroblock-exports=each"
        ) as server:
            one, other = server.connect("one"), server.connect("other")
            one.zero(MIB, 0)
            self.assertEqual(one.pread(MIB, 0), bytes(MIB))
            self.assertEqual(other.pread(MIB, 0), b"\x07" * MIB)

    def test_disk_that_is_read_only(self):
        folder = scratch_of(self)
        disk = folder / "disk"
        disk.write_bytes(b"\x07" * MIB + bytes(MIB))
        with Nbdkit("-r", "--filter=zeroblock", "file", disk) as server:
            handle = server.connect()
            self.assertTrue(handle.is_read_only())
            for _ in range(2):
                self.assertEqual(handle.pread(2 * MIB, 0), disk.read_bytes())

    def test_disk_of_another_size_is_served_when_its_clients_have_left(self):
        disk = scratch_of(self) / "disk"
        disk.write_bytes(bytes(MIB))
        with Nbdkit("--filter=zeroblock", "file", disk) as server:
            server.connect()
            disk.write_bytes(bytes(2 * MIB))
            with self.assertRaises(nbd.Error):
                server.connect()
            self.assertIn("served with its new size when the clients", server.log())
            server.disconnect()
            self.assertEqual(server.connect().get_size(), 2 * MIB)


class AnyStack(unittest.TestCase):
    """Random requests, compared with a model."""

    def run_stack(self, *words, mix=Mix(), seed=1):
        """Over and under other filters; the disk is 8 MiB."""
        server = Nbdkit(*words)
        self.addCleanup(server.stop)
        disk = ShadowDisk(8 * MIB)
        workload = Workload(
            disk, seed=seed, requests=800, connections=2, in_flight=8, block_size=BLOCK,
            max_bytes=4 * BLOCK, mix=mix,
        )  # fmt: skip
        workload.run(server.connect)
        disk.compare_with(server.connect())
        self.assertEqual(server.terminate(), 0)

    def test_alone(self):
        mix = Mix(cache=0, write_zeros=15, zero=10)
        self.run_stack("--filter=zeroblock", "memory", "8M", mix=mix)

    def test_small_blocks_over_a_file(self):
        disk = scratch_of(self) / "disk"
        with open(disk, "wb") as file:
            file.truncate(8 * MIB)
        self.run_stack("--filter=zeroblock", "file", disk, "zeroblock-size=4k", mix=Mix(cache=10))

    def test_below_a_cache(self):
        filters = ("--filter=cache", "--filter=zeroblock", "--filter=md5")
        self.run_stack(*filters, "memory", "8M", "cache-max-size=1M", "md5-cache-size=200",
                       "md5-cache-time=0")  # fmt: skip

    def test_above_a_cache(self):
        filters = ("--filter=md5", "--filter=zeroblock", "--filter=cache")
        self.run_stack(*filters, "memory", "8M", "cache-max-size=1M", "md5-cache-time=0")

    def test_over_a_disk_without_zeros_that_serves_one_request_at_a_time(self):
        filters = ("--filter=zeroblock", "--filter=noparallel", "--filter=nozero")
        mix = Mix(cache=0, zero=0, zero_no_hole=0, write_zeros=15)
        self.run_stack(*filters, "memory", "8M", mix=mix)

    def test_over_objects(self):
        folder = scratch_of(self)
        volume = ["s3", "bucket=b", f"endpoint-url=file://{folder}", "size=8M", "object-size=64K"]
        self.run_stack("--filter=zeroblock", *volume, mix=Mix(cache=0))


class S3(unittest.TestCase):
    """Requests of a file system and a copy, by method, with and without the filter. The plugin is
    told not to own its volume: it does not remember what was never stored then, and listings are
    all that tells of it."""

    ALONE = ("size=64M", "own=none", "trust-listing=true")

    def setUp(self):
        require_root_and_tools()
        self.folder = scratch_of(self)

    def count(self, work, *filters):
        """Requests by method of a piece of work on a volume of 64 MiB."""
        with MemoryS3({"disk": {}}) as s3:
            words = [f"{name}={value}" for name, value in s3.parameters("disk").items()]
            with Nbdkit(*filters, "s3", *words, *self.ALONE, verbose=True) as server:
                server.connect().pread(1, 0)
                if filters:
                    data.wait_until(lambda: "the scan is complete" in server.log(), 20, "the scan")
                with s3.lock:
                    before = s3.requests.copy()
                work(server)
                with s3.lock:
                    return s3.requests - before

    def make_file_system(self, server):
        """An ext4 of the server's disk, checked."""
        with BlockDevice(server) as disk:
            run("mkfs.ext4", "-q", disk.device)
            run("fsck.ext4", "-f", "-n", disk.device)

    def test_mkfs(self):
        """The filter knows what was never stored: no object is looked for that is not there."""
        bare = self.count(self.make_file_system)
        filtered = self.count(self.make_file_system, "--filter=zeroblock")
        self.assertLess(filtered.total(), bare.total())
        self.assertLessEqual(filtered["PUT"], bare["PUT"])

    def test_copy_of_a_sparse_disk(self):
        """Zeros that are data to the client are neither stored nor fetched."""
        image = self.folder / "image"
        content = bytearray(64 * MIB)
        for block in range(0, 64 * MIB, 16 * MIB):
            content[block : block + MIB] = data.random_bytes(block, MIB)
        image.write_bytes(content)

        def copy(server):
            run("nbdcopy", "--flush", image, server.uri())
            done = self.folder / "copy"
            run("nbdcopy", server.uri(), done)
            subprocess.run(["cmp", image, done], check=True)

        bare = self.count(copy)
        filtered = self.count(copy, "--filter=zeroblock")
        self.assertLessEqual(filtered["PUT"], bare["PUT"])
        self.assertLess(filtered.total(), bare.total())


class Starting(unittest.TestCase):
    def test_bad_parameters_are_refused_by_name(self):
        sizes = [f"zeroblock-size={size}" for size in ("0", "256", "5000", "64M", "x")]
        for words in (*sizes, "zeroblock-scan=maybe"):
            with self.subTest(words):
                _, errors = run_expecting_failure("--filter=zeroblock", "null", "1M", words)
                self.assertRegex(errors, f"error: .*{words.partition('=')[0]}")

    def test_block_size_that_the_layer_below_refuses_is_told(self):
        server = Nbdkit(
            "--filter=zeroblock", "--filter=blocksize-policy", "memory", "1M", "zeroblock-size=1M",
            "blocksize-minimum=512", "blocksize-preferred=4096", "blocksize-maximum=65536",
        )  # fmt: skip
        self.addCleanup(server.stop)
        with self.assertRaises(nbd.Error):
            server.connect()
        self.assertIn("zeroblock-size is 1048576, but the layer below takes", server.log())

    def test_constraints_of_the_layer_below_are_kept(self):
        """Constraints of the layer below are kept, also by a widened write."""
        server = Nbdkit(
            "--filter=zeroblock", "--filter=blocksize-policy", "memory", "1M",
            "blocksize-minimum=512", "blocksize-preferred=4096", "blocksize-maximum=8192",
            "blocksize-error-policy=error",
        )  # fmt: skip
        self.addCleanup(server.stop)
        handle = server.connect()
        self.assertEqual(handle.get_block_size(nbd.SIZE_PREFERRED), 4096)
        handle.zero(MIB, 0)
        handle.pwrite(b"x" * 8192, 1024)
        self.assertEqual(handle.pread(8192, 1024), b"x" * 8192)

    def test_largest_disk(self):
        with Nbdkit("--filter=zeroblock", "null", str(2**63 - 1)) as server:
            handle = server.connect()
            self.assertEqual(handle.pread(512, 2**63 - 513), bytes(512))
            handle.zero(512, 2**63 - 513)


if __name__ == "__main__":
    unittest.main()
