"""nbdkit -r over the s3 plugin: who only reads takes nothing, changes nothing, and serves beside a
writer; what it has cached is not taken for the disk's content later."""

import pathlib
import tempfile
import time
import unittest

import nbd

from e2e.leases import lease_record
from e2e.stores import LocalStore
from e2e.test_one_writer_terms import told
from support.data import random_bytes
from support.nbdkit import Nbdkit, run_expecting_failure

SIZE = 4 << 20
BLOCK = 64 << 10
AT_ONCE_S = 20  # far below the 35 s that a lease is waited for


class ReadonlyServer(unittest.TestCase):
    """Over a volume in a directory, with the default lease-time of 30 s."""

    def setUp(self):
        self.store = LocalStore()
        self.addCleanup(self.store.close)
        scratch = tempfile.TemporaryDirectory(prefix="cache-test-", dir="/var/tmp")
        self.addCleanup(scratch.cleanup)
        self.directory = pathlib.Path(scratch.name, "cache")

    def serve(self, *words, **parameters):
        """A server of the volume, until the test ends."""
        server = Nbdkit(*words, *self.store.volume(**({"size": SIZE} | parameters)))
        self.addCleanup(server.stop)
        return server

    def cached(self, *words):
        """The same behind a cache in a directory that survives."""
        return self.serve(
            *words, "--filter=cache", cache_dir=self.directory, cache_on_read="true"
        )  # fmt: skip

    def live(self, content, offset=0):
        """A life of a writer."""
        server = self.serve()
        server.connect().pwrite(content, offset)
        self.stop(server)

    def stop(self, server):
        """An orderly end."""
        self.assertEqual(server.terminate(), 0, server.log())

    def test_beside_a_writer(self):
        """It sees what is written, and neither takes the lease nor leaves anything."""
        writer = self.serve()
        handle = writer.connect()
        handle.pwrite(random_bytes(1, SIZE), 0)
        before, keys = lease_record(self.store), self.store.keys()
        for options in (["-r"], ["--readonly"], ["-fr"]):
            reader = self.serve(*options)
            reading = reader.connect()
            self.assertTrue(reading.is_read_only())
            self.assertEqual(reading.pread(SIZE, 0), random_bytes(1, SIZE))
            handle.pwrite(b"y" * BLOCK, 0)
            self.assertEqual(reading.pread(BLOCK, 0), b"y" * BLOCK)
            handle.pwrite(random_bytes(1, BLOCK), 0)
            self.assertRaises(nbd.Error, reading.pwrite, b"x" * 512, 0)
            term = lease_record(self.store)["term"]
            identity = told(reader)
            self.assertEqual(
                (identity["right"], identity["term"], identity["since"]), ("none", term, term)
            )
            self.stop(reader)
            self.assertEqual(reader.log(), "")
        self.assertEqual(self.store.keys(), keys)
        self.assertEqual(lease_record(self.store)["owner"], before["owner"])
        self.stop(writer)

    def test_before_a_writer(self):
        """Who comes to write does not wait for readers."""
        self.live(b"x" * 512)
        reader = self.serve("-r")
        start = time.monotonic()
        writer = self.serve()
        self.assertLess(time.monotonic() - start, AT_ONCE_S)
        writer.connect().pwrite(b"y" * 512, 0)
        self.assertEqual(reader.connect().pread(512, 0), b"y" * 512)
        self.stop(reader)
        writer.connect().pwrite(b"z" * 512, 0)
        self.stop(writer)

    def test_it_creates_nothing(self):
        """A volume that is not there is refused, and so is the wish to own it."""
        said = run_expecting_failure("-r", *self.store.volume(size=SIZE))[1]
        self.assertIn("there is no directory", said)
        self.assertEqual(list(self.store.directory.iterdir()), [])
        self.live(b"x" * 512)
        keys = self.store.keys()
        said = run_expecting_failure("-r", *self.store.volume(size=SIZE, key="another"))[1]
        self.assertIn("there is no volume", said)
        self.assertIn("nbdkit -r", said)
        self.assertEqual(self.store.keys(), keys)
        record = lease_record(self.store)
        said = run_expecting_failure("-r", *self.store.volume(size=SIZE, own="force"))[1]
        self.assertIn("own=force", said)
        self.assertEqual(lease_record(self.store), record)

    def test_one_of_many_volumes(self):
        """Which is opened when its client comes."""
        server = self.serve(key="all/one")
        self.stop(server)
        record = lease_record(self.store, "all/one")
        reader = self.serve("-r", key="all", size=None, volumes="true")
        self.assertEqual(reader.connect("one").pread(512, 0), bytes(512))
        self.stop(reader)
        self.assertEqual(lease_record(self.store, "all/one"), record)

    def test_what_it_cached_is_not_the_disks_content_later(self):
        """Neither for the next reader nor for the next writer."""
        self.live(b"a" * BLOCK)
        reader = self.cached("-r")
        self.assertEqual(reader.connect().pread(BLOCK, 0), b"a" * BLOCK)
        self.live(b"b" * BLOCK)
        self.stop(reader)
        reader = self.cached("-r")
        self.assertEqual(reader.connect().pread(BLOCK, 0), b"b" * BLOCK)
        # Beside a writer, in whose term it was told that it is.
        writer = self.serve()
        self.stop(reader)
        reader = self.cached("-r")
        self.assertEqual(reader.connect().pread(BLOCK, 0), b"b" * BLOCK)
        writer.connect().pwrite(b"c" * BLOCK, 0)
        self.stop(reader)
        self.stop(writer)
        for options in (["-r"], []):
            server = self.cached(*options)
            self.assertEqual(server.connect().pread(BLOCK, 0), b"c" * BLOCK)
            self.stop(server)


if __name__ == "__main__":
    unittest.main()
