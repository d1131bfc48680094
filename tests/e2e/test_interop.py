"""One volume, two programs: nbdkit's own S3 plugin and ours open what the other has written."""

import unittest

from e2e.stores import GatewayStore, gateway
from support.data import random_bytes
from support.nbdkit import Nbdkit, run_expecting_failure, system_nbdkit

# nbdkit 1.32's plugin cannot serve larger objects.
OBJECT_SIZE = 64 << 10
SIZE = 20 * OBJECT_SIZE
KEY = "volumes/one"


class NbdkitS3Interop(unittest.TestCase):
    """Both over one bucket of a real S3 server."""

    def setUp(self):
        self.store = GatewayStore(gateway())
        self.addCleanup(self.store.close)
        self.expected = bytearray(SIZE)

    def theirs(self, **geometry):
        """nbdkit's plugin on the volume, as its manual says."""
        parameters = (geometry or {"size": SIZE, "object-size": OBJECT_SIZE}) | {
            "bucket": self.store.bucket,
            "key": KEY,
            "endpoint-url": self.store.endpoint,
            "access-key": self.store.server.access_key,
            "secret-key": self.store.server.secret_key,
        }
        words = [f"{name}={value}" for name, value in parameters.items() if value is not None]
        return Nbdkit("S3", *words, binary=system_nbdkit(), environment={"AWS_REGION": "us-east-1"})

    def ours(self, **parameters):
        """Our plugin on the same volume."""
        return Nbdkit(*self.store.volume(key=KEY, **parameters))

    def write(self, handle, data, offset):
        """Writes, and remembers it."""
        handle.pwrite(data, offset)
        self.expected[offset : offset + len(data)] = data

    def write_some(self, handle, seed):
        """Whole objects, which is all that nbdkit's plugin takes."""
        self.write(handle, random_bytes(seed, OBJECT_SIZE), 3 * OBJECT_SIZE)
        self.write(handle, random_bytes(seed + 1, 3 * OBJECT_SIZE), 12 * OBJECT_SIZE)
        handle.flush()

    def write_parts(self, handle, seed):
        """Parts of objects, of theirs and of none; and zeros over the middle of some."""
        self.write(handle, random_bytes(seed, 1000), 3 * OBJECT_SIZE + 333)
        self.write(handle, random_bytes(seed + 1, 2 * OBJECT_SIZE), 14 * OBJECT_SIZE + 5000)
        handle.zero(4 * OBJECT_SIZE, 9 * OBJECT_SIZE + 100)
        self.expected[9 * OBJECT_SIZE + 100 : 13 * OBJECT_SIZE + 100] = bytes(4 * OBJECT_SIZE)
        handle.flush()

    def expect_all(self, server):
        """The whole disk as it was written."""
        self.assertEqual(server.connect().pread(SIZE, 0), self.expected)

    def test_theirs_then_ours_then_theirs(self):
        """A volume of nbdkit's plugin is read and changed by ours, and then read by theirs."""
        with self.theirs() as server:
            self.write_some(server.connect(), 10)
        with self.ours(size=SIZE, object_size=OBJECT_SIZE) as server:
            self.expect_all(server)
            self.write_parts(server.connect(), 20)
        with self.theirs() as server:
            self.expect_all(server)
        self.assertNotIn(f"{KEY}/nbdstack-volume.json", self.store.keys())

    def test_ours_then_theirs_then_ours(self):
        """A volume of ours is read and changed by nbdkit's plugin, and then read by ours."""
        with self.ours(size=SIZE, object_size=OBJECT_SIZE) as server:
            self.write_some(server.connect(), 30)
            self.write_parts(server.connect(), 35)
        with self.theirs() as server:
            self.expect_all(server)
            self.write_some(server.connect(), 40)
        # As the manual says: the record does not know of theirs.
        self.store.client.delete(self.store.bucket, f"{KEY}/nbdstack-blocks")
        with self.ours() as server:
            self.expect_all(server)

    def test_the_same_data_are_the_same_objects(self):
        """The same data are objects of the same names and bodies."""
        with self.theirs() as server:
            self.write_some(server.connect(), 50)
        by_theirs = {key: self.store.body(key) for key in self.store.keys()}
        for key in by_theirs:
            self.store.client.delete(self.store.bucket, key)
        with self.ours(size=SIZE, object_size=OBJECT_SIZE) as server:
            self.write_some(server.connect(), 50)
        by_ours = {key: self.store.body(key) for key in self.store.block_keys()}
        self.assertEqual(sorted(by_ours), sorted(by_theirs))
        self.assertEqual(by_ours, by_theirs)

    def test_what_theirs_could_not_read_is_refused(self):
        """On a volume of theirs nothing is compressed or encrypted, nor is its size guessed."""
        with self.theirs() as server:
            self.write_some(server.connect(), 60)
        before = self.store.keys()
        geometry = {"size": SIZE, "object_size": OBJECT_SIZE}
        for parameters, name in (
            (geometry | {"compress": "zstd"}, "compress="),
            (geometry | {"encrypt": "aes-256-gcm", "passphrase": "secret"}, "encrypt="),
            ({"object_size": OBJECT_SIZE}, "size="),
            ({"size": SIZE}, "object-size="),
            ({"size": SIZE, "object_size": 2 * OBJECT_SIZE}, "object-size="),
        ):
            with self.subTest(**parameters):
                words = self.store.volume(key=KEY, **parameters)
                self.assertIn(name, run_expecting_failure(*words)[1])
        self.assertEqual(self.store.keys(), before)

    def test_one_writer_of_ours_on_a_volume_of_theirs(self):
        """The lease is taken there too, and its object does not disturb theirs."""
        with self.theirs() as server:
            self.write_some(server.connect(), 70)
        geometry = {"size": SIZE, "object_size": OBJECT_SIZE}
        with self.ours(lease_time="5s", **geometry) as server:
            words = self.store.volume(key=KEY, lease_time="5s", **geometry)
            self.assertIn(f"pid {server.pid}", run_expecting_failure(*words)[1])
            self.write_parts(server.connect(), 75)
            self.assertEqual(server.terminate(), 0, server.log())
        with self.theirs() as server:
            self.expect_all(server)

    def test_one_object_as_a_disk(self):
        """Without an object size the key is one object, which both only read."""
        self.expected = random_bytes(80, SIZE)
        self.store.client.put(self.store.bucket, KEY, self.expected)
        for server in (self.theirs(size=None), self.ours()):
            with server:
                handle = server.connect()
                self.assertTrue(handle.is_read_only())
                self.assertEqual(handle.get_size(), SIZE)
                self.expect_all(server)
        self.assertEqual(self.store.keys(), [KEY])


if __name__ == "__main__":
    unittest.main()
