"""What the plugin knows of what was never stored: an empty disk of 1 TiB costs next to no requests,
and the listing from which it knows may fail or take for ever."""

import random
import threading
import time
import unittest

from e2e.mounted_disk import BlockDevice, mounted, require_root_and_tools, run
from servers import faults
from servers.memory_s3 import MemoryS3, StoredObject
from support import data
from support.model import Mix, ShadowDisk, Workload
from support.nbdkit import Nbdkit
from support.stopping import AT_ONCE_S, StallingVolume, seconds_to_end

TIB, MIB = 1 << 40, 1 << 20
OBJECTS = TIB // MIB
TRIM = (1 << 32) - MIB


class AnEmptyTebibyte(unittest.TestCase):
    def setUp(self):
        self.s3 = MemoryS3({"disk": {}})
        self.s3.start()
        self.addCleanup(self.s3.stop)
        words = [f"{name}={value}" for name, value in self.s3.parameters("disk").items()]
        self.server = Nbdkit("s3", *words, f"size={TIB}")
        self.server.__enter__()
        self.addCleanup(self.server.stop)

    def count(self, action):
        """Requests of any kind that the service gets meanwhile, and the seconds it takes."""
        with self.s3.lock:
            before = sum(self.s3.requests.values())
        start = time.monotonic()
        action()
        with self.s3.lock:
            return sum(self.s3.requests.values()) - before, time.monotonic() - start

    def test_trimming_all_of_it(self):
        """Trimming the whole of a disk costs no request for objects that are not there."""
        handle = self.server.connect()
        handle.pread(1, 0)

        def trim():
            for offset in range(0, TIB, TRIM):
                handle.trim(min(TRIM, TIB - offset), offset)
            handle.flush()

        requests, seconds = self.count(trim)
        self.assertLessEqual(requests, 10)
        self.assertLess(seconds, 30)

    def test_a_file_system_on_it(self):
        """mkfs and fstrim read, list and remove nothing that was never stored."""
        require_root_and_tools()
        with BlockDevice(self.server) as disk:
            requests, seconds = self.count(lambda: run("mkfs.ext4", "-q", disk.device))
            self.assertLessEqual(requests, OBJECTS // 1000)
            self.assertLess(seconds, 60)

            def trim():
                with mounted(disk.device) as directory:
                    run("fstrim", directory)

            requests, seconds = self.count(trim)
            self.assertLessEqual(requests, OBJECTS // 1000)
            self.assertLess(seconds, 60)
            run("fsck.ext4", "-f", "-n", disk.device)


class BackgroundListing(unittest.TestCase):
    """The listing at the start of a server that owns its volume."""

    def setUp(self):
        self.volume = StallingVolume()
        self.addCleanup(self.volume.close)

    def serve(self, *parameters):
        """A server of the volume, stopped when the test ends."""
        server = Nbdkit(*self.volume.words(*parameters), verbose=True)
        self.addCleanup(server.stop)
        return server

    def check_all_requests(self, server, mix, seed):
        """Random requests, none of which fails; every byte; and the server ends as it should."""
        disk = ShadowDisk(self.volume.SIZE, self.volume.content)
        workload = Workload(
            disk, seed, requests=500, connections=2, in_flight=8, block_size=self.volume.OBJECT,
            max_bytes=4 * self.volume.OBJECT, mix=mix,
        )  # fmt: skip
        workload.run(server.connect)
        disk.compare_with(server.connect())
        self.assertEqual(server.terminate(), 0)
        self.volume.proxy.behaviour = None
        disk.compare_with(self.serve().connect())

    def test_listing_that_always_fails_is_no_error(self):
        """A listing that always fails is no error, and makes no block a hole."""
        self.volume.meet(self.volume.is_listing, faults.status(403, "AccessDenied"))
        server = self.serve()
        data.wait_until(lambda: "the listing of what is stored ended" in server.log(), 30, "403")
        self.check_all_requests(server, Mix(cache=0, trim=0, zero=0, zero_no_hole=0), seed=1)

    def test_listings_that_fail_at_random_are_no_error(self):
        """So it is with listings that fail at random; requests that list try again."""
        rng = random.Random(1)
        ways = [
            faults.status(500, "InternalError"), faults.status(503, "SlowDown"),
            faults.cut_body(100), faults.drop_before(), faults.drop_after(reset=True),
        ]  # fmt: skip
        self.volume.proxy.behaviour = lambda request: (
            rng.choice(ways) if self.volume.is_listing(request) and rng.random() < 0.5 else None
        )
        self.check_all_requests(self.serve(), Mix(cache=0), seed=2)

    def test_reads_do_not_wait_for_it(self):
        self.volume.stall(self.volume.is_listing)
        server = self.serve()
        self.volume.wait_until_under_way(self.volume.is_listing)
        self.assertEqual(server.connect().pread(self.volume.SIZE, 0), self.volume.content)

    def test_server_ends_in_the_midst_of_it(self):
        """A server that is listing a silent service ends at once."""
        for client in ("none", "has left"):
            with self.subTest(client):
                self.volume.stall(self.volume.is_listing)
                before = len(self.volume.arrived(self.volume.is_listing))
                server = self.serve()
                if client != "none":
                    handle = server.connect()
                    self.assertEqual(handle.pread(10, 0), self.volume.content[:10])
                    handle.shutdown()
                self.volume.wait_until_under_way(self.volume.is_listing, before + 1)
                self.assertLess(seconds_to_end(server), AT_ONCE_S)

    def test_server_ends_in_the_midst_of_many_pages(self):
        """So it does with several listings under way."""
        volume = StallingVolume(disk_bytes=1 << 30)
        self.addCleanup(volume.close)
        with volume.s3.lock:
            for number in range(1000, 9000):
                volume.s3.buckets["disk"][f"{number:016x}"] = StoredObject(b"not read")
        first = threading.Event()

        def later_page(request):
            """All but the first."""
            if not volume.is_listing(request):
                return False
            before = first.is_set()
            first.set()
            return before

        volume.stall(later_page)
        server = Nbdkit(*volume.words())
        self.addCleanup(server.stop)
        volume.wait_until_under_way(volume.is_listing, 3)
        self.assertGreater(len(volume.proxy.in_flight("GET")), 1)
        self.assertLess(seconds_to_end(server), AT_ONCE_S)


if __name__ == "__main__":
    unittest.main()
