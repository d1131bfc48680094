"""A volume that grows between two servers with one cache-dir: what the directory holds stays true,
also what was never written back. A volume that has shrunk is another disk for it."""

import pathlib
import re
import shutil
import tempfile
import unittest

import nbd

from servers import faults
from support import data
from support.nbdkit import Nbdkit, NbdkitError
from support.s3_command import run_s3_command
from support.stopping import StallingVolume

KIB, MIB = 1 << 10, 1 << 20
BLOCK = 64 * KIB


class CacheResize(unittest.TestCase):
    """A volume of 8 MiB in a service, and a cache-dir of it with one block that was read, and one
    that was written and not written back."""

    OLD = StallingVolume.SIZE
    dirty_at, clean_at = OLD - BLOCK, 0

    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="cache-resize-", dir="/var/tmp")
        self.addCleanup(scratch.cleanup)
        self.directory = pathlib.Path(scratch.name) / "cache"
        self.volume = StallingVolume()
        self.addCleanup(self.volume.close)
        self.dirty = data.tagged(2, self.dirty_at, BLOCK)

    def words(self, *parameters):
        """Of a server."""
        return [
            "--filter=cache", *self.volume.words(*parameters), f"cache-dir={self.directory}",
            "cache-flush=local", "cache-on-read=true",
        ]  # fmt: skip

    def serve(self, *parameters):
        """A server, stopped at the end of the test."""
        server = Nbdkit(*self.words(*parameters))
        self.addCleanup(server.stop)
        return server

    @staticmethod
    def is_block_written(request):
        """Whether the request stores a block."""
        return request.method == "PUT" and request.path.startswith("/disk/0")

    @staticmethod
    def is_clean_block_read(request):
        """Whether the request reads the object of the clean block, the first one."""
        return request.method == "GET" and re.fullmatch("/disk/0+", request.path)

    def leave_cache(self, end="terminate"):
        """Ends the server that has filled the directory."""
        server = self.serve()
        handle = server.connect()
        handle.pread(BLOCK, self.clean_at)
        self.assertNotEqual(self.volume.arrived(self.is_clean_block_read), [])
        self.volume.meet(self.is_block_written, faults.status(403, "AccessDenied"))
        handle.pwrite(self.dirty, self.dirty_at)
        handle.flush()
        getattr(server, end)()
        self.volume.meet(lambda each: False, None)
        self.expect_stored(self.volume.content[self.dirty_at :], self.dirty_at)

    def resize(self, size, *options, code=0):
        """Runs nbdstack-s3 resize; what it said."""
        words = self.volume.words(f"size={size}")[1:]
        done = run_s3_command("resize", *options, *words)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stderr

    def expect_kept(self, new_size):
        """The next server serves the new size, with what the directory held: the clean block without
        a request, and the dirty one, which is written back."""
        server = self.serve()
        gets = len(self.volume.arrived(self.is_clean_block_read))
        handle = server.connect()
        self.assertEqual(handle.get_size(), new_size)
        self.assertEqual(handle.pread(BLOCK, self.clean_at), self.volume.content[:BLOCK])
        self.assertEqual(len(self.volume.arrived(self.is_clean_block_read)), gets)
        self.assertEqual(handle.pread(BLOCK, self.dirty_at), self.dirty)
        behind = handle.pread(new_size - self.OLD, self.OLD)
        self.assertEqual(behind, bytes(new_size - self.OLD))
        return server, handle

    def expect_stored(self, content, offset):
        """Looked at without the cache."""
        with Nbdkit(*self.volume.words("own=none")) as server:
            self.assertEqual(server.connect().pread(len(content), offset), content)

    def test_grows(self):
        """After a stop. What is written behind the old end is kept, too, in a third life."""
        self.leave_cache()
        self.resize(2 * self.OLD)
        server, handle = self.expect_kept(2 * self.OLD)
        new = data.tagged(3, self.OLD, BLOCK)
        handle.pwrite(new, self.OLD)
        handle.flush()
        server.kill()
        server = self.serve()
        self.assertEqual(server.connect().pread(BLOCK, self.OLD), new)
        self.assertEqual(server.terminate(), 0, server.log())
        self.expect_stored(self.dirty + new, self.dirty_at)

    def test_grows_after_a_crash(self):
        """The server was killed: the verb takes its lease over. And it grows twice before the next."""
        self.leave_cache("kill")
        self.resize(self.OLD + BLOCK)
        self.resize(2 * self.OLD)
        server, _ = self.expect_kept(2 * self.OLD)
        self.assertEqual(server.terminate(), 0, server.log())
        self.expect_stored(self.dirty, self.dirty_at)

    def test_grows_before_the_server_knows(self):
        """The server was killed right after it had taken the grown disk: still the cache of it."""
        self.leave_cache()
        self.resize(2 * self.OLD)
        server, _ = self.expect_kept(2 * self.OLD)
        server.kill()
        self.expect_kept(2 * self.OLD)

    def test_changed_by_another_server_as_well(self):
        """A larger disk that others have written is not the one that was cached."""
        self.leave_cache()
        self.resize(2 * self.OLD)
        with Nbdkit(*self.volume.words()) as other:
            other.connect().pwrite(b"x" * BLOCK, self.dirty_at)
            other.terminate()
        self.expect_refused("changed the disk since", self.dirty_at, b"x" * BLOCK)

    def test_shrinks(self):
        """Refused, with what the directory holds and the ways out; nothing in it is lost."""
        self.leave_cache()
        self.resize(self.OLD - 4 * BLOCK, "--force")
        self.expect_refused("disk size")
        self.resize(self.OLD)
        self.expect_refused("changed the disk since", self.dirty_at, bytes(BLOCK))

    def test_ends_inside_a_block(self):
        """A disk that did not end where a block ends is refused, larger or not."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.resize(self.OLD + 512)
        server = self.serve()
        server.connect().pwrite(b"x" * 512, self.OLD)
        self.assertEqual(server.terminate(), 0, server.log())
        self.resize(2 * self.OLD)
        self.expect_refused("disk size")

    def expect_refused(self, words, offset=0, stored=None):
        """A server with the directory gives no disk away, and changes nothing."""
        try:
            with Nbdkit(*self.words()) as server:
                with self.assertRaises(nbd.Error):
                    server.connect()
                data.wait_until(lambda: words in server.log(), 30, words)
        except NbdkitError as error:
            self.assertIn(words, str(error))
        if stored is not None:
            self.expect_stored(stored, offset)

    def test_renamed(self):
        """All objects moved to another key, as `aws s3 mv --recursive` does: the volume keeps its id,
        and so its cache."""
        self.leave_cache()
        with self.volume.s3.lock:
            objects = self.volume.s3.buckets["disk"]
            moved = {f"new/{key}": stored for key, stored in objects.items()}
            objects.clear()
            objects.update(moved)
        self.serve("key=new").terminate()
        with Nbdkit(*self.volume.words("own=none", "key=new")) as server:
            self.assertEqual(server.connect().pread(BLOCK, self.dirty_at), self.dirty)

    def test_running_server(self):
        """It has the lease, so its disk is not resized under it; the message names it."""
        with Nbdkit(*self.volume.words("lease-time=5")) as server:
            said = self.resize(2 * self.OLD, code=1)
            self.assertIn(f"pid {server.pid}", said)
            self.assertIn("stop it first", said)


if __name__ == "__main__":
    unittest.main()
