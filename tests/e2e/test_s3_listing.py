"""Listings that lag, leave out and misspell: no block is taken for a hole by them, and no version for
that of its object."""

import os
import unittest

import nbd

from e2e.listing_case import OBJECT, RECORD, SIZE, ListingCase
from servers.memory_s3 import Conditions, StoredObject
from support import data
from support.nbdkit import Nbdkit, NbdkitError


class HiddenBlocks(ListingCase):
    def test_after_a_clean_stop(self):
        """After a clean stop, a listing that lags makes no block a hole."""
        self.check_hidden_blocks(self.write_volume())

    def test_the_log_says_what_is_not_shown(self):
        self.write_volume()
        self.hide(4, 5, 6, 7)
        with Nbdkit(*self.words()) as server:
            server.connect().pread(1, 0)
            server.disconnect()
            server.terminate()
            self.assertEqual(server.log().count("does not show 4 of 16 objects"), 1)

    def test_after_a_crash(self):
        """After a crash, no earlier record is believed."""
        self.write_volume()
        content = os.urandom(16 * OBJECT)
        self.write_and_crash(content)
        self.check_hidden_blocks(content)

    def test_after_a_crash_of_what_was_empty(self):
        """After a crash of a volume that was empty, what was written before the crash is found."""
        with self.served(size=SIZE, object_size="64K"):
            pass
        content = os.urandom(16 * OBJECT)
        self.write_and_crash(content)
        self.check_hidden_blocks(content)

    def test_without_a_lease(self):
        self.check_hidden_blocks(self.write_volume(own="none"), own="none")

    def test_of_a_server_without_a_lease_in_between(self):
        """What a server without a lease has written between two owners is found."""
        with self.served(size=SIZE, object_size="64K"):
            pass
        content = os.urandom(16 * OBJECT)
        with self.served(own="none") as handle:
            handle.pwrite(content, 0)
        self.check_hidden_blocks(content)

    def test_of_a_server_without_a_lease_at_the_same_time(self):
        """What a server without a lease has written beside the owner is found."""
        content = os.urandom(16 * OBJECT)
        with self.served(size=SIZE, object_size="64K"), self.served(own="none") as handle:
            handle.pwrite(content, 0)
        self.check_hidden_blocks(content)

    def test_of_s3backer(self):
        """The other layout, whose names another program writes."""
        parameters = {"layout": "s3backer", "size": SIZE, "object_size": "64K"}
        content = os.urandom(16 * OBJECT)
        with self.served(**parameters) as handle:
            handle.pwrite(content, 0)
        self.s3.listed = lambda objects: {
            k: v for k, v in objects.items() if k[-8:] not in ("00000004", "00000005")
        }
        with self.served(**parameters) as handle:
            self.assertEqual(handle.pread(16 * OBJECT, 0), content)
            handle.zero(OBJECT, 5 * OBJECT)
        self.assertNotIn("vm/00000005", self.objects)


class OldVersions(ListingCase):
    def test_an_old_etag_in_a_listing_is_no_error(self):
        """An old ETag in a listing fails no write, zero or trim."""
        self.write_volume()
        with self.s3.lock:
            old = dict(self.objects)
        with self.served() as handle:
            handle.pwrite(os.urandom(16 * OBJECT), 0)
        self.s3.listed = lambda objects: {k: old.get(k, v) for k, v in objects.items()}
        with Nbdkit(*self.words(), verbose=True) as server:
            handle = server.connect()
            data.wait_until(lambda: "objects are listed" in server.log(), 30, "the listing's end")
            content = os.urandom(2 * OBJECT)
            handle.pwrite(content, 0)
            handle.pwrite(b"x" * 512, 3 * OBJECT)
            handle.zero(OBJECT, 4 * OBJECT)
            handle.trim(2 * OBJECT, 5 * OBJECT)
            self.assertEqual(handle.pread(2 * OBJECT, 0), content)
            self.assertEqual(handle.pread(512, 3 * OBJECT), b"x" * 512)
            self.assertEqual(handle.pread(3 * OBJECT, 4 * OBJECT), bytes(3 * OBJECT))
            self.assertEqual(server.log().count("a listing has shown another ETag"), 1)


class HiddenBlocksWithoutConditions(ListingCase):
    conditions = Conditions.UNKNOWN

    def test_after_a_clean_stop(self):
        """With a plain token instead of a lease nothing is remembered, and every object is asked
        for."""
        self.check_hidden_blocks(self.write_volume())
        self.assertNotIn(RECORD, self.objects)


class OneVolumeOneKey(ListingCase):
    def test_slashes_name_nothing(self):
        """Slashes at the ends of a key name nothing: the volume, and its lease, are the same."""
        content = self.write_volume(key="vm")
        names = set(self.objects)
        for key in ("vm/", "/vm", "//vm//"):
            with self.subTest(key), self.served(key=key) as handle:
                self.assertEqual(handle.pread(16 * OBJECT, 0), content)
                with self.assertRaises(NbdkitError):
                    Nbdkit(*self.words(bucket=f"disk/{key.strip('/')}/", key=""))
        self.assertEqual(set(self.objects), names)

    def test_keys_that_lead_elsewhere_are_refused(self):
        for key in ("..", "vm/../x", "vm/.", "a\nb"):
            with self.subTest(key), self.assertRaisesRegex(NbdkitError, "key: '"):
                Nbdkit(*self.words(key=key, size=SIZE))
        self.assertEqual(self.objects, {})

    def test_a_volume_under_a_key_with_a_slash_opens_where_it_lies(self):
        """A volume that an earlier version made of key=vm/ opens where it lies."""
        content = self.write_volume(key="vm")
        for name in list(self.objects):
            self.objects[name.replace("vm/", "vm//")] = self.objects.pop(name)
        with self.served(key="vm/") as handle:
            self.assertEqual(handle.pread(16 * OBJECT, 0), content)
        self.assertTrue(all(name.startswith("vm//") for name in self.objects))


class ExportsOfABucket(ListingCase):
    def setUp(self):
        super().setUp()
        self.write_volume(key="vols/vm")
        self.objects["vols/passwords.txt"] = StoredObject(b"root:hunter2")
        self.objects["vols/dir/file"] = StoredObject(b"x" * 512)

    def refused(self, server, name):
        """Whether a client that asks for the export gets none."""
        try:
            server.connect(name)
        except nbd.Error:
            return True
        return False

    def test_only_volumes_are_served(self):
        """Only volumes are served by name, not any object below the key."""
        with Nbdkit(*self.words(key="vols", volumes="true")) as server:
            self.assertFalse(self.refused(server, "vm"))
            for name in ("passwords.txt", "dir", "dir/file", "vm/nbdstack-volume.json",
                         f"vm/{0:016x}", "..", ".", "", "vm/", "vm\n", "\x1b[31m"):  # fmt: skip
                self.assertTrue(self.refused(server, name), name)
            self.assertNotIn("\x1b", server.log())

    def test_blocks_are_no_disks_where_the_key_is_a_volume_itself(self):
        with Nbdkit(*self.words(key="vols/vm", volumes="true")) as server:
            for name in (f"{0:016x}", "nbdstack-volume.json", "nbdstack-lease.json"):
                self.assertTrue(self.refused(server, name), name)

    def test_any_object_is_served_to_who_asks_for_that(self):
        with Nbdkit(*self.words(key="vols", volumes="any")) as server:
            self.assertEqual(server.connect("passwords.txt").pread(4, 0), b"root")
            self.assertTrue(self.refused(server, ".."))

    def test_names_that_are_none_leave_nothing_behind(self):
        with Nbdkit(*self.words(key="vols", volumes="true")) as server:
            self.assertTrue(self.refused(server, "nobody"))

            def memory():
                with open(f"/proc/{server.pid}/status", encoding="ascii") as status:
                    lines = [line for line in status if line.startswith("VmRSS:")]
                return int(lines[0].split()[1])

            for number in range(50):
                self.refused(server, f"nobody{number}" + "x" * 200)
            before = memory()
            for number in range(500):
                self.refused(server, f"no{number}" + "x" * 200)
            self.assertLess(memory() - before, 4096)


if __name__ == "__main__":
    unittest.main()
