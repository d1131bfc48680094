"""Which disk an md5-file belongs to, and what its digests are worth when others have written
(filters/md5/file_binding.hpp)."""

import shutil
import unittest

import nbd

from e2e.md5_verify_case import verify
from e2e.exports_case import Disks
from e2e.test_zeroblock import BLOCK, MIB, scratch_of
from support import data
from support.nbdkit import Nbdkit, run_expecting_failure


class _Case(unittest.TestCase):
    def setUp(self):
        self.scratch = scratch_of(self)
        self.digests = self.scratch / "digests"
        self.disks = Disks(self.scratch / "disks")
        self.disk = self.disks.make("default", bytes(MIB))

    def serve(self, *words):
        server = Nbdkit("--filter=md5", *words, f"md5-file={self.digests}", "md5-retry-time=0")
        self.addCleanup(server.stop)
        return server

    def serve_disks(self, *words):
        return self.serve(*self.disks.arguments, *words)

    def write(self, blocks, export=""):
        """A life of a server that writes and flushes these blocks."""
        server = self.serve_disks()
        handle = server.connect(export)
        for block in blocks:
            handle.pwrite(data.random_bytes(block, BLOCK), block * BLOCK)
        handle.flush()
        self.assertEqual(server.terminate(), 0)

    def change_below(self, block):
        """Another server writes a block, or it is damaged."""
        with open(self.disk, "r+b") as disk:
            disk.seek(block * BLOCK)
            disk.write(b"other" * (BLOCK // 5))

    def refused_client(self, export=""):
        """What a server says whose plugin can be asked only for a client."""
        server = self.serve_disks()
        with self.assertRaises(nbd.Error):
            server.connect(export)
        log = server.log()
        server.terminate()
        return log

    def refused_start(self, *words):
        _, errors = run_expecting_failure("--filter=md5", *words, f"md5-file={self.digests}")
        return errors


class KnownDisk(_Case):
    def tell(self, **fields):
        self.disks.tell("default", **({"id": "disk-1", "term": 3, "since": 3} | fields))

    def setUp(self):
        super().setUp()
        self.tell()

    def test_one_file_serves_all_names_of_a_disk(self):
        self.write([1], export="a")
        self.tell(term=4, since=3)
        self.change_below(1)
        server = self.serve_disks()
        with self.assertRaises(nbd.Error):
            server.connect("b").pread(BLOCK, BLOCK)

    def test_another_disk_is_refused(self):
        """For instance a volume that was deleted and made anew."""
        self.write([1])
        before = self.digests.read_bytes()
        self.tell(id="disk-2")
        self.assertIn(
            "is for the disk disk-1, and export '' is the disk disk-2", self.refused_client()
        )
        (self.disks.folder / "default.identity").unlink()
        self.assertIn("the plugin does not tell which disk export '' is", self.refused_client())
        self.assertEqual(self.digests.read_bytes(), before)

    def test_what_others_wrote_is_neither_accused_nor_vouched_for(self):
        for fields, because in (
            ({"term": 6, "since": 5}, "another server has written to it since"),
            ({"term": 2, "since": 2}, "it was brought back from an older copy"),
            # Where the term of the digests would lie, had the disk not forgotten it.
            ({"term": 6, "since": 1, "unchanged": "2,5"}, "it was brought back from an older copy"),
        ):
            with self.subTest(**fields):
                self.digests.unlink(missing_ok=True)
                self.tell()
                self.write([1, 2, 3])
                self.change_below(2)
                self.tell(**fields)
                server = self.serve_disks()
                handle = server.connect()
                for _ in range(2):
                    self.assertEqual(handle.pread(BLOCK, BLOCK), data.random_bytes(1, BLOCK))
                    self.assertEqual(bytes(handle.pread(5, 2 * BLOCK)), b"other")
                self.assertEqual(server.log().count(because), 1)
                done = verify(self.digests, server.uri(), code=0)
                self.assertIn("2 doubtful (2 right, 0 different)", done.stderr)
                handle.pwrite(data.random_bytes(2, BLOCK), 2 * BLOCK)
                handle.flush()
                self.assertEqual(server.terminate(), 0)
                # What was found right, or written since, is held against its digest again.
                for block in (1, 2):
                    self.change_below(block)
                handle = self.serve_disks().connect()
                for block in (1, 2):
                    with self.assertRaises(nbd.Error):
                        handle.pread(BLOCK, block * BLOCK)

    def test_verify_goes_by_what_the_server_tells(self):
        """Also by one without the filter, which leaves the file alone."""
        self.write([1, 2])
        self.change_below(2)
        server = Nbdkit(*self.disks.arguments)
        self.addCleanup(server.stop)
        self.assertIn("1 damaged", verify(self.digests, server.uri(), code=1).stderr)
        self.tell(term=6, since=5)
        done = verify(self.digests, server.uri(), code=0)
        self.assertIn("warning: the disk may have changed without the md5-file", done.stderr)
        self.assertIn("2 doubtful (1 right, 1 different)", done.stderr)
        self.tell(id="disk-2")
        done = verify(self.digests, server.uri(), code=2)
        self.assertIn("is for the disk disk-1", done.stderr)

    def test_a_server_that_only_looks_leaves_the_file_as_it_is(self):
        self.write([1, 2])
        self.tell(term=6, since=5, right="none")
        self.change_below(2)
        before = self.digests.read_bytes()
        server = self.serve_disks()
        handle = server.connect()
        self.assertEqual(handle.pread(BLOCK, BLOCK), data.random_bytes(1, BLOCK))
        self.assertEqual(bytes(handle.pread(5, 2 * BLOCK)), b"other")
        self.assertEqual(server.terminate(), 0)
        after = self.digests.read_bytes()
        self.assertEqual(after[:16384], before[:16384], "the identity has changed")
        self.assertEqual(after[65536:], before[65536:], "records have changed")

    def test_a_file_of_an_earlier_version_becomes_the_disks(self):
        identity = self.disks.folder / "default.identity"
        identity.unlink()
        self.write([1, 2])
        self.assertTrue(self.digests.read_bytes().startswith(b"md5-file=1\n"))
        self.tell()
        self.change_below(1)
        server = self.serve_disks()
        with self.assertRaises(nbd.Error):
            server.connect("b").pread(BLOCK, BLOCK)
        server.terminate()
        self.assertIn(b"disk=disk-1\n", self.digests.read_bytes()[:1000])
        self.tell(id="disk-2")
        self.assertIn("is for the disk disk-1", self.refused_client())


class NewFile(_Case):
    def test_a_name_that_was_mistyped_does_not_take_it(self):
        server = self.serve_disks()
        typo = server.connect("typo")
        typo.pread(BLOCK, 0)
        typo.flush()
        server.disconnect()
        server.connect().pwrite(data.random_bytes(1, BLOCK), 0)
        self.assertEqual(server.terminate(), 0)
        self.change_below(0)
        with self.assertRaises(nbd.Error):
            self.serve_disks().connect().pread(BLOCK, 0)

    def test_of_two_disks_the_first_to_be_written_takes_it(self):
        self.disks.make("other", bytes(MIB))
        server = self.serve_disks("md5-exports=each")
        one, other = server.connect(), server.connect("other")
        other.pwrite(b"x" * BLOCK, 0)
        with self.assertRaises(nbd.Error):
            one.pwrite(b"y" * BLOCK, 0)
        self.assertIn("has become another disk's", server.log())
        self.assertEqual(self.disk.read_bytes(), bytes(MIB))
        self.assertEqual(other.pread(BLOCK, 0), b"x" * BLOCK)


class OverS3(_Case):
    """The project's own plugin tells which volume it serves."""

    def volume(self):
        return ["s3", "bucket=v", "size=4M", f"endpoint-url=file://{self.scratch}/store"]

    def serve_volume(self):
        return self.serve(*self.volume())

    def test_a_volume_that_was_made_anew_is_another_disk(self):
        (self.scratch / "store").mkdir()
        server = self.serve_volume()
        one, other = server.connect(), server.connect("other")
        one.pwrite(data.random_bytes(1, BLOCK), 0)
        self.assertEqual(other.pread(BLOCK, 0), data.random_bytes(1, BLOCK))
        self.assertEqual(server.terminate(), 0)
        server = self.serve_volume()
        self.assertEqual(server.connect("third").pread(BLOCK, 0), data.random_bytes(1, BLOCK))
        self.assertNotIn("doubtful", server.log())
        self.assertEqual(server.terminate(), 0)
        shutil.rmtree(self.scratch / "store")
        (self.scratch / "store").mkdir()
        self.assertIn("a file of its own", self.refused_start(*self.volume()))


if __name__ == "__main__":
    unittest.main()
