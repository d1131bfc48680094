"""What the tests of the cache filter over a LayerBelow share."""

import pathlib
import tempfile
import unittest

import nbd

from support import data
from support.layer_below import LayerBelow
from support.nbdkit import Nbdkit

BLOCK, SIZE = 64 << 10, 16 << 20


def error_of(action):
    """The name of the error that a request ends with, or None."""
    try:
        action()
    except nbd.Error as error:
        return error.errno
    return None


class CacheCase(unittest.TestCase):
    """Servers with the cache filter over the layer `self.below`, all over the same disk.

    The disk is SIZE bytes long unless a test says otherwise in set_up_below(), and tagged with 1.
    """

    def setUp(self):
        # On a disk, as a cache and its directory are meant to be.
        scratch = tempfile.TemporaryDirectory(prefix="cache-test-", dir="/var/tmp")
        self.addCleanup(scratch.cleanup)
        self.scratch = pathlib.Path(scratch.name)
        self.set_up_below()

    def set_up_below(self, *parameters, size=SIZE):
        """Another layer than the usual one: the plugin's parameters, another size (and no tags)."""
        folder = self.scratch / f"below-{size}-{len(parameters)}"
        content = data.tagged(1, 0, SIZE) if size == SIZE else b""
        self.below = LayerBelow(folder, size, *parameters, content=content)

    def command(self, *parameters):
        """nbdkit's words for the cache filter with these parameters over the layer."""
        return ["--filter=cache", *self.below.arguments, *parameters]

    def serve(self, *parameters, **options):
        """A server, stopped at the end of the test."""
        server = Nbdkit(*self.command(*parameters), **options)
        self.addCleanup(server.stop)
        return server


class CacheDirCase(CacheCase):
    """The same with the cache in a directory, and ways to leave something there."""

    def setUp(self):
        super().setUp()
        self.directory = self.scratch / "cache"

    def command(self, *parameters):
        return super().command(f"cache-dir={self.directory}", *parameters)

    def fill(self, *parameters):
        """Leaves a cache with blocks 0 ... 15, which have been read, and 16 ... 31, which have been
        written and are stored below too. Returns the disk's first 32 blocks."""
        server = self.serve("cache-on-read=true", *parameters)
        handle, written = server.connect(), data.tagged(2, 16 * BLOCK, 16 * BLOCK)
        handle.pread(16 * BLOCK, 0)
        handle.pwrite(written, 16 * BLOCK)
        handle.flush()
        self.assertEqual(server.terminate(), 0, server.log())
        self.below.forget_requests()
        return data.tagged(1, 0, 16 * BLOCK) + written

    def leave_dirty(self, offset, tag, count=BLOCK, parameters=()):
        """Leaves a cache with this range flushed to its disk and not below, by a server that was
        killed. Returns what was written. The layer below fails writes from now on."""
        self.below.fail("pwrite", "zero", "trim")
        server = self.serve("cache-flush=local", *parameters)
        handle, written = server.connect(), data.tagged(tag, offset, count)
        handle.pwrite(written, offset)
        handle.flush()
        server.kill()
        self.assertEqual(self.below.stored(offset, count), data.tagged(1, offset, count))
        self.below.forget_requests()
        return written
