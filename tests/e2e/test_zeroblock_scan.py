"""The zeroblock filter's scan for holes: what it finds, that nobody notices when it fails, and that
the server does not wait for it."""

import re
import time
import unittest

from e2e.test_zeroblock import BLOCK, MIB, scratch_of
from support import data
from support.model import Mix, ShadowDisk, Workload
from support.nbdkit import Nbdkit
from support.stopping import AT_ONCE_S, SlowExtents, StallingVolume
from support.stopping import seconds_after_release, seconds_to_end

# What the log says in the end, by the share of the scan's questions that fail.
ENDS = {"100%": "the scan was given up", "50%": "the scan (was given up|is complete)"}


class Scanning(unittest.TestCase):
    """nbdkit's log filter below tells what was asked and read."""

    def setUp(self):
        self.folder = scratch_of(self)
        self.disk, self.log = self.folder / "disk", self.folder / "log"
        with open(self.disk, "wb") as disk:
            disk.truncate(64 * MIB)
            disk.seek(10 * MIB)
            disk.write(data.random_bytes(1, MIB))

    def serve(self, *words):
        """A server of the disk: filters below zeroblock, then parameters."""
        filters = [word for word in words if word.startswith("--filter=")]
        parameters = [word for word in words if word not in filters]
        server = Nbdkit(
            "--filter=zeroblock", "--filter=log", *filters, "file", self.disk,
            f"logfile={self.log}", *parameters, verbose=True,
        )  # fmt: skip
        self.addCleanup(server.stop)
        return server

    def logged(self, kind):
        """How many requests of a kind have reached the layer below."""
        return self.log.read_text().count(f" {kind} id=")

    def test_scan_finds_the_holes(self):
        server = self.serve()
        handle = server.connect()
        data.wait_until(lambda: "the scan is complete" in server.log(), 20, "the scan")
        for offset in range(0, 64 * MIB, 8 * MIB):
            handle.pread(MIB, offset)
        self.assertEqual(self.logged("Read"), 0)
        handle.pread(8 * MIB, 8 * MIB)
        self.assertEqual(self.logged("Read"), 1)

    def test_no_scan_where_it_is_not_wanted(self):
        server = self.serve("zeroblock-scan=off")
        server.connect().pread(MIB, 0)
        self.assertEqual((self.logged("Extents"), self.logged("Read")), (0, 1))

    def test_scan_that_fails_changes_nothing(self):
        """A scan that fails always, or half of the time, changes nothing."""
        content = self.disk.read_bytes()
        for rate in ("100%", "50%"):
            with self.subTest(rate):
                self.disk.write_bytes(content)
                words = ("error-extents=EIO", f"error-extents-rate={rate}")
                server = self.serve("--filter=error", *words)
                server.connect()
                data.wait_until(lambda: re.search(ENDS[rate], server.log()), 20, "the scan's end")
                disk = ShadowDisk(64 * MIB, content)
                mix = Mix(cache=0, write_zeros=15, zero=10)
                workload = Workload(
                    disk, seed=3, requests=500, connections=2, in_flight=8, block_size=BLOCK,
                    max_bytes=4 * BLOCK, mix=mix,
                )  # fmt: skip
                workload.run(server.connect)
                disk.compare_with(server.connect())
                self.assertEqual(server.terminate(), 0)
                with Nbdkit("file", self.disk) as plain:
                    disk.compare_with(plain.connect())

    def test_scan_over_a_disk_that_serves_one_request_at_a_time(self):
        server = self.serve("--filter=noparallel")
        handle = server.connect()
        handle.pwrite(b"part", 5 * MIB)
        data.wait_until(lambda: "the scan is complete" in server.log(), 20, "the scan")
        self.assertEqual(handle.pread(10, 5 * MIB), b"part" + bytes(6))

    def test_server_ends_in_the_midst_of_a_question(self):
        self.end_during_scan("delay-extents=1000")

    def test_server_ends_in_the_midst_of_a_long_walk(self):
        self.disk.write_bytes(b"\x07" * BLOCK)
        with open(self.disk, "r+b") as disk:
            disk.truncate(1 << 43)
        self.end_during_scan("delay-extents=20ms")

    def end_during_scan(self, delay):
        """SIGTERM while the layer below takes its time, with a client that leaves right after it,
        and with one that has left before."""
        for leaves_first in (False, True):
            with self.subTest(leaves_first=leaves_first):
                server = self.serve("--filter=delay", delay)
                handle = server.connect()
                data.wait_until(lambda: self.asked(1), 20, "a question")
                if leaves_first:
                    handle.aio_disconnect()
                started = time.monotonic()
                server.process.terminate()
                self.assertEqual(server.terminate(), 0)
                self.assertLess(time.monotonic() - started, AT_ONCE_S)
                self.assertNotIn("the scan is complete", server.log())
                self.log.unlink()

    def asked(self, number):
        """Whether so many questions have reached the layer below."""
        return self.log.exists() and self.logged("Extents") >= number


class ScanOverASlowLayer(unittest.TestCase):
    """The end of the server in the midst of a scan, without nbdkit's delay filter, which ends early
    by itself."""

    def serve(self, *below):
        """A server of the filter, stopped when the test ends, and a client of it."""
        server = Nbdkit("--filter=zeroblock", *below, verbose=True)
        self.addCleanup(server.stop)
        return server, server.connect()

    def test_question_that_a_plugin_cannot_give_up(self):
        """The server waits for the query, and makes no other."""
        below = SlowExtents(scratch_of(self))
        server, handle = self.serve(*below.arguments)
        below.wait_for_question()
        self.assertEqual(handle.pread(10, 0), b"\7" * 10)
        handle.aio_disconnect()
        took = seconds_after_release(server, "zeroblock: finalize", below.release)
        self.assertLess(took, AT_ONCE_S)
        self.assertEqual(below.questions(), 1)

    def test_service_that_does_not_answer(self):
        volume = StallingVolume()
        self.addCleanup(volume.close)
        volume.stall(volume.is_listing)
        server, handle = self.serve(*volume.words("own=none", "trust-listing=true"))
        volume.wait_until_under_way(volume.is_listing)
        self.assertEqual(handle.pread(volume.SIZE, 0), volume.content)
        handle.aio_disconnect()
        self.assertLess(seconds_to_end(server), AT_ONCE_S)
        self.assertEqual(len(volume.arrived(volume.is_listing)), 1)

    def test_scan_does_not_go_on_when_the_server_stops(self):
        """Its client has left and waits for an answer that SIGTERM gives up: another client's turn
        would be a question after the stop, which the plugin gives the time of a last write."""
        volume = StallingVolume()
        self.addCleanup(volume.close)
        volume.stall(volume.is_listing)
        server, handle = self.serve(*volume.words("own=none", "trust-listing=true"))
        other = server.connect()
        volume.wait_until_under_way(volume.is_listing)
        handle.aio_disconnect()
        data.wait_until(lambda: "zeroblock: finalize" in server.log(), 30, "finalize")
        server.process.terminate()
        data.wait_until(lambda: "shutting down" in server.log(), 30, "the end of the question")
        other.aio_disconnect()
        self.assertLess(seconds_to_end(server), AT_ONCE_S)
        self.assertEqual(len(volume.arrived(volume.is_listing)), 1)


if __name__ == "__main__":
    unittest.main()
