"""A plugin tells which disk it shows, and what reaches a filter of ours may be another view of it: by
a filter in between that changes the content, or by way of another server, which has clients of its
own. What was remembered of one view is not taken for another."""

import pathlib
import tempfile
import unittest

from support.nbdkit import Nbdkit

KIB = 1 << 10
BLOCK = 64 * KIB


class Views(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.folder = pathlib.Path(directory.name)
        self.volume = ("s3", "bucket=v", "size=1M", "object-size=64K",
                       f"endpoint-url=file://{self.folder}")  # fmt: skip

    def life(self, *arguments, directory="cache", write=None):
        """One server's: what it reads at the start of the disk, and its log."""
        caches = (f"cache-dir={self.folder}/{directory}",) if "--filter=cache" in arguments else ()
        with Nbdkit(*arguments, *caches) as server:
            handle = server.connect()
            if write is not None:
                handle.pwrite(write * (BLOCK // len(write)), 0)
                handle.flush()
            got = bytes(handle.pread(2, 0))
            self.assertEqual(server.terminate(), 0)
            return got, server.log()

    def test_a_filter_that_changes_the_content_comes_and_goes(self):
        self.life("--filter=cache", "--filter=swab", *self.volume, write=b"12")
        got, log = self.life("--filter=cache", *self.volume)
        self.assertEqual(got, b"21")
        self.assertIn("are read again from below", log)

    def test_a_filter_whose_content_ends_with_its_server(self):
        self.life(*self.volume, write=b"ab")
        self.life("--filter=cache", "--filter=cow", *self.volume, write=b"cd")
        got, log = self.life("--filter=cache", "--filter=cow", *self.volume)
        self.assertEqual(got, b"ab")
        self.assertIn("are read again from below", log)

    def test_filters_that_change_nothing_hand_the_identity_on(self):
        """So the directory is warm, and is refused over another disk."""
        stack = ("--filter=cache", "--filter=delay", "--filter=md5", *self.volume)
        self.life(*stack, write=b"ab")
        got, log = self.life(*stack)
        self.assertEqual((got, log), (b"ab", ""))

    def test_two_servers_are_clients_of_a_third(self):
        """The right to write and the term are the third one's. It serves many."""
        with Nbdkit(*self.volume) as third:
            over = ("--filter=cache", "nbd", f"socket={third.socket_path}")
            self.life(*over, directory="first", write=b"ab")
            self.life(*over, directory="second", write=b"cd")
            got, log = self.life(*over, directory="first")
            self.assertEqual(got, b"cd")
            self.assertIn("are read again from below", log)


if __name__ == "__main__":
    unittest.main()
