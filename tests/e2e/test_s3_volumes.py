"""Several volumes of one bucket, each under an export name."""

import subprocess
import unittest

import nbd

from e2e.stores import LocalStore
from support.nbdkit import Nbdkit

SIZES = {"one": 1 << 20, "two": 2 << 20}


class Volumes(unittest.TestCase):
    def setUp(self):
        self.store = LocalStore()
        self.addCleanup(self.store.close)
        for name, size in SIZES.items():
            with Nbdkit(*self.store.volume(key=f"vm/{name}", size=size)) as server:
                server.connect().pwrite(name.encode() * 10, 0)

    def serve(self, **parameters):
        """A server of all volumes below vm/."""
        server = Nbdkit(*self.store.volume(key="vm", volumes="true", lease_time=5, **parameters))
        server.__enter__()
        self.addCleanup(server.stop)
        return server

    def connect(self, server, name):
        """A client of one of them."""
        return server.connect(name)

    def test_the_export_name_says_which(self):
        """The export name says which volume is served."""
        server = self.serve()
        handles = {name: self.connect(server, name) for name in SIZES}
        for name, handle in handles.items():
            self.assertEqual(handle.get_size(), SIZES[name])
            self.assertEqual(handle.pread(3, 0), name.encode())
            handle.pwrite(name.encode(), 500_000)
        self.assertEqual(handles["one"].pread(3, 500_000), b"one")

    def test_all_are_listed(self):
        """`nbdinfo --list` shows every volume, and each can be opened."""
        listed = subprocess.run(
            ["nbdinfo", "--list", self.serve().uri()], capture_output=True, text=True, check=True
        ).stdout
        for name, size in SIZES.items():
            self.assertIn(f'export="{name}"', listed)
            self.assertIn(f"export-size: {size}", listed)

    def test_unknown_names_are_refused_and_change_nothing(self):
        """An unknown name is refused, and creates nothing."""
        server = self.serve()
        before = self.store.keys()
        for name in ("", "three", "..", "../vm/one", "one/0"):
            with self.subTest(name), self.assertRaises(nbd.Error):
                self.connect(server, name)
        self.assertEqual(self.store.keys(), before)

    def test_a_volume_has_one_writer_still(self):
        """A volume that was opened late has one writer, and its lease is given back at the end."""
        server = self.serve()
        self.connect(server, "one").pread(1, 0)
        beside = self.serve(readonly="true")
        self.assertEqual(self.connect(beside, "one").pread(3, 0), b"one")
        other = self.serve()
        with self.assertRaises(nbd.Error):
            self.connect(other, "one")
        self.assertEqual(self.connect(other, "two").pread(3, 0), b"two")
        server.terminate()
        self.assertEqual(self.connect(other, "one").pread(3, 0), b"one")


if __name__ == "__main__":
    unittest.main()
