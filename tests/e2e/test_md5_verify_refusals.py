"""nbdstack-md5-verify, asked for what it cannot do: it says why, and its exit status is 2."""

import subprocess
import unittest

from e2e.faulty_disk import FaultyDisk
from e2e.md5_verify_case import BLOCKS, NAME, SIZE, VerifyCase, content, verify
from support.command import our_command

# Its server ends at the first read.
DYING_DISK = f"""
import os

API_VERSION = 2

def config(key, value):
    pass

def open(readonly):
    return 1

def get_size(h):
    return {SIZE}

def pread(h, buffer, offset, flags):
    os._exit(1)
"""


class Refusals(VerifyCase):
    def setUp(self):
        super().setUp()
        self.server = self.serve("memory", SIZE)

    def refused(self, *words):
        """What it says."""
        done = verify(*words, code=2)
        self.assertEqual(done.stdout, "")
        self.assertRegex(done.stderr, rf"^{NAME}: error: ")
        return done.stderr

    def make_md5_file(self):
        """By a server of its own disk, with all blocks known; its URI."""
        server = self.serve("memory", SIZE, filtered=True)
        handle = server.connect()
        handle.pwrite(content(1, BLOCKS), 0)
        handle.flush()
        return server.uri()

    def test_command_lines_that_are_not_understood(self):
        """A command line that is not understood is refused."""
        self.make_md5_file()
        uri = self.server.uri()
        self.assertIn("URI", self.refused(self.md5_file))
        self.assertIn("URI", self.refused(self.md5_file, uri, "more"))
        self.assertIn("--fast", self.refused("--fast", self.md5_file, uri))
        self.assertIn("--requests=0", self.refused("--requests=0", self.md5_file, uri))

    def test_files_that_are_none(self):
        """A file that is no md5-file is refused."""
        uri = self.server.uri()
        self.assertIn(str(self.md5_file), self.refused(self.md5_file, uri))
        self.assertFalse(self.md5_file.exists())
        self.md5_file.write_bytes(b"")
        self.assertIn("no md5-file yet", self.refused(self.md5_file, uri))
        self.md5_file.write_bytes(content(1))
        self.assertIn("not an md5-file", self.refused(self.md5_file, uri))

    def test_servers_that_cannot_be_reached(self):
        """A server that cannot be reached is an error."""
        self.make_md5_file()
        self.refused(self.md5_file, "nbd+unix:///?socket=/nowhere/socket")
        self.refused(self.md5_file, "what")

    def test_connection_that_is_lost(self):
        """A lost connection is an error, and makes no block unreadable."""
        self.make_md5_file()
        server = FaultyDisk(self, DYING_DISK).serve(filters=())
        self.assertIn("connection", self.refused(self.md5_file, server.uri()))

    def test_help_and_version(self):
        """--help and --version print to standard output, with status 0."""
        self.assertIn("--requests=N", verify("--help", code=0).stdout)
        self.assertRegex(verify("--version", code=0).stdout, rf"^{NAME} \d+\.\d+\.\d+\n$")

    def test_output_that_cannot_be_written(self):
        """Output that cannot be written is an error."""
        uri = self.make_md5_file()
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run(
                [our_command(NAME), "--json", self.md5_file, uri],
                stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
            )  # fmt: skip
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("standard output", done.stderr)


if __name__ == "__main__":
    unittest.main()
