"""Debian's s3backer and ours open what the other has written, in every way that both know, and make
the same objects of the same data."""

import unittest

from e2e.s3backer_case import BLOCK, SIZE, WAYS, S3backerCase
from support.data import random_bytes


class Interchange(S3backerCase):
    """Both directions, in every way that both know."""

    def change_by_ours(self, handle, seed):
        """Over what s3backer has written: parts and wholes, zeros, trims."""
        self.write(handle, random_bytes(seed, 1000), 6 * BLOCK + 3500)
        self.write(handle, b"z" * BLOCK, 66 * BLOCK)
        self.write(handle, random_bytes(seed + 1, 5 * BLOCK + 99), 100 * BLOCK - 50)
        handle.zero(3 * BLOCK + 10, 64 * BLOCK + 100)
        self.expected[64 * BLOCK + 100 : 67 * BLOCK + 110] = bytes(3 * BLOCK + 10)
        handle.trim(2 * BLOCK, 76 * BLOCK)
        self.expected[76 * BLOCK : 78 * BLOCK] = bytes(2 * BLOCK)
        self.write(handle, bytes(BLOCK), 5 * BLOCK)
        handle.flush()

    def change_by_theirs(self, disk, seed):
        """Over what ours has written."""
        self.write(disk, random_bytes(seed, 3000), 99 * BLOCK + 2000)
        self.write(disk, bytes(2 * BLOCK), 101 * BLOCK)
        self.write(disk, random_bytes(seed + 1, BLOCK), 200 * BLOCK)
        self.write(disk, b"block 0 again", 10)
        disk.fsync()

    def there_and_back(self, name):
        """s3backer, ours, s3backer, ours."""
        self.way = WAYS[name]
        with self.theirs(size=SIZE) as disk:
            self.write_first(disk, 1)
        with self.ours() as server:
            handle = server.connect()
            self.assertEqual(handle.get_size(), SIZE)
            self.expect_all(handle)
            self.expect_extents(handle)
            self.change_by_ours(handle, 10)
            self.expect_all(handle)
            self.expect_extents(handle)
            self.assertEqual(server.terminate(), 0, server.log())
        self.assertNotIn(66, self.stored_blocks())
        self.assertNotIn(5, self.stored_blocks())
        with self.theirs() as disk:
            self.assertEqual(disk.size, SIZE)
            self.expect_all(disk)
            self.change_by_theirs(disk, 20)
        with self.ours() as server:
            self.expect_all(server.connect())
            self.expect_extents(server.connect())
        with self.ours(readonly="true") as server:
            self.expect_all(server.connect())

    def from_new(self, name):
        """Created by ours and read by s3backer; then what both make of the same data, byte for
        byte. It has to be one bucket: its name is part of the key."""
        self.way = WAYS[name]
        with self.ours(layout="s3backer", size=SIZE, object_size=BLOCK) as server:
            self.write_first(server.connect(), 3)
            self.assertEqual(server.terminate(), 0, server.log())
        of_ours = self.objects()
        with self.theirs() as disk:
            self.assertEqual(disk.size, SIZE)
            self.expect_all(disk)
        for key in self.store.keys():
            self.store.client.delete(self.store.bucket, key)
        with self.theirs(size=SIZE) as disk:
            self.write_first(disk, 3)
        of_theirs = self.objects()
        self.assertEqual(sorted(of_ours), sorted(of_theirs))
        for key, (headers, body) in of_theirs.items():
            self.assertEqual(of_ours[key][0], headers, key)
            self.assertEqual(of_ours[key][1], body, key)


def _case(name, method):
    return lambda self: getattr(self, method)(name)


for _name in WAYS:
    for _method in ("there_and_back", "from_new"):
        _test = f"test_{_name.replace('-', '_')}_{_method}"
        setattr(Interchange, _test, _case(_name, _method))


if __name__ == "__main__":
    unittest.main()
