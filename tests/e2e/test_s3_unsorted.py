"""A service that lists keys in an order of its own, does not know how to begin after one, nor prefixes
that end in the midst of a name, as S3 Express: everything there is on a volume works."""

import os
import unittest

import nbd

from e2e.listing_case import OBJECT, SIZE, ListingCase, name_of
from servers.memory_s3 import StoredObject
from support import data
from support.nbdkit import Nbdkit
from support.s3_command import run_s3_command


def backwards(key):
    """What the service sorts by."""
    return key[::-1]


class Unsorted(ListingCase):
    def setUp(self):
        super().setUp()
        self.s3.order = backwards

    def wait_until_listed(self):
        """The server's look at what is stored has ended."""
        data.wait_until(lambda: "objects are listed" in self.server.log(), 30, "the listing's end")

    def test_a_life(self):
        """A volume lives on a service that lists without order."""
        content = self.write_volume()
        with self.served() as handle:
            self.wait_until_listed()
            self.assertEqual(handle.pread(16 * OBJECT, 0), content)
            handle.zero(OBJECT, 5 * OBJECT)
            handle.trim(4 * OBJECT, 8 * OBJECT)
        self.assertEqual(self.log.count("in an order of its own"), 1)
        with self.served(trust_listing="true") as handle:
            self.assertEqual(handle.pread(5 * OBJECT, 0), content[: 5 * OBJECT])
            self.assertEqual(handle.pread(OBJECT, 5 * OBJECT), bytes(OBJECT))
            self.assertEqual(handle.pread(4 * OBJECT, 8 * OBJECT), bytes(4 * OBJECT))
            handle.zero(8 * OBJECT, 0)
            self.wait_until_listed()
            self.assertEqual(self.extents(handle)[-1][2], 3)

    def test_the_verbs(self):
        """The verbs see every object there."""
        self.write_volume()
        self.assertIn("16 of 64 objects", self.run_verb("show").stdout)
        self.assertIn("16 object(s) checked", self.run_verb("check").stderr)
        resized = self.run_verb("resize", "--force", size=4 * OBJECT)
        self.assertIn("12 object(s) removed", resized.stdout)
        blocks = sorted(key for key in self.objects if key.startswith("vm/000"))
        self.assertEqual(blocks, [name_of(block) for block in range(4)])
        self.assertIn("4 object(s)", self.run_verb("delete", "--yes").stdout)
        self.assertEqual(self.objects, {})

    def test_more_than_a_page(self):
        small = 4096
        content = os.urandom(2500 * small)
        with self.served(size=len(content), object_size=small) as handle:
            for first in range(0, len(content), 500 * small):
                handle.pwrite(content[first : first + 500 * small], first)
        self.assertIn("2500 of 2500 objects", self.run_verb("show").stdout)
        self.assertIn("2500 object(s)", self.run_verb("delete", "--yes").stdout)
        self.assertEqual(self.objects, {})

    def test_an_s3backer_volume(self):
        parameters = {"layout": "s3backer", "object_size": "64K"}
        content = os.urandom(16 * OBJECT)
        with self.served(size=SIZE, **parameters) as handle:
            handle.pwrite(content, 0)
        with self.served(layout="s3backer") as handle:
            self.assertEqual(handle.pread(16 * OBJECT, 0), content)


class ListOfVolumes(ListingCase):
    """`list`, and the exports of volumes=true."""

    def setUp(self):
        super().setUp()
        self.names = [f"vm{number:02}" for number in range(12)]
        for name in self.names:
            self.run_verb("create", key=f"vms/{name}", size=SIZE, own="none")
            for block in range(120):
                self.objects[f"vms/{name}/{block:016x}"] = StoredObject(b"")

    def listed(self):
        """The names that the verb prints, and the requests that it takes."""
        before = self.requests()
        done = run_s3_command("list", *self.words(key="vms")[1:])
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.split(), self.requests() - before

    def test_one_request_lists_them_all(self):
        """One listing finds all volumes; each is looked at once."""
        names, requests = self.listed()
        self.assertEqual(names, self.names)
        self.assertEqual(requests, 1 + 1 + 12, "the look at the bucket, the listing, the looks")

    def test_in_any_order(self):
        self.s3.order = backwards
        self.assertEqual(self.listed()[0], self.names)

    def test_as_exports(self):
        with Nbdkit(*self.words(key="vms", volumes="true")) as server:
            before = self.requests()
            handle, names = nbd.NBD(), []
            handle.set_opt_mode(True)
            handle.connect_uri(server.uri())
            handle.opt_list(lambda name, _: names.append(name))
            handle.opt_abort()
            self.assertEqual(names, self.names)
            self.assertEqual(self.requests() - before, 1 + 12)


if __name__ == "__main__":
    unittest.main()
