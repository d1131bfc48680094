"""What a volume remembers of its blocks from one server to the next, and when that is believed."""

import os
import unittest

import nbd

from e2e.listing_case import OBJECT, RECORD, SIZE, ListingCase, name_of
from servers.memory_s3 import StoredObject
from support.nbdkit import Nbdkit


class WhatIsRemembered(ListingCase):
    def test_an_empty_disk_costs_no_requests_in_its_second_life_either(self):
        """An empty disk costs no requests for holes after a restart."""
        with self.served(size=SIZE, object_size="64K"):
            pass
        with self.served_quietly() as handle:
            before = self.requests()
            handle.trim(SIZE, 0)
            self.assertEqual(handle.pread(SIZE, 0), bytes(SIZE))
            self.assertEqual(self.extents(handle), [(0, 64, 3)])
            self.assertEqual(self.requests(), before)

    def test_a_disk_that_was_created_by_the_command_costs_no_requests_either(self):
        """Nor does it after nbdstack-s3 create."""
        self.run_verb("create", size=SIZE, object_size="64K")
        self.assertIn(RECORD, self.objects)
        with self.served_quietly() as handle:
            before = self.requests()
            self.assertEqual(handle.pread(SIZE, 0), bytes(SIZE))
            self.assertEqual(self.extents(handle), [(0, 64, 3)])
            self.assertEqual(self.requests(), before)

    def test_the_record_of_the_creation_is_not_believed_after_a_crash(self):
        """The record of the creation is not believed after a crash of the first server."""
        self.run_verb("create", size=SIZE, object_size="64K")
        content = os.urandom(16 * OBJECT)
        self.write_and_crash(content)
        self.check_hidden_blocks(content)

    def test_verbs_that_take_the_lease_hand_the_record_on(self):
        """A resize or a check hands the record on."""
        self.write_volume()
        self.run_verb("check", "--renew")
        with self.served() as handle:
            self.assertEqual(self.extents(handle), [(0, 16, 0), (16, 48, 3)])
        self.run_verb("resize", size=SIZE + 8 * OBJECT)
        with self.served() as handle:
            self.assertEqual(self.extents(handle), [(0, 16, 0), (16, 48, 3), (64, 8, 0)])
        self.run_verb("resize", "--force", size=SIZE // 2)
        with self.served() as handle:
            self.assertEqual(self.extents(handle), [(0, 16, 0), (16, 16, 3)])

    def test_verbs_remove_what_a_listing_hides(self):
        """`delete` removes objects that a listing hides."""
        self.write_volume()
        self.hide(*range(12, 16))
        done = self.run_verb("resize", "--force", size=8 * OBJECT)
        self.assertIn("8 object(s) removed", done.stdout)
        self.show_all()
        self.hide(*range(4, 8))
        done = self.run_verb("delete", "--yes")
        self.assertIn("8 object(s)", done.stdout)
        self.assertIn("does not show 4 objects", done.stderr)
        self.assertNotIn("may be left", done.stderr)
        self.assertEqual(self.objects, {})

    def test_a_removal_without_a_record_says_what_may_be_left(self):
        self.write_volume()
        del self.objects[RECORD]
        self.assertIn("may be left", self.run_verb("delete", "--yes").stderr)

    def test_a_verb_after_a_crash_makes_nothing_believed(self):
        self.write_volume()
        content = os.urandom(16 * OBJECT)
        self.write_and_crash(content, 16 * OBJECT)
        self.run_verb("check", "--renew")
        with self.served() as handle:
            self.assertEqual(self.extents(handle), [(0, 64, 0)])
            self.assertEqual(handle.pread(16 * OBJECT, 16 * OBJECT), content)

    def test_it_costs_one_request_at_the_start_and_one_at_the_stop(self):
        with self.served(size=SIZE, object_size="64K"):
            pass
        counted = []
        for known in (True, False):
            if not known:  # the same with a record that is not there
                del self.objects[RECORD]
            before = self.requests()
            with self.served():
                pass
            counted.append(self.requests() - before)
        self.assertEqual(counted[0], counted[1])
        seen = [line for line in self.log.splitlines() if RECORD in line]
        self.assertLessEqual(len(seen), 4, seen)

    def test_who_only_reads_is_told_of_holes_until_somebody_writes(self):
        """A reader is told of holes until somebody writes."""
        for writer in ({}, {"own": "none"}):
            with self.subTest(writer):
                self.objects.clear()
                content = self.write_volume()
                with self.served(readonly="true") as handle:
                    self.assertEqual(self.extents(handle), [(0, 16, 0), (16, 48, 3)])
                    with Nbdkit(*self.words(**writer)) as other:
                        other.connect().pwrite(content, 32 * OBJECT)
                        self.assertEqual(self.extents(handle), [(0, 64, 0)])
                        self.assertEqual(handle.pread(16 * OBJECT, 32 * OBJECT), content)
                        other.disconnect()
                        other.terminate()
                    self.assertEqual(self.extents(handle), [(0, 64, 0)])

    def test_who_only_reads_believes_nothing_after_a_crash(self):
        content = self.write_volume()
        self.write_and_crash(content, 32 * OBJECT)
        with self.served(readonly="true") as handle:
            self.assertEqual(self.extents(handle), [(0, 64, 0)])
            self.assertEqual(handle.pread(16 * OBJECT, 32 * OBJECT), content)

    def test_a_damaged_record_is_not_believed(self):
        """A damaged record is not believed, and does not end the start."""
        content = self.write_volume()
        record = self.objects[RECORD].body
        for at in range(0, len(record), 29):
            damaged = record[:at] + bytes([record[at] ^ 4]) + record[at + 1 :]
            self.objects[RECORD] = StoredObject(damaged)
            with self.served(readonly="false") as handle:
                self.assertEqual(handle.pread(16 * OBJECT, 0), content)

    def test_the_record_of_a_deleted_volume_is_another_volumes(self):
        """The record of a deleted volume is not believed for a new one under the same key."""
        self.write_volume()
        record = self.objects[RECORD]
        self.objects.clear()
        self.objects[RECORD] = record
        content = self.write_volume()
        with self.served() as handle:
            self.assertEqual(handle.pread(16 * OBJECT, 0), content)

    def test_an_object_that_is_lost_is_an_error(self):
        """An object that the service has lost is an error, not zeros."""
        self.write_volume()
        del self.objects[name_of(3)]
        with self.served() as handle:
            with self.assertRaises(nbd.Error):
                handle.pread(OBJECT, 3 * OBJECT)
            with self.assertRaises(nbd.Error):
                handle.pwrite(b"x", 3 * OBJECT)
            handle.pread(OBJECT, 4 * OBJECT)
            handle.pwrite(bytes(OBJECT), 3 * OBJECT)
            self.assertEqual(handle.pread(OBJECT, 3 * OBJECT), bytes(OBJECT))
        self.assertIn(f"{name_of(3)} is missing", self.log)

    def test_trusted_listings_tell_of_holes(self):
        """With trusted listings, a volume without a record has holes."""
        self.write_volume()
        del self.objects[RECORD]
        for parameters in ({}, {"readonly": "true"}, {"own": "none"}):
            with self.subTest(parameters), self.served(trust_listing="true", **parameters) as handle:
                self.assertEqual(self.extents(handle), [(0, 16, 0), (16, 48, 3)])

    def test_trusted_listings_that_hide_the_descriptor_are_not_believed(self):
        content = self.write_volume()
        self.s3.listed = lambda objects: {}
        with self.served(trust_listing="true") as handle:
            self.assertEqual(handle.pread(16 * OBJECT, 0), content)
            self.assertEqual(self.extents(handle), [(0, 64, 0)])
        self.assertEqual(self.log.count("listings do not show vm/nbdstack-volume.json"), 1)


if __name__ == "__main__":
    unittest.main()
