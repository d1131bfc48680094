"""Pages and zeros: what the cache knows of parts of blocks, and of ranges without storage."""

import pathlib
import re
import time
import unittest

import nbd

from support import data
from support.cache_case import BLOCK, CacheCase, error_of
from support.cases import cache_bytes
from support.layer_below import FAST_ZERO, MAY_TRIM
from support.nbdkit import Nbdkit

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
LARGEST = (1 << 63) - 1


class Pages(CacheCase):
    def test_aligned_write_reads_nothing(self):
        """A write of whole pages fetches nothing."""
        handle = self.serve().connect()
        handle.pwrite(b"x" * 4 * KIB, BLOCK + 8 * KIB)
        handle.pwrite(b"y" * 12 * KIB, 3 * BLOCK - 8 * KIB)  # in two blocks
        handle.flush()
        self.assertEqual(self.below.requests("pread"), [])
        self.assertEqual(
            sorted(request.range for request in self.below.requests("pwrite")),
            [(BLOCK + 8 * KIB, 4 * KIB), (3 * BLOCK - 8 * KIB, 12 * KIB)],
        )

    def test_ragged_write_reads_its_pages(self):
        """A write that begins or ends inside a page fetches that page only, and keeps the rest of
        it."""
        handle, expected = self.serve().connect(), bytearray(data.tagged(1, 0, 2 * BLOCK))
        handle.pwrite(b"x" * 10000, 5000)
        expected[5000:15000] = b"x" * 10000
        self.assertLessEqual(
            sum(request.count for request in self.below.requests("pread")), 8 * KIB
        )
        self.assertEqual(handle.pread(2 * BLOCK, 0), expected)
        handle.flush()
        self.assertEqual(self.below.stored(0, 2 * BLOCK), expected)

    def test_miss_joins_dirty_pages_with_the_rest(self):
        """A miss in a partly dirty block is one read below, and shows the dirty pages."""
        handle = self.serve("cache-on-read=true").connect()
        expected = bytearray(data.tagged(1, 0, BLOCK))
        for page in (1, 5, 6, 15):
            handle.pwrite(b"x" * 4 * KIB, page * 4 * KIB)
            expected[page * 4 * KIB : (page + 1) * 4 * KIB] = b"x" * 4 * KIB
        self.assertEqual(handle.pread(BLOCK, 0), expected)
        self.assertEqual([request.range for request in self.below.requests("pread")], [(0, BLOCK)])

    def test_block_is_completed_where_that_is_cheaper(self):
        """Where the layer below has blocks as large as ours, a partly dirty block is completed
        before write-back."""
        self.set_up_below(f"preferred={BLOCK}")
        handle = self.serve().connect()
        for page in range(0, 16, 2):
            handle.pwrite(b"x" * 4 * KIB, BLOCK + page * 4 * KIB)
        handle.flush()
        self.assertEqual(len(self.below.requests("pread")), 1)
        self.assertEqual(
            [request.range for request in self.below.requests("pwrite")], [(BLOCK, BLOCK)]
        )
        expected = bytearray(data.tagged(1, BLOCK, BLOCK))
        for page in range(0, 16, 2):
            expected[page * 4 * KIB : (page + 1) * 4 * KIB] = b"x" * 4 * KIB
        self.assertEqual(self.below.stored(BLOCK, BLOCK), expected)


class Zeros(CacheCase):
    def test_large_range_takes_no_storage(self):
        """A large range of zeros takes no storage, and is one zero request below."""
        self.set_up_below(size=8 * GIB)
        server = self.serve()
        handle = server.connect()
        self.below.change(0, b"x" * MIB)
        for offset in range(0, 4 * GIB, GIB):
            handle.zero(GIB, offset)
        self.assertEqual(handle.pread(MIB, 0), bytes(MIB))
        self.assertEqual(handle.pread(MIB, 3 * GIB), bytes(MIB))
        self.assertLess(cache_bytes(server), MIB)
        self.assertEqual(self.below.requests("pread"), [])
        handle.flush()
        self.assertEqual(self.below.requests("pread", "pwrite"), [])
        found = self.below.requests("zero", "trim")
        self.assertEqual(sum(request.count for request in found), 4 * GIB)
        self.assertLessEqual(len(found), 64)
        self.assertEqual(self.below.stored(0, MIB), bytes(MIB))

    def test_dirty_data_under_zeros_is_not_written(self):
        """Dirty data that were zeroed since are not written."""
        handle = self.serve().connect()
        for kind in (handle.zero, handle.trim):
            handle.pwrite(b"x" * 8 * BLOCK, 0)
            kind(8 * BLOCK, 0)
            handle.flush()
            self.assertEqual(self.below.requests("pwrite"), [])
            self.assertEqual(handle.pread(8 * BLOCK, 0), bytes(8 * BLOCK))

    def test_zeros_with_ragged_ends(self):
        """Zeros that begin or end inside a page fetch that page only, and keep the rest of it."""
        handle = self.serve().connect()
        handle.zero(3 * BLOCK, BLOCK // 2 + 100)
        expected = bytearray(data.tagged(1, 0, 5 * BLOCK))
        expected[BLOCK // 2 + 100 : BLOCK // 2 + 100 + 3 * BLOCK] = bytes(3 * BLOCK)
        self.assertLessEqual(sum(request.count for request in self.below.requests("pread")), 8192)
        self.assertEqual(handle.pread(5 * BLOCK, 0), expected)
        handle.flush()
        self.assertEqual(self.below.stored(0, 5 * BLOCK), expected)

    def test_no_hole_is_passed_on(self):
        """The no-hole flag reaches the layer below as the client gave it."""
        handle = self.serve().connect()
        handle.zero(4 * BLOCK, 0, nbd.CMD_FLAG_NO_HOLE)
        handle.flush()
        self.assertEqual(self.below.requests("trim"), [])
        self.assertTrue(all(not r.flags & MAY_TRIM for r in self.below.requests("zero")))
        self.below.forget_requests()
        handle.zero(4 * BLOCK, 8 * BLOCK)
        handle.flush()
        for request in self.below.requests("zero"):
            self.assertTrue(request.flags & MAY_TRIM)

    def test_fast_zero_is_remembered(self):
        """A fast zero is remembered, whatever the layer below can do."""
        handle = self.serve().connect()
        self.assertTrue(handle.can_fast_zero())
        self.below.refuse_fast_zeros()
        self.below.hold("zero", "trim", "pwrite")
        self.addCleanup(self.below.release)
        handle.zero(64 * BLOCK, 0, nbd.CMD_FLAG_FAST_ZERO)
        self.assertEqual(handle.pread(64 * BLOCK, 0), bytes(64 * BLOCK))
        self.below.release()
        handle.flush()
        self.assertEqual(self.below.stored(0, 64 * BLOCK), bytes(64 * BLOCK))
        self.assertTrue(all(not r.flags & FAST_ZERO for r in self.below.requests("zero")))

    def test_fast_zero_through_the_cache_is_honoured(self):
        """Where zeros are not remembered, a fast zero that the layer below refuses is refused."""
        handle = self.serve("cache=writethrough").connect()
        handle.zero(BLOCK, 0, nbd.CMD_FLAG_FAST_ZERO)
        self.assertEqual(self.below.stored(0, BLOCK), bytes(BLOCK))
        self.below.refuse_fast_zeros()
        refusal = error_of(lambda: handle.zero(BLOCK, BLOCK, nbd.CMD_FLAG_FAST_ZERO))
        self.assertIn(refusal, ("ENOTSUP", "EOPNOTSUPP"))
        self.assertEqual(handle.pread(BLOCK, BLOCK), data.tagged(1, BLOCK, BLOCK))
        self.assertEqual(self.below.requests("pwrite"), [])


class LargestDisk(CacheCase):
    def test_opens_at_once(self):
        """A disk of the largest size opens at once, and its end can be used."""
        start = time.monotonic()
        with Nbdkit("--filter=cache", "memory", str(LARGEST)) as server:
            handle = server.connect()
            self.assertLess(time.monotonic() - start, 5)
            self.assertEqual(handle.get_size(), LARGEST)
            handle.pwrite(b"end", LARGEST - 3)
            handle.zero(GIB, LARGEST - 2 * GIB)
            handle.flush()
            self.assertEqual(handle.pread(4, LARGEST - 4), b"\0end")
            handle.flush()
            status = pathlib.Path(f"/proc/{server.pid}/status").read_text()
            self.assertLess(int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]), 100 * 1024)
            self.assertEqual(server.terminate(), 0)


if __name__ == "__main__":
    unittest.main()
