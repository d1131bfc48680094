"""Sparse images copied in and out with the programs that people use: nbdcopy and qemu-img."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

from e2e.stores import GatewayStore, LocalStore, gateway
from support import data
from support.nbdkit import Nbdkit

MIB = 1 << 20
SIZE = 1024 * MIB
OBJECT = 256 << 10

# Pieces of data (offset, count), holes between them: at both ends of the image, on and off the
# objects' boundaries, smaller and larger than an object. Every piece is of whole 4 KiB blocks.
PIECES = [
    (0, 4096),
    (64 * MIB + 20480, 12288),
    (100 * MIB, OBJECT),
    (300 * MIB - 8192, 16384),
    (512 * MIB, 20 * MIB),
    (700 * MIB + OBJECT // 2, 3 * OBJECT),
    (SIZE - 65536, 65536),
]


def touched_objects():
    """The numbers of the objects that hold some of PIECES."""
    return {
        number
        for offset, count in PIECES
        for number in range(offset // OBJECT, (offset + count - 1) // OBJECT + 1)
    }


def make_image(path):
    """A file of SIZE bytes with PIECES in it and holes elsewhere."""
    with open(path, "wb") as image:
        image.truncate(SIZE)
        for number, (offset, count) in enumerate(PIECES):
            image.seek(offset)
            image.write(data.tagged(number + 1, offset, count))


def run(*command):
    """A program that must succeed; its standard output."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{words} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
    return done.stdout


def copy_with_nbdcopy(source, target):
    """nbdcopy takes files and URIs alike. Its default on a new file is sparse already."""
    if not str(target).startswith("nbd"):
        pathlib.Path(target).touch()
        os.truncate(target, SIZE)
    run("nbdcopy", "--destination-is-zero", source, target)


def copy_with_qemu_img(source, target):
    """-n: the target is there and is not to be created. A file must be, for -n."""
    new = [] if not str(target).startswith("nbd") else ["-n", "--target-is-zero"]
    run("qemu-img", "convert", "-f", "raw", "-O", "raw", *new, source, target)


class Copies:
    """Mixed into a TestCase that sets `store`."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="copies-")
        self.addCleanup(scratch.cleanup)
        self.scratch = pathlib.Path(scratch.name)
        self.store = self.make_store()
        self.addCleanup(self.store.close)

    def serve(self, *filters, **parameters):
        """A server of the stack, or of the filters given; stopped at the end of the test."""
        filters = filters or ("--filter=cache", "--filter=md5")
        server = Nbdkit(*filters, *self.store.volume(**parameters))
        self.addCleanup(server.stop)
        return server

    def check_round_trip(self, copy):
        """In through one server, out through another one whose cache is cold."""
        image, copied = self.scratch / "image", self.scratch / "copied"
        make_image(image)
        server = self.serve(size=SIZE, object_size=OBJECT)
        copy(image, server.uri())
        self.assertEqual(server.terminate(), 0)
        self.check_holes_in_store()
        server = self.serve()
        self.check_map(server)
        copy(server.uri(), copied)
        run("cmp", image, copied)
        self.assertLess(copied.stat().st_blocks * 512, 2 * image.stat().st_blocks * 512)

    def check_holes_in_store(self):
        """Only objects that some data lie in are stored."""
        numbers = {int(key[-16:], 16) for key in self.store.block_keys()}
        self.assertEqual(numbers, touched_objects())

    def check_map(self, server):
        """nbdinfo's map: data where there are objects, and holes everywhere else."""
        found = json.loads(run("nbdinfo", "--map", "--json", server.uri()))
        self.assertEqual(sum(extent["length"] for extent in found), SIZE)
        data_objects = set()
        for extent in found:
            self.assertIn(extent["type"], (0, 3), f"neither data nor hole: {extent}")
            if extent["type"] == 0:
                first, end = extent["offset"], extent["offset"] + extent["length"]
                data_objects |= set(range(first // OBJECT, -(-end // OBJECT)))
        self.assertEqual(data_objects, touched_objects())

    def test_nbdcopy(self):
        """A copy is the same, stores no zeros, and comes out with its holes."""
        self.check_round_trip(copy_with_nbdcopy)

    def test_qemu_img_convert(self):
        """A copy is the same, stores no zeros, and comes out with its holes."""
        self.check_round_trip(copy_with_qemu_img)

    def test_copy_over_old_data(self):
        """The holes of a new image are zeros where old data were."""
        image, copied = self.scratch / "image", self.scratch / "copied"
        server = self.serve(size=SIZE, object_size=OBJECT)
        handle = server.connect()
        for offset in range(90 * MIB, 110 * MIB, MIB):
            handle.pwrite(b"old!" * (MIB // 4), offset)
        handle.pwrite(b"old!" * 1000, 900 * MIB + 5)
        server.disconnect()
        make_image(image)
        run("nbdcopy", image, server.uri())  # nothing said about what is there
        self.assertEqual(server.terminate(), 0)
        self.check_holes_in_store()
        copy_with_nbdcopy(self.serve("--filter=md5").uri(), copied)
        run("cmp", image, copied)

    def test_copy_sees_what_was_never_flushed(self):
        """A copy has the data that only the cache has, which are a hole below."""
        server = self.serve(size=SIZE, object_size=OBJECT)
        handle = server.connect()
        for number, (offset, count) in enumerate(PIECES):
            handle.pwrite(data.tagged(number + 1, offset, count), offset)
        make_image(self.scratch / "image")
        copy_with_nbdcopy(server.uri(), self.scratch / "copied")
        run("cmp", self.scratch / "image", self.scratch / "copied")


class LocalCopies(Copies, unittest.TestCase):
    make_store = LocalStore

    def test_objects_take_the_space_of_the_data(self):
        """Objects take the space of their data."""
        make_image(self.scratch / "image")
        server = self.serve(size=SIZE, object_size=OBJECT)
        copy_with_nbdcopy(self.scratch / "image", server.uri())
        self.assertEqual(server.terminate(), 0)
        at_most = len(touched_objects()) * (OBJECT + 8192)
        self.assertLessEqual(self.store.allocated_bytes(), at_most)


class GatewayCopies(Copies, unittest.TestCase):
    @staticmethod
    def make_store():
        return GatewayStore(gateway())


if __name__ == "__main__":
    unittest.main()
