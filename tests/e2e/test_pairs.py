"""What one layer does to another: the sentences of nbdstack(7) that a test can hold to their word."""

import errno
import pathlib
import tempfile
import unittest

import nbd

from e2e.stores import LocalStore
from support import data
from support.cases import logged_requests
from support.nbdkit import Nbdkit

KIB, MIB = 1 << 10, 1 << 20
BLOCK = 64 * KIB
SIZE = 16 * BLOCK


def identity_lines(md5_file):
    """What an md5-file says of itself."""
    return md5_file.read_bytes()[:16384].rstrip(b"\0").decode().splitlines()


class PairCase(unittest.TestCase):
    """A scratch directory, and servers that end with the test."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="pairs-")
        self.addCleanup(scratch.cleanup)
        self.scratch = pathlib.Path(scratch.name)
        self.log = self.scratch / "requests"

    def serve(self, *words):
        """A server of ours."""
        server = Nbdkit(*words)
        self.addCleanup(server.stop)
        return server

    def requests(self, kind):
        """What the log filter saw of a kind, so far."""
        return logged_requests(self.log, kind)


class CacheOverMd5(PairCase):
    """Write-back over md5."""

    def setUp(self):
        super().setUp()
        self.disk = self.scratch / "disk"
        self.disk.write_bytes(data.random_bytes(1, SIZE))
        self.md5_file = f"md5-file={self.scratch / 'disk.md5'}"

    def stack(self, *words):
        """cache over md5 over a file."""
        return self.serve(
            "--filter=cache", "--filter=md5", "file", self.disk, self.md5_file, "md5-retry-time=0",
            *words,
        )  # fmt: skip

    def damage(self, offset):
        """Inverts a byte of the disk, behind everybody's back."""
        with open(self.disk, "r+b") as disk:
            disk.seek(offset)
            byte = disk.read(1)
            disk.seek(offset)
            disk.write(bytes([byte[0] ^ 0xFF]))

    def test_flush_settles_what_was_written_back(self):
        """After a flush through the cache and a crash, md5 does not only believe what is below."""
        server = self.stack()
        handle = server.connect()
        handle.pwrite(data.random_bytes(2, 2 * BLOCK), 4 * BLOCK)
        handle.flush()
        server.kill()
        self.damage(5 * BLOCK + 17)
        handle = self.stack().connect()
        self.assertEqual(handle.pread(BLOCK, 4 * BLOCK), data.random_bytes(2, 2 * BLOCK)[:BLOCK])
        with self.assertRaises(nbd.Error) as raised:
            handle.pread(BLOCK, 5 * BLOCK)
        self.assertEqual(raised.exception.errnum, errno.EIO)

    def test_nothing_is_merged_into_a_damaged_block(self):
        """A write-back that has to complete a block which md5 refuses fails, and loses nothing."""
        writer = self.stack()
        handle = writer.connect()
        content = bytearray(data.random_bytes(3, BLOCK))
        handle.pwrite(content, 2 * BLOCK)
        handle.flush()
        writer.terminate()
        self.damage(2 * BLOCK + 30 * KIB)
        server = self.stack()
        handle = server.connect()
        for offset in (8 * KIB, 48 * KIB):  # two pages apart: cheapest as a whole block
            content[offset : offset + 4 * KIB] = data.random_bytes(offset, 4 * KIB)
            handle.pwrite(content[offset : offset + 4 * KIB], 2 * BLOCK + offset)
        with self.assertRaises(nbd.Error) as raised:
            handle.flush()
        self.assertEqual(raised.exception.errnum, errno.EIO)
        self.assertIn("md5: block 2 ", server.log())
        self.damage(2 * BLOCK + 30 * KIB)  # inverted twice: whole again
        handle.flush()
        self.assertEqual(handle.pread(BLOCK, 2 * BLOCK), content)
        server.terminate()
        self.assertEqual(self.disk.read_bytes()[2 * BLOCK : 3 * BLOCK], content)

    def test_cache_never_keeps_what_md5_has_refused(self):
        """A block that was wrong for a moment is right for the client, and stays right."""
        handle = self.stack().connect()
        content = data.random_bytes(4, BLOCK)
        handle.pwrite(content, BLOCK)
        handle.flush()
        self.damage(BLOCK)
        server = self.serve(
            "--filter=cache", "--filter=md5", "file", self.disk, "cache-on-read=true",
            "md5-cache-time=0", "md5-retry-time=0",
        )  # fmt: skip
        handle = server.connect()
        handle.pwrite(content, BLOCK)
        handle.flush()
        handle.trim(BLOCK, 8 * BLOCK)  # anything: the block itself stays cached
        self.damage(BLOCK)
        self.assertEqual(handle.pread(BLOCK, BLOCK), content)


class ZerosUnderTheCache(PairCase):
    """zeroblock below the cache, with a log filter on either side of it."""

    def setUp(self):
        super().setUp()
        self.above, self.log = self.scratch / "above", self.scratch / "below"

    def stack(self, *filters):
        """The filters, outermost first, over a log of what leaves them."""
        return self.serve(*filters, "--filter=log", "memory", SIZE, f"logfile={self.log}")

    def changes(self):
        """Requests that change the disk, by kind."""
        return {kind: len(self.requests(kind)) for kind in ("Write", "Zero", "Trim")}

    def test_zeros_are_written_back_as_zeros(self):
        """Zeros over data are one request that carries nothing; zeros over zeros are none."""
        handle = self.stack("--filter=cache", "--filter=zeroblock").connect()
        handle.pwrite(data.random_bytes(1, 4 * BLOCK), 0)
        handle.flush()
        before = self.changes()
        handle.pwrite(bytes(4 * BLOCK), 0)
        handle.pwrite(bytes(4 * BLOCK), 8 * BLOCK)
        handle.flush()
        after = self.changes()
        self.assertEqual(after["Write"], before["Write"])
        self.assertEqual(after["Zero"] - before["Zero"], 1)

    def test_miss_of_zeros_does_not_go_below(self):
        """A block that zeroblock knows is answered by it."""
        handle = self.stack("--filter=cache", "--filter=zeroblock").connect()
        handle.pwrite(data.random_bytes(1, BLOCK), 0)
        handle.flush()
        # What the scan finds, for certain. (An answer from 0 on may end with what was written.)
        handle.block_status(SIZE - BLOCK, BLOCK, lambda *_: 0)
        before = len(self.requests("Read"))
        self.assertEqual(handle.pread(4 * BLOCK, 8 * BLOCK), bytes(4 * BLOCK))
        self.assertEqual(len(self.requests("Read")), before)

    def test_md5_remembers_what_zeroblock_made_zeros(self):
        """Old data under a block of zeros is old data."""
        disk, md5_file = self.scratch / "disk", self.scratch / "disk.md5"
        disk.write_bytes(data.random_bytes(5, SIZE))
        stack = ["--filter=zeroblock", "--filter=md5", "file", disk, f"md5-file={md5_file}"]
        server = self.serve(*stack, "md5-retry-time=0")
        handle = server.connect()
        handle.pwrite(data.random_bytes(6, BLOCK), 0)
        handle.pwrite(bytes(BLOCK), BLOCK)
        handle.flush()
        server.terminate()
        content = bytearray(disk.read_bytes())
        self.assertEqual(content[BLOCK : 2 * BLOCK], bytes(BLOCK))
        content[BLOCK : 2 * BLOCK] = data.random_bytes(5, SIZE)[BLOCK : 2 * BLOCK]
        disk.write_bytes(content)
        handle = self.serve(*stack, "md5-retry-time=0").connect()
        with self.assertRaises(nbd.Error) as raised:
            handle.pread(BLOCK, BLOCK)
        self.assertEqual(raised.exception.errnum, errno.EIO)


class Sizes(PairCase):
    """Block sizes that find each other."""

    def test_object_size_reaches_the_client(self):
        """Through every layer, and whatever blocks a layer has itself."""
        for object_size, words in ((256 * KIB, []), (MIB, ["md5-block-size=16K"])):
            store = LocalStore()
            self.addCleanup(store.close)
            server = self.serve(
                "--filter=readahead", "--filter=cache", "--filter=cacheextents",
                "--filter=zeroblock", "--filter=md5",
                *store.volume(size=16 * MIB, object_size=object_size), *words,
            )  # fmt: skip
            handle = server.connect()
            self.assertEqual(handle.get_block_size(nbd.SIZE_PREFERRED), object_size)

    def test_md5_file_has_small_blocks_over_large_objects(self):
        """A cache that misses 64 KiB does not fetch an object of 1 MiB for its digest."""
        store = LocalStore()
        self.addCleanup(store.close)
        md5_file = self.scratch / "disk.md5"
        server = self.serve(
            "--filter=cache", "--filter=md5", "--filter=log", *store.volume(size=16 * MIB),
            f"logfile={self.log}", f"md5-file={md5_file}", "cache-max-size=1M",
        )  # fmt: skip
        handle = server.connect()
        for offset in range(0, 16 * MIB, MIB):
            handle.pwrite(data.random_bytes(offset, MIB), offset)
        handle.flush()
        self.assertIn("block_size=65536", identity_lines(md5_file))
        before = len(self.requests("Read"))
        handle.pread(4 * KIB, 100 * KIB)
        self.assertEqual(self.requests("Read")[before:], [(64 * KIB, 64 * KIB)])


if __name__ == "__main__":
    unittest.main()
