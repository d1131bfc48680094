"""What the log tells of a fault that every request meets: its beginning and its end, not each
request."""

import time
import unittest

import nbd

from e2e.stores import LocalStore
from support.nbdkit import Nbdkit

BLOCK, SIZE = 1 << 16, 1 << 26


def count_failures(handle, seconds, seed=0):
    """How many of the writes fail that are made in so many seconds."""
    failures, number, end = 0, seed, time.monotonic() + seconds
    while time.monotonic() < end:
        number += 1
        try:
            handle.pwrite(b"%16d" % number * (BLOCK // 16), number * BLOCK % SIZE)
        except nbd.Error:
            failures += 1
    return failures


class Faults(unittest.TestCase):
    def test_a_lost_lease_is_not_told_for_each_request(self):
        """The cache is full of what can no longer be written back, and clients go on writing."""
        store = LocalStore()
        self.addCleanup(store.close)
        filters = ("--filter=cache", "--filter=md5")
        with Nbdkit(*filters, *store.volume(size=SIZE, object_size=BLOCK), "cache-max-size=4M") as server:
            handle = server.connect()
            self.assertEqual(count_failures(handle, 0.5), 0)
            with Nbdkit(*store.volume(own="force")) as other:
                other.connect().shutdown()
            failures = count_failures(handle, 3)
            handle.shutdown()
            server.terminate()
            errors = server.errors()
        self.assertGreater(failures, 50)
        self.assertLess(len(errors), 10, "\n".join(errors))
        self.assertRegex("\n".join(errors), r"error: of the writes, \d{2,} failed within")

    def test_a_damaged_object_is_told_once_and_each_by_itself(self):
        """A reader that comes back to what cannot be read adds no line; another object does."""
        store = LocalStore()
        self.addCleanup(store.close)
        volume = {"size": SIZE, "object_size": BLOCK, "compress": "zstd"}
        with Nbdkit(*store.volume(**volume)) as server:
            handle = server.connect()
            for number in range(4):
                handle.pwrite(b"%16d" % number * (BLOCK // 16), number * BLOCK)
            handle.shutdown()
            server.terminate()
        blocks = sorted(key for key in store.keys() if "nbdstack" not in key)[:4]
        self.assertEqual(len(blocks), 4, store.keys())
        for key in blocks[:2]:
            store.replace(key, store.body(key)[:-1])
        with Nbdkit(*store.volume()) as server:
            handle = server.connect()
            for number in (0, 1, 2, 3) * 5:
                try:
                    handle.pread(BLOCK, number * BLOCK)
                except nbd.Error:
                    self.assertLess(number, 2)
            handle.shutdown()
            errors = server.errors()
        named = [key for line in errors for key in blocks if key in line]
        self.assertEqual(sorted(named), blocks[:2], errors)


if __name__ == "__main__":
    unittest.main()
