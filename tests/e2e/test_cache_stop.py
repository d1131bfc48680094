"""SIGTERM with dirty data: it is written back for as long as that gets on, and what is lost is told
by the log and by the exit status."""

import os
import pathlib
import socket
import subprocess
import tempfile
import time
import unittest

from servers import faults
from support import data
from support.cache_case import BLOCK, CacheCase, CacheDirCase
from support.nbdkit import Nbdkit, our_nbdkit
from support.stopping import LATER_S, StallingVolume

MIB = 1 << 20


class OverS3(unittest.TestCase):
    """A volume in a service, with a cache that ignores flushes: all that is written is dirty."""

    def setUp(self):
        self.volume = StallingVolume()
        self.addCleanup(self.volume.close)
        self.new = data.tagged(2, 0, self.volume.SIZE)

    def serve(self, *parameters, cache="unsafe"):
        """A server with the cache over the volume."""
        words = ["--filter=cache", *self.volume.words(*parameters), f"cache={cache}"]
        server = Nbdkit(*words)
        self.addCleanup(server.stop)
        return server

    def stored(self):
        """What the volume contains, read by a server of its own."""
        with Nbdkit(*self.volume.words("own=none")) as server:
            return bytes(server.connect().pread(self.volume.SIZE, 0))

    def test_takes_the_time_it_needs(self):
        """The last write-back lasts as long as a slow service takes data, and the log tells how far
        it is."""
        server = self.serve("upload-limit=2M", "stop-timeout=1")
        handle = server.connect()
        handle.pwrite(self.new, 0)
        handle.flush()
        self.assertEqual(server.terminate(), 0, server.log())
        self.assertNotIn("LOST", server.log())
        self.expect_progress(server, "before the server ends")
        self.assertEqual(self.stored(), self.new)

    def test_last_client_leaves(self):
        """The log also tells how far the write-back is that the last client leaves behind."""
        server = self.serve("upload-limit=2M", cache="writeback")
        server.connect().pwrite(self.new, 0)
        self.assertEqual(server.terminate(), 0, server.log())
        self.expect_progress(server, "export ''")
        self.assertEqual(self.stored(), self.new)

    def expect_progress(self, server, whose):
        """Some lines of it, and one of its end."""
        size = len(self.new)
        for text in (
            rf"writing back: \d+ of {size} bytes are left, .*/s$",
            rf"{size} bytes were written back in",
        ):
            self.assertRegex(server.log(), rf"(?m)cache: {whose}: {text}")

    def test_client_that_stays_after_the_signal(self):
        """The time of a client that stays connected after the signal is no silence of the service.
        """
        server = self.serve("stop-timeout=1", cache="writeback")
        handle = server.connect()
        handle.pwrite(self.new, 0)
        server.process.terminate()
        time.sleep(3)
        handle.shutdown()
        self.assertEqual(server.wait(), 0, server.log())
        self.assertEqual(self.stored(), self.new)

    def test_loss_over_a_service_that_is_silent(self):
        """Over a silent service a stop ends, and the exit status tells the loss."""
        server = self.serve("stop-timeout=1")
        server.connect().pwrite(self.new, 0)
        self.volume.stall(lambda request: request.method == "PUT")
        start = time.monotonic()
        self.assertEqual(server.terminate(3 * LATER_S), 1, server.log())
        self.assertLess(time.monotonic() - start, 2 * LATER_S)
        self.assertRegex(server.log(), rf"error: .*\b{len(self.new)} bytes .*unsafe.* are LOST")

    def test_loss_gives_back_the_lease(self):
        """A stop with a loss gives the lease back."""
        server = self.serve()
        server.connect().pwrite(self.new, 0)
        refused = faults.status(403, "AccessDenied")
        self.volume.meet(lambda each: each.method == "PUT" and "lease" not in each.path, refused)
        self.assertEqual(server.terminate(), 1, server.log())
        self.volume.meet(lambda each: False, None)
        start = time.monotonic()
        self.assertNotEqual(self.serve().connect().pread(BLOCK, 0), self.new[:BLOCK])
        self.assertLess(time.monotonic() - start, 10)


class OverOtherLayers(CacheCase):
    def test_loss_is_counted_and_named(self):
        """The message counts the lost bytes and names the export."""
        server = self.serve()
        handle = server.connect()
        handle.pwrite(data.tagged(2, 0, 5 * 4096), 0)
        handle.zero(2 * BLOCK, 8 * BLOCK)
        self.below.fail("pwrite", "zero")
        self.assertEqual(server.terminate(), 1, server.log())
        lost = 5 * 4096 + 2 * BLOCK
        self.assertRegex(server.log(), rf"error: .*\b{lost} bytes .*no flush.* are LOST")

    def test_status_is_0_where_nothing_is_lost(self):
        """The exit status is 0 when a later attempt has stored everything."""
        server = self.serve()
        handle, written = server.connect(), data.tagged(2, 0, BLOCK)
        handle.pwrite(written, 0)
        self.below.fail("pwrite")
        self.assertRaises(Exception, handle.flush)
        self.below.heal()
        self.assertEqual(server.terminate(), 0, server.log())
        self.assertEqual(self.below.stored(0, BLOCK), written)

    def test_layer_that_refuses_to_wait(self):
        """Everything is written back over nbdkit's rate filter, which lets no request wait once the
        server stops."""
        written = data.tagged(2, 0, 16 * MIB)
        server = Nbdkit(
            "--filter=cache", "--filter=rate", "file", self.below.disk, "rate=64M", "cache=unsafe"
        )
        self.addCleanup(server.stop)
        server.connect().pwrite(written, 0)
        self.assertEqual(server.terminate(), 0, server.log())
        self.assertEqual(self.below.stored(0, 16 * MIB), written)

    def test_bound(self):
        """cache-stop-timeout bounds the last write-back."""
        server = self.serve("cache-stop-timeout=1", "cache=unsafe", "cache-threads=1")
        server.connect().pwrite(data.tagged(2, 0, 16 * MIB), 0)
        self.below.delay("pwrite", 2)
        start = time.monotonic()
        self.assertEqual(server.terminate(), 1, server.log())
        self.assertLess(time.monotonic() - start, LATER_S)
        self.assertRegex(server.log(), r"error: .* are LOST: .*cache-stop-timeout")

    def test_service_manager_is_told(self):
        """systemd is told of the last write-back, and asked for more time while it gets on."""
        with tempfile.TemporaryDirectory() as directory:
            name = pathlib.Path(directory, "notify")
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                manager.bind(str(name))
                manager.settimeout(30)
                server = self.serve("cache=unsafe", environment={"NOTIFY_SOCKET": str(name)})
                server.connect().pwrite(data.tagged(2, 0, MIB), 0)
                server.terminate()
                while manager.recv(1000) != b"STOPPING=1":
                    pass  # a client that leaves may be the last, and the server about to stop
                self.assertRegex(
                    manager.recv(1000),
                    rb"^EXTEND_TIMEOUT_USEC=\d+\nSTATUS=%d bytes are to be written back$" % MIB,
                )
                told = b""
                while b" were written back in " not in told:  # more progress on a busy machine
                    told = manager.recv(1000)

    def test_captive_client_that_fails(self):
        """With --run, data of a client that fails are written back, and its status is passed on."""
        written = data.tagged(2, 0, MIB)
        source = self.scratch / "written"
        source.write_bytes(written)
        client = f'nbdcopy -- {source} "$uri"; exit 7'
        environment = os.environ | {"TMPDIR": str(self.scratch)}
        command = [our_nbdkit(), "-U", "-", *self.command("cache=unsafe"), "--run", client]
        done = subprocess.run(
            [str(word) for word in command], env=environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        self.assertEqual(done.returncode, 7, done.stderr)
        self.assertEqual(self.below.stored(0, MIB), written)


class WithDirectory(CacheDirCase):
    def test_what_stays_is_no_loss(self):
        """The exit status is 0 where data stay in cache-dir."""
        server, written = self.serve("cache-flush=local"), data.tagged(2, 0, BLOCK)
        server.connect().pwrite(written, 0)
        self.below.fail("pwrite")
        self.assertEqual(server.terminate(), 0, server.log())
        self.assertRegex(server.log(), rf"error: .*\b{BLOCK} bytes .*stay in")
        self.below.heal()
        self.serve("cache-flush=local")
        self.below.wait_until_stored(0, written)


if __name__ == "__main__":
    unittest.main()
