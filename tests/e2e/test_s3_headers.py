"""Headers that a user asks for: which requests of a volume's life carry them, and which do not."""

import unittest

from servers.memory_s3 import MemoryS3
from support import data
from support.nbdkit import Nbdkit
from support.s3_command import run_s3_command

KIB, MIB = 1 << 10, 1 << 20
OBJECT = 64 * KIB
SIZE = 4 * MIB


class SeenRequest:
    """What a request asked for, and its headers; `key` is empty for the bucket's own."""

    def __init__(self, handler):
        self.method, self.key = handler.command, handler.key
        self.headers = {name.lower(): value for name, value in handler.headers.items()}

    def __repr__(self):
        return f"{self.method} /{self.key}"


class Headers(unittest.TestCase):
    def setUp(self):
        self.s3 = MemoryS3({"disk": {}})
        self.s3.start()
        self.addCleanup(self.s3.stop)
        self.seen = []
        self.s3.refusal = lambda handler: self.seen.append(SeenRequest(handler))

    def words(self, **parameters):
        """NAME=VALUE for the volume."""
        given = self.s3.parameters("disk") | {"key": "vm"} | parameters
        return [f"{name.replace('_', '-')}={value}" for name, value in given.items()]

    def run_verb(self, *words, **parameters):
        """Runs nbdstack-s3 on the volume."""
        done = run_s3_command(*words, *self.words(**parameters))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def live(self, **parameters):
        """A volume's life: created, written, trimmed, read, twice over, each with a clean stop."""
        for turn in range(2):
            given = {"size": SIZE, "object_size": OBJECT} | parameters
            with Nbdkit("s3", *self.words(**given)) as server:
                disk = server.connect()
                disk.pwrite(data.tagged(turn, 0, MIB), 0)
                disk.flush()
                disk.trim(MIB // 2, 0)
                disk.pread(MIB, MIB // 2)

    def puts(self, header):
        """The keys that were PUT with the header, and those without it."""
        puts = [each for each in self.seen if each.method == "PUT"]
        with_it = {each.key for each in puts if header in each.headers}
        return with_it, {each.key for each in puts} - with_it

    def test_storage_class_of_blocks(self):
        """Blocks alone have the storage class: a lease of that class would be paid for as 128 KiB
        for 30 days at each renewal."""
        self.live(storage_class="STANDARD_IA")
        self.run_verb("resize", "--force", storage_class="STANDARD_IA", size=MIB - 512)
        block = max(key for key in self.s3.buckets["disk"] if "nbdstack" not in key)
        self.s3.buckets["disk"][block].headers = {}
        self.run_verb("check", "--renew", storage_class="STANDARD_IA")
        in_class, others = self.puts("x-amz-storage-class")
        self.assertTrue(all(key.startswith("vm/") and "nbdstack" not in key for key in in_class))
        self.assertEqual(len(in_class), MIB // OBJECT, in_class)
        names = {key.rpartition("/")[2].partition(".")[0] for key in others}
        for name in "nbdstack-lease", "nbdstack-volume", "nbdstack-blocks":
            self.assertIn(name, names)
        self.assertTrue(any(name.startswith("nbdstack-probe-") for name in names), names)
        self.assertFalse(any("nbdstack" not in name for name in names), names)
        for key, stored in self.s3.buckets["disk"].items():
            kept = stored.headers.get("x-amz-storage-class")
            self.assertEqual(kept, "STANDARD_IA" if key in in_class else None, key)

    def test_storage_class_of_s3backers_blocks(self):
        """So it is with s3backer's blocks and mount token."""
        self.live(storage_class="STANDARD_IA", layout="s3backer")
        in_class, others = self.puts("x-amz-storage-class")
        self.assertEqual(len(in_class), MIB // OBJECT, in_class)
        self.assertTrue(any(key.endswith("s3backer-mounted") for key in others), others)
        self.assertFalse(any(key.endswith("s3backer-mounted") for key in in_class), in_class)

    def test_requester_pays(self):
        """With requester-pays every request has the header, and signs it."""
        self.live(requester_pays="true")
        for verb in ("list",), ("show",), ("check",), ("delete", "--yes"):
            self.run_verb(*verb, requester_pays="true")
        self.assertEqual({each.method for each in self.seen}, {"GET", "PUT", "POST", "DELETE"})
        for each in self.seen:
            self.assertEqual(each.headers.get("x-amz-request-payer"), "requester", each)
            self.assertIn(";x-amz-request-payer", each.headers["authorization"], each)

    def test_nothing_asked_for(self):
        """Neither is sent."""
        self.live()
        for each in self.seen:
            self.assertNotIn("x-amz-request-payer", each.headers, each)
            self.assertNotIn("x-amz-storage-class", each.headers, each)
