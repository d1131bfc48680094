"""Services that lack something, and say so each in its own way: the whole life of a volume on them."""

import contextlib
import unittest

from servers.memory_s3 import MemoryS3
from support import data
from support.nbdkit import Nbdkit
from support.s3_command import run_s3_command

MIB = 1 << 20
OBJECTS = 16
CONTENT = data.tagged(1, 0, OBJECTS * MIB)


def _is_for_many(request):
    return request.command == "POST" and "delete" in request.query


def _is_conditional_put(request):
    conditions = "If-None-Match" in request.headers or "If-Match" in request.headers
    return request.command == "PUT" and conditions


def refusing(applies, status, code):
    """A MemoryS3.refusal."""
    return lambda request: (status, code) if applies(request) else None


class Services(unittest.TestCase):
    def setUp(self):
        self.s3 = MemoryS3({"disk": {}})
        self.s3.start()
        self.addCleanup(self.s3.stop)

    @contextlib.contextmanager
    def serve(self, *words):
        """(server, its connection)"""
        parameters = [f"{name}={value}" for name, value in self.s3.parameters("disk").items()]
        with Nbdkit("s3", *parameters, "key=vol", f"size={OBJECTS * MIB}", *words) as server:
            yield server, server.connect()

    def live(self, *words):
        """A volume's whole life; what its server logged."""
        with self.serve(*words) as (server, disk):
            disk.pwrite(CONTENT, 0)
            disk.flush()
            disk.trim(4 * MIB, 0)
            disk.zero(4 * MIB, 8 * MIB)
            self.assertEqual(disk.pread(MIB, MIB), bytes(MIB))
            self.assertEqual(disk.pread(MIB, 5 * MIB), CONTENT[5 * MIB : 6 * MIB])
            log = server.log()
        with self.serve(*words) as (_, disk):
            self.assertEqual(disk.pread(MIB, 9 * MIB), bytes(MIB))
            self.assertEqual(disk.pread(MIB, 15 * MIB), CONTENT[15 * MIB :])
        parameters = [f"{name}={value}" for name, value in self.s3.parameters("disk").items()]
        done = run_s3_command("delete", "--yes", *parameters, "key=vol")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.s3.buckets["disk"], {})
        return log

    def test_without_a_removal_of_many(self):
        """Over a service without DeleteObjects, trims and `delete` work."""
        for status, code in (501, "NotImplemented"), (400, "InvalidArgument"), (405, ""):
            with self.subTest(status=status):
                self.s3.refusal = refusing(_is_for_many, status, code)
                self.assertIn("does not remove many objects with one request", self.live())

    def test_without_conditions(self):
        """A service may refuse conditions in any way: volumes can be made there."""
        for status, code in (
            (400, "InvalidArgument"), (403, "SignatureDoesNotMatch"), (405, "MethodNotAllowed"),
            (409, "Conflict"), (501, "NotImplemented"),
        ):  # fmt: skip
            for owner in "auto", "none":
                with self.subTest(status=status, own=owner):
                    self.s3.refusal = refusing(_is_conditional_put, status, code)
                    log = self.live(f"own={owner}")
                    if owner == "auto":
                        self.assertIn(f"the service answered {status} {code}", log)

    def test_a_lease_that_cannot_be_had_is_refused(self):
        """own=lease on such a service says how it refused."""
        self.s3.refusal = refusing(_is_conditional_put, 405, "MethodNotAllowed")
        with self.assertRaisesRegex(Exception, "405 MethodNotAllowed"):
            with self.serve("own=lease"):
                pass

    def test_proxies_own_statuses_pass(self):
        """Statuses that proxies made up pass: the request is sent again."""
        for status in 423, 425, 499, 509, 520, 522, 524, 525, 529, 530, 598, 599:
            with self.subTest(status=status):
                left = [3]

                def passing(_):
                    left[0] -= 1
                    return (status, "") if left[0] >= 0 else None

                self.s3.refusal = lambda _: None
                with self.serve() as (_, disk):
                    self.s3.refusal = passing
                    disk.pwrite(CONTENT[:MIB], 0)
                    left[0] = 3
                    self.assertEqual(disk.pread(MIB, 0), CONTENT[:MIB])
                    self.s3.refusal = lambda _: None


if __name__ == "__main__":
    unittest.main()
