"""request-log=: each request of a client has a line, with the requests to the service that were made for
it and no other."""

import errno
import pathlib
import re
import shutil
import tempfile
import threading
import unittest

import nbd

from servers.memory_s3 import MemoryS3
from support.nbdkit import Nbdkit, NbdkitError

MIB = 1 << 20
_LINE = re.compile(
    r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) export='(.*?)' kind=(\w+) offset=(\d+) length=(\d+)"
    r" ms=([\d.]+) result=(\d+) s3=\[(.*)\]$"
)


class RequestLog(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="log-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.log = self.directory / "requests"
        self.s3 = MemoryS3({"disk": {}})
        self.s3.start()
        self.addCleanup(self.s3.stop)
        self.words = [f"{name}={value}" for name, value in self.s3.parameters("disk").items()]
        self.words += ["size=64M", f"request-log={self.log}"]

    def lines(self):
        """(export, kind, offset, length, result, [operations]) of each line."""
        found = []
        for line in self.log.read_text().splitlines():
            _, export, kind, offset, length, _, result, s3 = _LINE.match(line).groups()
            operations = [request.split()[0] for request in s3.split(", ")] if s3 else []
            found.append((export, kind, int(offset), int(length), int(result), operations))
        return found

    def test_each_request_is_a_line_with_its_own_requests(self):
        """A request of several blocks asks in several threads, and all of that stands in its line."""
        with Nbdkit("s3", *self.words) as server:
            handle = server.connect("vm1")
            handle.pwrite(b"x" * 8 * MIB, 4 * MIB)
            handle.pread(8 * MIB, 4 * MIB)
            handle.pread(4096, 0)
            handle.flush()
            handle.trim(2 * MIB, 4 * MIB)
            found = [line for line in self.lines() if line[1] != "extents"]
        self.assertEqual([line[:5] for line in found], [
            ("vm1", "write", 4 * MIB, 8 * MIB, 0),
            ("vm1", "read", 4 * MIB, 8 * MIB, 0),
            ("vm1", "read", 0, 4096, 0),
            ("vm1", "flush", 0, 0, 0),
            ("vm1", "trim", 4 * MIB, 2 * MIB, 0),
        ])  # fmt: skip
        self.assertEqual(found[0][5].count("PutObject"), 8)
        self.assertEqual(found[1][5], ["GetObject"] * 8)
        self.assertEqual(found[2][5], [], "an absent block costs no request")
        self.assertTrue({"DeleteObject", "DeleteObjects"} & set(found[4][5]), found[4])

    def test_requests_beside_each_other_are_not_mixed_up(self):
        """Each of many clients at once finds the keys of its own blocks in its line."""
        with Nbdkit("s3", *self.words) as server:
            server.connect().pwrite(b"x" * 32 * MIB, 0)

            def read(number):
                server.connect().pread(2 * MIB, number * 2 * MIB)

            threads = [threading.Thread(target=read, args=(number,)) for number in range(16)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            text = self.log.read_text()
        reads = [line for line in text.splitlines() if "kind=read" in line]
        self.assertEqual(len(reads), 16)
        for line in reads:
            first = int(_LINE.match(line)[4]) // MIB
            keys = sorted(int(key, 16) for key in re.findall(r"GetObject '(?:[^']*/)?([0-9a-f]{16})'", line))
            self.assertEqual(keys, [first, first + 1], line)

    def test_a_failure_is_its_errno(self):
        """The line of a request that fails has its errno and its attempts. NBD has fewer errnos: the
        client receives EIO."""
        with Nbdkit("s3", *self.words, "timeout=1") as server:
            handle = server.connect()
            handle.pwrite(b"x" * MIB, 0)
            with self.s3.lock:
                for key in list(self.s3.buckets["disk"]):
                    if re.search("[0-9a-f]{16}$", key):
                        stored = self.s3.buckets["disk"][key]
                        stored.body = stored.body[:-1] + b"y"
            with self.assertRaises(nbd.Error):
                handle.pread(MIB, 0)
            (failed,) = [line for line in self.lines() if line[4] != 0]
        self.assertEqual(failed[:5], ("", "read", 0, MIB, errno.ETIMEDOUT))
        self.assertGreater(failed[5].count("GetObject"), 1)

    def test_a_file_that_cannot_be_made_ends_the_start(self):
        """The error names the parameter and the file."""
        words = [word for word in self.words if not word.startswith("request-log=")]
        with self.assertRaisesRegex(NbdkitError, "request-log: .*/none/requests"):
            Nbdkit("s3", *words, f"request-log={self.directory}/none/requests")
