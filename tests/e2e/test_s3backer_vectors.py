"""Volumes that the newest s3backer wrote (zstd, AES-256, codings that change block by block), as
a server of our own serves them: ours reads them, and writes the same into an empty bucket."""

import unittest

from servers.memory_s3 import MemoryS3
from support import s3backer_vectors
from support.nbdkit import Nbdkit
from support.s3backer_vectors import Vector, image

_HMAC = "x-amz-meta-s3backer-hmac"
_TOKEN = "s3backer-mounted"


class Vectors(unittest.TestCase):
    """Each volume, both ways."""

    def serve(self, s3, volume, **parameters):
        """Ours on the volume."""
        always = {"layout": "s3backer", "trust-listing": "true"}
        merged = s3.parameters(volume.bucket) | always | volume.parameters()
        merged |= parameters
        words = [f"{n.replace('_', '-')}={v}" for n, v in merged.items() if v is not None]
        return Nbdkit("s3", *words)

    def read(self, name):
        """Byte for byte, as data where there are objects, and nothing in the bucket changes."""
        volume = Vector(name)
        detected = not {"prefix", "blockHashPrefix"} & set(volume.options)
        before = volume.objects()
        with MemoryS3({volume.bucket: before}) as s3:
            layouts = ["s3backer", "auto"] if detected else ["s3backer"]
            for layout in layouts:
                with self.serve(s3, volume, layout=layout) as server:
                    handle = server.connect()
                    self.assertEqual(handle.get_size(), volume.size)
                    self.assertEqual(handle.pread(volume.size, 0), image())
                    self.assertEqual(handle.pread(5000, 4000), image()[4000:9000])
                    self.expect_extents(handle, volume)
                    self.assertEqual(server.terminate(), 0, server.log())
                self.assertEqual(s3.buckets[volume.bucket], before)

    def expect_extents(self, handle, volume):
        """Data where objects are."""
        data, offset, extents = [], 0, []

        def take(_name, _offset, found, _error):
            extents.extend(found)

        handle.block_status(volume.size, 0, take)
        for length, flags in zip(extents[::2], extents[1::2]):
            if not flags:
                data += range(offset // volume.block_size, (offset + length) // volume.block_size)
            offset += length
        self.assertEqual(data, sorted(volume.block_of(key) for key in volume.objects()))

    def write(self, name):
        """The same image, with the settings that each object was written with."""
        volume = Vector(name)
        expected = volume.objects()
        by_coding = {}
        for key, stored in expected.items():
            coding = stored.headers.get("content-encoding", "none").partition(",")[0]
            by_coding.setdefault(coding, []).append(key)
        with MemoryS3({volume.bucket: {}}) as s3:
            geometry = {"size": volume.size, "object_size": volume.block_size}
            for coding, keys in by_coding.items():
                level = volume.parameters().get("compress_level") if coding == "deflate" else None
                settings = {"compress": coding, "compress_level": level}
                with self.serve(s3, volume, **geometry, **settings) as server:
                    handle = server.connect()
                    for key in keys:
                        handle.pwrite(volume.content(key), volume.block_of(key) * volume.block_size)
                    # Also zeros, of which nothing must be seen.
                    handle.pwrite(bytes(3 * volume.block_size), 32 * volume.block_size)
                    self.assertEqual(handle.get_size(), volume.size)
                    self.assertEqual(server.terminate(), 0, server.log())
            with self.serve(s3, volume) as server:
                self.assertEqual(server.connect().pread(volume.size, 0), image())
            self.compare(volume, expected, s3.buckets[volume.bucket])

    def compare(self, volume, expected, written):
        """Names and headers; bodies byte for byte, but zstd's, which depend on its version, by what
        they decode to. (Their signatures are those of their own bytes: decode() checks them.)"""
        self.assertEqual(sorted(written), sorted(expected))
        for key, stored in expected.items():
            ours = dict(written[key].headers)
            theirs = dict(stored.headers)
            if "zstd" in theirs.get("content-encoding", ""):
                self.assertEqual(volume.decode(key, written[key]), volume.content(key), key)
                self.assertEqual(ours.pop(_HMAC, None) is None, theirs.pop(_HMAC, None) is None)
            else:
                self.assertEqual(written[key].body, stored.body, key)
            self.assertEqual(ours, theirs, key)

    def test_the_decoder_reads_what_s3backer_wrote(self):
        """Else nothing that it says about ours counts."""
        for name in s3backer_vectors.names():
            volume = Vector(name)
            for key, stored in volume.objects().items():
                self.assertEqual(volume.decode(key, stored), volume.content(key), f"{name} {key}")

    def test_the_token_of_another_host_is_honoured(self):
        """In the server's own words: the object is there while ours serves, and gone after."""
        volume = Vector("zstd")
        with MemoryS3({volume.bucket: volume.objects()}) as s3:
            with self.serve(s3, volume) as server:
                self.assertIn(_TOKEN, s3.buckets[volume.bucket])
                self.assertEqual(server.terminate(), 0)
            self.assertNotIn(_TOKEN, s3.buckets[volume.bucket])


def _case(name, method):
    return lambda self: getattr(self, method)(name)


for _name in s3backer_vectors.names():
    for _method in ("read", "write"):
        setattr(Vectors, f"test_{_method}_{_name.replace('-', '_')}", _case(_name, _method))


if __name__ == "__main__":
    unittest.main()
