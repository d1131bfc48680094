"""What servers leave behind is what docs/formats says: readers that follow the documents, and share
nothing with the code, read a disk's content out of objects, cache directories and md5-files."""

import hashlib
import pathlib
import re
import shutil
import tempfile
import unittest

from e2e.stores import LocalStore
from servers.memory_s3 import MemoryS3
from support import data, formats, formats_cache, formats_md5, formats_own
from support.cache_case import BLOCK, CacheDirCase
from support.nbdkit import Nbdkit

OBJECT, SIZE = 64 << 10, 4 << 20
PASSPHRASE = "correct horse battery staple"
_BLOCK_NAME = re.compile("vm/([0-9a-f]{16})")


def _content():
    """A disk with blocks of data, of text that compresses, of zeros, and a hole at the end."""
    text = b"all work and no play makes jack a dull boy\n" * (2 * OBJECT // 43 + 1)
    parts = data.random_bytes(1, 3 * OBJECT) + text[: 2 * OBJECT] + data.tagged(7, 0, OBJECT)
    return parts + bytes(SIZE - len(parts))


class OwnLayout(unittest.TestCase):
    """Objects in a directory, and in a service."""

    def write(self, words):
        """Serves a new volume, writes the disk, and stops."""
        with Nbdkit("s3", *words, f"size={SIZE}", f"object-size={OBJECT}", "key=vm") as server:
            handle = server.connect()
            handle.pwrite(_content()[: 6 * OBJECT], 0)
            handle.flush()
            self.assertEqual(server.terminate(), 0, server.log())

    def expect_content(self, objects, passphrase=None):
        """`objects`: bodies by key."""
        record = formats_own.descriptor(objects["vm/nbdstack-volume.json"].decode())
        key = formats_own.volume_key(record, passphrase) if passphrase else None
        disk = bytearray(record["size"])
        for name, body in objects.items():
            if number := _BLOCK_NAME.fullmatch(name):
                block = int(number[1], 16)
                content = formats_own.block_of(body, OBJECT, block, record["id"], key)
                disk[block * OBJECT : (block + 1) * OBJECT] = content
        self.assertEqual(record["size"], SIZE)
        self.assertEqual(hashlib.md5(disk).digest(), hashlib.md5(_content()).digest())
        self.assertEqual(formats_own.lease(objects["vm/nbdstack-lease.json"])["state"], "released")

    def bodies_in(self, store):
        """The bodies of all objects of a directory, without what the store keeps behind them."""
        bodies = {}
        for key in store.keys():
            fields = formats.values_of(formats_own.file_fields(store.body(key)))
            bodies[key] = store.body(key)[: fields["body_bytes"]]
        return bodies

    def test_in_a_directory(self):
        """Each file is a body with a trailer; plain, compressed, and encrypted."""
        sealed = ["compress=zstd", "encrypt=aes-256-gcm", f"passphrase={PASSPHRASE}"]
        for words in ([], ["compress=zstd"], ["compress=deflate"], sealed):
            with self.subTest(words):
                store = LocalStore()
                self.addCleanup(store.close)
                self.write([*store.volume()[1:], *words])
                secret = PASSPHRASE.encode() if len(words) > 2 else None
                self.expect_content(self.bodies_in(store), secret)

    def test_in_a_service(self):
        """Objects have checksums beside them, and there is a record of the blocks that exist."""
        with MemoryS3({"b": {}}) as s3:
            words = [f"{name}={value}" for name, value in s3.parameters("b").items()]
            self.write(words)
            stored = dict(s3.buckets["b"])
        objects = {key: each.body for key, each in stored.items()}
        self.expect_content(objects)
        for key, each in stored.items():
            if _BLOCK_NAME.fullmatch(key):
                checksum = formats.xxh3_128(each.body).hex()
                self.assertEqual(each.headers["x-amz-meta-nbdstack-xxh3"], checksum)
        header, runs = formats_own.blocks(objects["vm/nbdstack-blocks"])
        lease = formats_own.lease(objects["vm/nbdstack-lease.json"])
        self.assertEqual((header["state"], header["owner"]), ("recorded", lease["owner"]))
        known = [kind for length, kind in runs for _ in range(length)]
        there = {int(name[1], 16) for name in map(_BLOCK_NAME.fullmatch, objects) if name}
        self.assertEqual({n for n, kind in enumerate(known) if kind == "stored"}, there)
        self.assertNotIn("unknown", known)

    def test_pieces(self):
        """An object of more than 64 KiB has a checksum for each piece."""
        with MemoryS3({"b": {}}) as s3:
            words = [f"{name}={value}" for name, value in s3.parameters("b").items()]
            with Nbdkit("s3", *words, "size=4M", "object-size=1M") as server:
                server.connect().pwrite(data.random_bytes(3, 1 << 20), 0)
                self.assertEqual(server.terminate(), 0, server.log())
            stored = s3.buckets["b"]["0" * 16]
        expected = formats_own.pieces_text(stored.body)
        self.assertEqual(stored.headers["x-amz-meta-nbdstack-pieces"], expected)


class CacheDirectory(CacheDirCase):
    """What a server that was killed has flushed to its directory."""

    def expect_dirty(self, expected, key=None):
        """`expected`: offset -> bytes that were flushed here and never reached the layer below."""
        files = {path.name: path.read_bytes() for path in self.directory.iterdir()}
        identity = formats_cache.identity(files["identity"])
        index = formats_cache.Index(files, int(identity["block_size"]))
        slots = {slot["block"]: (number, slot) for number, slot in index.slots.items()}
        for offset, content in expected.items():
            for at in range(offset, offset + len(content), 4096):
                number, slot = slots[at // BLOCK]
                page = at % BLOCK // 4096
                self.assertTrue(slot["valid"] & slot["dirty"] & 1 << page, f"{at:#x}")
                second = slot["copies"] >> page & 1
                place = number * BLOCK + page * 4096
                found = files["data2" if second else "data"][place : place + 4096]
                if key:
                    found = formats_cache.page(found, place, second, key)
                self.assertEqual(found, content[at - offset :][:4096], f"{at:#x}")
        return index

    def test_what_was_flushed(self):
        """Pages in both files, and a range of zeros."""
        self.below.fail("pwrite", "zero", "trim")
        server = self.serve("cache-flush=local")
        handle = server.connect()
        first, second, third = (data.tagged(tag, 0, 2 * BLOCK) for tag in (3, 4, 5))
        handle.pwrite(first, 0)
        handle.flush()
        handle.pwrite(second[:BLOCK], 0)
        handle.pwrite(third, 6 * BLOCK)
        handle.zero(4 * BLOCK, 8 * BLOCK)
        handle.flush()
        server.kill()
        whole = second[:BLOCK] + first[BLOCK:]
        index = self.expect_dirty({0: whole, 6 * BLOCK: third})
        self.assertEqual(index.zeros, {8, 9, 10, 11})
        self.assertTrue(any(slot["copies"] for slot in index.slots.values()))

    def test_what_was_flushed_encrypted(self):
        """The passphrase opens the directory's key."""
        key_file = self.scratch / "key"
        key_file.write_text(PASSPHRASE + "\n")
        written = self.leave_dirty(BLOCK, 9, 2 * BLOCK, [f"cache-encrypt=+{key_file}"])
        identity = formats_cache.identity((self.directory / "identity").read_bytes())
        key = formats_cache.key(identity, PASSPHRASE.encode())
        self.expect_dirty({BLOCK: written}, key)

    def test_after_a_stop(self):
        """A snapshot, and nothing after it: what was read and what was written is clean."""
        content = self.fill()
        files = {path.name: path.read_bytes() for path in self.directory.iterdir()}
        index = formats_cache.Index(files, BLOCK)
        found = {}
        for number, slot in index.slots.items():
            self.assertEqual((slot["valid"], slot["dirty"]), (0xFFFF, 0))
            found[slot["block"]] = files["data"][number * BLOCK : (number + 1) * BLOCK]
        expected = {n: content[n * BLOCK : (n + 1) * BLOCK] for n in range(32)}
        self.assertEqual(found, expected)


class Md5File(unittest.TestCase):
    """Digests of what was written."""

    def test_after_a_kill(self):
        """Flushed blocks have their digests, and regions that were being changed are doubted."""
        directory = pathlib.Path(tempfile.mkdtemp(prefix="md5-file-"))
        self.addCleanup(shutil.rmtree, directory)
        written = data.random_bytes(5, 3 * 65536)
        server = Nbdkit("--filter=md5", "memory", "64M", f"md5-file={directory / 'digests'}")
        self.addCleanup(server.stop)
        handle = server.connect()
        handle.pwrite(written, 65536)
        handle.flush()
        handle.pwrite(written[:65536], 512 * 65536)
        server.kill()
        found = (directory / "digests").read_bytes()
        identity = formats_md5.identity(found)
        self.assertEqual(identity["block_size"], "65536")
        seed = formats.xxh3_64(identity["uuid"].encode())
        for number in range(3):
            record = formats.values_of(formats_md5.record(found, number + 1, seed))
            content = written[number * 65536 : (number + 1) * 65536]
            self.assertEqual(record["digest"], hashlib.md5(content).digest())
            self.assertEqual((record["length"], record["state"]), (65536, 1))
        self.assertIsNone(formats_md5.record(found, 0, seed))
        doubted = {formats.values_of(entry)["region_plus_1"] - 1
                   for entry in formats_md5.entries(found, seed)
                   if formats_md5.is_doubted(found, entry, seed)}  # fmt: skip
        self.assertEqual(doubted, {2})


if __name__ == "__main__":
    unittest.main()
