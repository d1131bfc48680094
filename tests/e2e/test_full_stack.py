"""A file system and a sparse copy over the full stack on a real S3 server: what they cost in
requests with zeroblock and without, all other layers being the same, and that the objects are
right."""

import hashlib
import os
import pathlib
import tempfile
import unittest

from e2e.mounted_disk import BlockDevice, mounted, require_root_and_tools, run
from e2e.stores import GatewayStore, gateway
from support import data
from support.counted_requests import CountingProxy
from support.nbdkit import Nbdkit

KIB, MIB = 1 << 10, 1 << 20
SIZE, OBJECT = 64 * MIB, 256 * KIB
FULL = ("readahead", "cache", "cacheextents", "zeroblock", "md5")
LESS = tuple(layer for layer in FULL if layer != "zeroblock")
OBJECTS = SIZE // OBJECT
MOST_LISTS = 6  # two at the start, one by the plugin and one by zeroblock to learn what there is

# Of the image: data (offset, count) at both ends, on and off the objects' bounds; zeros that are
# written, as whole objects; everything else is a hole.
PIECES = [(0, 4 * KIB), (5 * MIB + 20 * KIB, 3 * OBJECT), (20 * MIB, 4 * MIB), (SIZE - 4096, 4096)]
ZEROS = (40 * MIB, 8 * MIB)


def objects_of(*ranges):
    """The numbers of the objects that lie in some of these ranges."""
    return {
        number
        for offset, count in ranges
        for number in range(offset // OBJECT, (offset + count - 1) // OBJECT + 1)
    }


def make_image(path):
    """PIECES, ZEROS and holes."""
    with open(path, "wb") as image:
        image.truncate(SIZE)
        for number, (offset, count) in enumerate(PIECES, 1):
            os.pwrite(image.fileno(), data.tagged(number, offset, count), offset)
        os.pwrite(image.fileno(), bytes(ZEROS[1]), ZEROS[0])


def write_files(directory):
    """Files of many sizes, some of zeros, some removed again; the digests of those that stay."""
    for number in range(60):
        count = 1 + number * number * 251
        file = directory / f"file{number}"
        file.write_bytes(bytes(count) if number % 5 == 0 else data.random_bytes(number, count))
    run("sync", "-f", directory)
    for number in range(0, 60, 3):
        (directory / f"file{number}").unlink()
    return digests(directory)


def digests(directory):
    """Name -> SHA-256."""
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in directory.iterdir()
        if file.is_file()
    }


class FullStackCase(unittest.TestCase):
    """Stacks over volumes in Ceph's gateway, behind a proxy that counts."""

    def setUp(self):
        require_root_and_tools()
        directory = tempfile.TemporaryDirectory(prefix="full-stack-")
        self.addCleanup(directory.cleanup)
        self.scratch = pathlib.Path(directory.name)

    def new_volume(self):
        """A bucket of its own."""
        store = GatewayStore(gateway())
        self.addCleanup(store.close)
        return store

    def count(self, store, layers, owner, work):
        """Does work(server, proxy) on a server of these layers; the proxy, which has counted from
        its start to its end. A client stays all the time, so that nothing is written back because
        the last one has left."""
        filters = [f"--filter={layer}" for layer in layers]
        with CountingProxy(gateway().endpoint) as proxy:
            volume = store.volume(
                endpoint_url=proxy.endpoint, own=owner, object_size=OBJECT, size=SIZE,
                # Who has no lease knows what is not there by listings alone, if they are trusted.
                trust_listing="true" if owner == "none" else "false",
            )  # fmt: skip
            with Nbdkit(*filters, *volume, verbose=True) as server:
                handle = server.connect()
                if "zeroblock" in layers:
                    data.wait_until(lambda: "the scan is complete" in server.log(), 30, "the scan")
                work(server, proxy)
                handle.flush()
                self.assertEqual(server.terminate(), 0, server.log())
                self.assertNotIn("LOST", server.log())
            return proxy


class FileSystem(FullStackCase):
    def make_file_system(self, server, proxy):
        """An ext4 with files in it."""
        with BlockDevice(server) as disk:
            run("mkfs.ext4", "-q", "-F", disk.device)
            self.of_mkfs = proxy.kinds()
            with mounted(disk.device) as directory:
                self.expected = write_files(directory)
            run("fsck.ext4", "-f", "-n", disk.device)

    def check_files(self, store):
        """The plugin alone serves a clean file system and what was put there."""
        with Nbdkit(*store.volume()) as server, BlockDevice(server) as disk:
            run("fsck.ext4", "-f", "-n", disk.device)
            with mounted(disk.device) as directory:
                self.assertEqual(digests(directory), self.expected)

    def work_on_a_new_volume(self, layers, owner):
        """What all of it needs, and mkfs alone."""
        store = self.new_volume()
        proxy = self.count(store, layers, owner, self.make_file_system)
        self.check_files(store)
        return proxy, self.of_mkfs

    def test_no_zeros_are_stored_and_nothing_is_looked_for_that_is_not_there(self):
        for owner in ("auto", "none"):
            with self.subTest(own=owner):
                full, mkfs = self.work_on_a_new_volume(FULL, owner)
                less, mkfs_less = self.work_on_a_new_volume(LESS, owner)
                self.assertEqual(full.stored_zeros(), [])
                self.assertGreater(len(less.stored_zeros()), 0)
                self.assertEqual(full.misses(), 0)
                self.assertLess(len(set(full.paths("PUT"))), len(set(less.paths("PUT"))))
                self.assertLessEqual(mkfs["PUT"], mkfs_less["PUT"])
                # Of 256 objects: no request for each of them.
                self.assertLess(mkfs.total(), OBJECTS // 4)
                self.assertLessEqual(full.kinds()["LIST"], MOST_LISTS)
                if owner == "none":  # the plugin does not know what is there either
                    self.assertGreater(less.misses(), 0)
                    self.assertLess(full.kinds().total(), less.kinds().total())


class SparseCopy(FullStackCase):
    WITH_DATA, OF_ZEROS = objects_of(*PIECES), objects_of(ZEROS)

    def setUp(self):
        super().setUp()
        self.image = self.scratch / "image"
        make_image(self.image)

    def copy_in(self, server, _):
        """The image, with its zeros as data."""
        run("nbdcopy", "--flush", "--sparse=0", self.image, server.uri())

    def copy_out(self, server, _=None):
        """What is served is the image."""
        copied = self.scratch / "copied"
        run("nbdcopy", server.uri(), copied)
        run("cmp", self.image, copied)
        copied.unlink()

    def objects_in(self, paths):
        """The numbers of the objects at these paths, in order."""
        return sorted(int(path[-16:], 16) for path in paths)

    def there_and_back(self, layers, owner):
        """Through one server, read by the plugin alone, and through a server that has nothing in
        its cache: the objects put and the proxy of the way back."""
        store = self.new_volume()
        proxy = self.count(store, layers, owner, self.copy_in)
        with Nbdkit(*store.volume()) as server:
            self.copy_out(server)
        self.assertEqual(proxy.kinds()["GET"], 0)
        self.assertEqual(self.objects_in(proxy.stored_zeros()), self.zeros_over(layers))
        return self.objects_in(proxy.paths("PUT")), self.count(store, layers, owner, self.copy_out)

    def zeros_over(self, layers):
        """The objects of zeros that these layers store."""
        return [] if "zeroblock" in layers else sorted(self.OF_ZEROS)

    def test_objects_that_have_data_are_stored_and_fetched_and_no_others(self):
        for owner in ("auto", "none"):
            with self.subTest(own=owner):
                put, way_back = self.there_and_back(FULL, owner)
                self.assertEqual(put, sorted(self.WITH_DATA))
                self.assertEqual(set(self.objects_in(way_back.paths("GET"))), self.WITH_DATA)
                # Parts of one object may be asked for one by one.
                self.assertLess(way_back.kinds()["GET"], 2 * len(self.WITH_DATA))
                self.assertLessEqual(way_back.kinds()["LIST"], MOST_LISTS)
                put, way_back_less = self.there_and_back(LESS, owner)
                self.assertEqual(put, sorted(self.WITH_DATA | self.OF_ZEROS))
                self.assertLess(way_back.kinds()["GET"], way_back_less.kinds()["GET"])


if __name__ == "__main__":
    unittest.main()
