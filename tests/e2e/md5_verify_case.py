"""Running nbdstack-md5-verify against disks of a few blocks: the base of its tests."""

import pathlib
import re
import tempfile
import unittest

from support import data
from support.command import run_command
from support.nbdkit import Nbdkit

NAME = "nbdstack-md5-verify"
BLOCK = 64 << 10
BLOCKS = 16
SIZE = BLOCKS * BLOCK
LINE = re.compile(r"(\d+) offset=(\d+) length=(\d+) written=20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ (\w+)")


def verify(*words, code):
    """Runs it and checks its exit status."""
    done = run_command(NAME, *words)
    if done.returncode != code:
        raise AssertionError(f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def content(seed, blocks=1):
    """Data of whole blocks, no block like another."""
    return data.random_bytes(seed, blocks * BLOCK)


class VerifyCase(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="md5-verify-")
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)
        self.md5_file = self.directory / "disk.md5"

    def serve(self, *words, filtered=False, filters=()):
        """A server until the end of the test, through the md5 filter with the file or beside it."""
        filters = [f"--filter={name}" for name in filters]
        if filtered:
            filters.append("--filter=md5")
            words += (f"md5-file={self.md5_file}", f"md5-block-size={BLOCK}", "md5-retry-time=0")
        server = Nbdkit(*filters, *words)
        self.addCleanup(server.stop)
        return server

    def found(self, done):
        """block -> what has become of it; every line is of the one form."""
        found = {}
        for line in done.stdout.splitlines():
            match = LINE.fullmatch(line)
            self.assertTrue(match, line)
            block, offset, length = (int(match[group]) for group in (1, 2, 3))
            self.assertEqual((offset, length), (block * BLOCK, BLOCK))
            found[block] = match[4]
        return found
