"""Objects changed behind the server's back: an error that names the object, never wrong data."""

import unittest

import nbd

from e2e.stores import GatewayStore, LocalStore, gateway
from support import data
from support.nbdkit import Nbdkit

KIB, MIB = 1 << 10, 1 << 20
SIZE, OBJECT = 1 * MIB, 64 * KIB
STACK = ("--filter=cache", "--filter=md5")
CONTENT = data.tagged(1, 0, SIZE)


class Tampering:
    """Mixed into a TestCase that makes a store."""

    def setUp(self):
        self.store = self.make_store()
        self.addCleanup(self.store.close)
        with Nbdkit(*self.store.volume(size=SIZE, object_size=OBJECT)) as server:
            handle = server.connect()
            handle.pwrite(CONTENT, 0)
            handle.flush()
        self.keys = self.store.block_keys()
        self.assertEqual(len(self.keys), SIZE // OBJECT)

    def serve(self, *filters):
        """A new server over what is there."""
        server = Nbdkit(*filters, *self.store.volume(retries=1, own="none"))
        self.addCleanup(server.stop)
        return server

    def check_refused(self, number, *filters):
        """Reading all of object `number` is EIO with its name in the log; its neighbours are fine.
        A write of a part, which has to read the rest, must not give the object a checksum anew."""
        with self.subTest(filters=filters):
            server = self.serve(*filters)
            handle, offset = server.connect(), number * OBJECT
            with self.assertRaisesRegex(nbd.Error, "EIO"):
                handle.pread(OBJECT, offset)
            self.assertIn(self.keys[number], server.log())
            self.assertEqual(handle.pread(offset, 0), CONTENT[:offset])
            with self.assertRaisesRegex(nbd.Error, "EIO"):
                handle.pwrite(b"part", offset + 100)
                handle.flush()
            with self.assertRaisesRegex(nbd.Error, "EIO"):
                handle.pread(SIZE, 0)

    def check_cured(self, number):
        """A write of all of it makes the object whole again."""
        handle = self.serve(*STACK).connect()
        handle.pwrite(CONTENT[number * OBJECT : (number + 1) * OBJECT], number * OBJECT)
        handle.flush()
        self.assertEqual(self.serve().connect().pread(SIZE, 0), CONTENT)

    def test_corrupted_object(self):
        """A flipped bit in an object is an error, in the plugin and through the filters."""
        for index in (0, OBJECT // 2, OBJECT - 1):
            self.store.corrupt(self.keys[3], index)
            for filters in ((), STACK):
                self.check_refused(3, *filters)
            self.store.corrupt(self.keys[3], index)  # as it was
        self.store.corrupt(self.keys[3], 0)
        self.check_cured(3)

    def test_truncated_object(self):
        """A truncated object is an error."""
        whole = self.store.body(self.keys[5])
        for size in (0, 1, OBJECT // 2, OBJECT - 1):
            self.store.replace(self.keys[5], whole)
            self.store.truncate(self.keys[5], size)
            for filters in ((), STACK):
                self.check_refused(5, *filters)
        self.check_cured(5)

    def test_object_that_is_too_long(self):
        """An object that is too long is an error."""
        self.store.replace(self.keys[2], self.store.body(self.keys[2]) + b"more")
        for filters in ((), STACK):
            self.check_refused(2, *filters)

    def test_range_beyond_a_truncated_object(self):
        """A part beyond the end of a truncated object is an error."""
        self.store.truncate(self.keys[5], 1000)
        handle = self.serve().connect()
        with self.assertRaisesRegex(nbd.Error, "EIO"):
            handle.pread(100, 5 * OBJECT + 950)
        with self.assertRaisesRegex(nbd.Error, "EIO"):
            handle.pread(10, 5 * OBJECT + 2000)


class LocalTampering(Tampering, unittest.TestCase):
    make_store = LocalStore

    def test_trailer_of_an_object(self):
        """A file whose trailer is damaged is an error."""
        whole = self.store.body(self.keys[4])
        for index in range(OBJECT, len(whole)):
            self.store.corrupt(self.keys[4], index)
            server = self.serve()
            with self.assertRaisesRegex(nbd.Error, "EIO"):
                server.connect().pread(OBJECT, 4 * OBJECT)
            self.assertIn(self.keys[4], server.log())
            server.stop()
            self.store.replace(self.keys[4], whole)


class GatewayTampering(Tampering, unittest.TestCase):
    @staticmethod
    def make_store():
        return GatewayStore(gateway())


if __name__ == "__main__":
    unittest.main()
