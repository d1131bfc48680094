"""What an empty disk of 1 TiB costs in requests: the plugin knows what was never stored."""

import time
import unittest

from e2e.mounted_disk import BlockDevice, mounted, require_root_and_tools, run
from servers.memory_s3 import MemoryS3
from support.nbdkit import Nbdkit

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
        """A request, or a listing, for every object that is not there."""
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
        """mkfs and fstrim that read, list or remove what was never stored."""
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


if __name__ == "__main__":
    unittest.main()
