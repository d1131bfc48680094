"""Users who may do less than all in a bucket, and services that answer the question for the first byte
in their own way."""

import unittest

import nbd

from servers.memory_s3 import MemoryS3, StoredObject
from support import data
from support.nbdkit import Nbdkit, NbdkitError
from support.s3_command import run_s3_command

MIB = 1 << 20
CONTENT = data.tagged(1, 0, MIB)


class Policies(unittest.TestCase):
    def setUp(self):
        self.s3 = MemoryS3({"disk": {}})
        self.s3.start()
        self.addCleanup(self.s3.stop)

    def words(self, **parameters):
        """Parameters that lead to the service."""
        all_of_them = self.s3.parameters("disk") | parameters
        return [f"{name}={value}" for name, value in all_of_them.items()]

    def allow_below(self, prefix):
        """Whoever lists, or names a key, must stay below the prefix."""

        def refusal(request):
            inside = request.key or request.query.get("prefix", "")
            is_about_all = not request.key and request.command == "POST"
            return None if is_about_all or inside.startswith(prefix) else (403, "AccessDenied")

        self.s3.refusal = refusal

    def test_who_may_list_below_a_prefix_only(self):
        """A user who may list only below a prefix can use a volume there."""
        self.allow_below("v/")
        with Nbdkit("s3", *self.words(key="v"), "size=4M") as server:
            disk = server.connect()
            disk.pwrite(CONTENT, 0)
            disk.trim(MIB, 0)
            disk.flush()
        for verb, words in (
            ("create", self.words(key="v/w", size="1M")), ("show", self.words(key="v")),
            ("check", self.words(key="v")), ("delete", ["--yes", *self.words(key="v/w")]),
        ):  # fmt: skip
            done = run_s3_command(verb, *words)
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_who_may_get_one_public_object(self):
        """A public object that may only be fetched can be read."""
        key = "images/debian.raw"
        self.s3.buckets["disk"][key] = StoredObject(CONTENT)
        self.s3.refusal = lambda request: (
            None if request.command == "GET" and request.key == key else (403, "AccessDenied")
        )
        with Nbdkit("s3", *self.words(key=key)) as server:
            self.assertEqual(server.connect().pread(MIB, 0), CONTENT)
        with self.assertRaisesRegex(NbdkitError, "AccessDenied"):
            with Nbdkit("s3", *self.words(key="images/other.raw")):
                pass

    def test_who_may_not_remove(self):
        """Without the right to remove, the server starts, and a trim is an error."""
        self.s3.refusal = lambda request: (
            (403, "AccessDenied")
            if request.command in ("DELETE", "POST") and "nbdstack-" not in request.key
            else None
        )
        with Nbdkit("s3", *self.words(key="v"), "size=4M") as server:
            disk = server.connect()
            disk.pwrite(CONTENT, 0)
            with self.assertRaises(nbd.Error) as refused:
                disk.trim(MIB, 0)
            self.assertEqual(refused.exception.errno, "EPERM")
            self.assertEqual(disk.pread(MIB, 0), CONTENT)


if __name__ == "__main__":
    unittest.main()
