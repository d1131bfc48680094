"""Every byte that is read is verified, whatever its range: blocks of a cache that are smaller than
objects, reads of a few bytes, objects of earlier versions and of other programs, disk images.

NBDSTACK_ROT_SEED chooses other bits, other reads and other filters."""

import hashlib
import os
import random
import unittest

import nbd

from e2e.stores import GatewayStore, LocalStore, gateway
from e2e.test_random_stacks import RECOMMENDED
from servers.memory_s3 import MemoryS3, StoredObject
from support import data
from support.nbdkit import Nbdkit
from support.s3_command import run_s3_command

KIB, MIB = 1 << 10, 1 << 20
OBJECT, PIECE = 1 * MIB, 64 * KIB
SIZE = 4 * MIB
CONTENT = data.tagged(5, 0, SIZE)
SEED = int(os.environ.get("NBDSTACK_ROT_SEED", "1"))
ROUNDS = 12
PIECES = "x-amz-meta-nbdstack-pieces"
WHOLE = "x-amz-meta-nbdstack-xxh3"


class _MemoryStore:
    """A volume in an S3 server in this process."""

    def __init__(self):
        self.s3 = MemoryS3({"disk": {}})
        self.s3.start()
        self.objects = self.s3.buckets["disk"]

    def close(self):
        self.s3.stop()

    def volume(self, **parameters):
        """The plugin and its parameters."""
        merged = self.s3.parameters("disk") | {"retries": 1} | parameters
        return ["s3", *(f"{name.replace('_', '-')}={value}" for name, value in merged.items())]

    def block_keys(self):
        """Of all blocks, in order."""
        return sorted(key for key in self.objects if len(key) == 16)

    def body(self, key):
        """An object's bytes."""
        return self.objects[key].body

    def replace(self, key, body):
        """Other bytes under the same metadata."""
        self.objects[key].body = body

    def age(self, key, *headers):
        """Makes of an object one that was stored without these headers."""
        for header in headers:
            self.objects[key].headers.pop(header, None)


def flip(store, key, bit):
    """Inverts one bit of what is stored under a key."""
    body = bytearray(store.body(key))
    body[bit // 8] ^= 1 << bit % 8
    store.replace(key, bytes(body))


class _Volume(unittest.TestCase):
    """Makes a volume of CONTENT in a store."""

    def fill(self, store, **parameters):
        """Returns the store."""
        self.addCleanup(store.close)
        with Nbdkit(*store.volume(size=SIZE, **parameters)) as server:
            handle = server.connect()
            handle.pwrite(CONTENT, 0)
            handle.flush()
        return store

    def serve(self, store, *filters, **parameters):
        """A server of what is there, until the end of the test."""
        server = Nbdkit(*filters, *store.volume(own="none", **parameters))
        self.addCleanup(server.stop)
        return server


class Rot(_Volume):
    """One flipped bit, and reads of any range through any filters: right, or an error."""

    def check(self, store, key, number, rng):
        """Reads around object `number`, which is damaged; returns how many were refused."""
        layers = rng.sample(RECOMMENDED, rng.randint(0, len(RECOMMENDED)))
        server = self.serve(store, *(f"--filter={layer}" for layer in layers))
        handle, refused = server.connect(), 0
        with self.subTest(layers=layers, key=key, seed=SEED):
            for _ in range(10):
                offset = rng.randrange(number * OBJECT, (number + 1) * OBJECT)
                count = rng.choice([1, 512, 4 * KIB, PIECE, rng.randrange(1, OBJECT)])
                count = min(count, SIZE - offset)
                try:
                    read = handle.pread(count, offset)
                except nbd.Error as error:
                    self.assertIn("Input/output error", str(error))
                    refused += 1
                    continue
                self.assertEqual(read, CONTENT[offset : offset + count])
            if refused:
                self.assertIn(key, server.log())
        server.stop()
        return refused

    def check_store(self, store, flips_below):
        rng = random.Random(f"rot {SEED} {type(store).__name__}")
        refused = 0
        for _ in range(ROUNDS):
            number = rng.randrange(SIZE // OBJECT)
            key = store.block_keys()[number]
            good = store.body(key)
            flip(store, key, rng.randrange(8 * flips_below(good)))
            refused += self.check(store, key, number, rng)
            store.replace(key, good)
        self.assertGreater(refused, 0)
        self.assertLess(refused, 10 * ROUNDS)

    def test_over_http(self):
        """A flipped bit of a piece is found, over HTTP."""
        self.check_store(self.fill(_MemoryStore()), lambda _: OBJECT)

    def test_over_a_directory(self):
        """It is found in files, too, and so is one in the checksums."""
        self.check_store(self.fill(LocalStore()), len)

    def test_compressed_and_encrypted(self):
        """It is found in compressed and encrypted objects, which are read whole."""
        for coding in ({"compress": "zstd"}, {"passphrase": "secret"}):
            store = self.fill(_MemoryStore(), **coding)
            key = store.block_keys()[1]
            flip(store, key, 8 * (len(store.body(key)) // 2))
            coding.pop("compress", None)
            handle = self.serve(store, **coding).connect()
            with self.assertRaisesRegex(nbd.Error, "Input/output error"):
                handle.pread(512, OBJECT + 4096)
            self.assertEqual(handle.pread(512, 0), CONTENT[:512])

    def test_a_write_of_a_part_does_not_vouch_for_damage(self):
        """A write of a part does not give a damaged object new checksums."""
        store = self.fill(_MemoryStore())
        flip(store, store.block_keys()[1], 8 * 700_000)
        damaged = store.body(store.block_keys()[1])
        for filters in ((), ("--filter=cache",)):
            handle = self.serve(store, *filters).connect()
            with self.assertRaisesRegex(nbd.Error, "Input/output error"):
                handle.pwrite(b"x" * 512, OBJECT)
                handle.flush()
            self.assertEqual(store.body(store.block_keys()[1]), damaged)

    def test_metadata_of_another_version(self):
        """Checksums of another version than the body are noticed."""
        store = self.fill(_MemoryStore())
        first, second = store.block_keys()[:2]
        store.objects[first].headers, store.objects[second].headers = (
            store.objects[second].headers,
            store.objects[first].headers,
        )
        handle = self.serve(store).connect()
        for offset in (0, PIECE + 5, OBJECT, 2 * OBJECT - 1):
            with self.assertRaisesRegex(nbd.Error, "Input/output error"):
                handle.pread(1, offset)
        self.assertEqual(handle.pread(PIECE, 2 * OBJECT), CONTENT[2 * OBJECT :][:PIECE])

    def test_lists_that_do_not_belong_to_their_object(self):
        """A list of pieces that does not belong to its object is an error."""
        store = self.fill(_MemoryStore())
        key = store.block_keys()[0]
        good = store.objects[key].headers[PIECES]
        for bad in ("", good[:-12], good + "AAAAAAAA", good.replace("1048576", "1048577")):
            store.objects[key].headers[PIECES] = bad
            handle = self.serve(store).connect()
            with self.assertRaisesRegex(nbd.Error, "Input/output error"):
                handle.pread(PIECE, 0)


class Cost(_Volume):
    def test_blocks_of_a_cache_cost_what_they_did(self):
        """Checksums cost blocks of 64 KiB of objects of 1 MiB neither requests nor bytes."""
        store = self.fill(_MemoryStore())
        handle = self.serve(store, "--filter=cache").connect()
        handle.pread(512, 3 * OBJECT)  # whatever a first read costs
        requests, received = store.s3.requests["GET"], store.s3.body_bytes["GET"]
        offsets = random.Random(SEED).sample(range(0, 3 * OBJECT, PIECE), 20)
        for offset in offsets:
            self.assertEqual(handle.pread(4 * KIB, offset), CONTENT[offset:][: 4 * KIB])
        self.assertEqual(store.s3.requests["GET"] - requests, 20)
        self.assertEqual(store.s3.body_bytes["GET"] - received, 20 * PIECE)

    def test_without_a_cache_a_piece_is_read(self):
        """Without a cache a read of 4 KiB is one request of 64 KiB, as the manual page says."""
        store = self.fill(_MemoryStore())
        handle = self.serve(store).connect()
        handle.pread(512, 3 * OBJECT)
        requests, received = store.s3.requests["GET"], store.s3.body_bytes["GET"]
        handle.pread(4 * KIB, OBJECT + 8 * KIB)
        self.assertEqual(store.s3.requests["GET"] - requests, 1)
        self.assertEqual(store.s3.body_bytes["GET"] - received, PIECE)


class OldObjects(_Volume):
    """Objects without checksums of pieces, and without any."""

    def check_volume(self, store, *options, code=0):
        """What nbdstack-s3 check says."""
        done = run_s3_command("check", *options, *store.volume()[1:])
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stderr

    def test_of_an_earlier_version(self):
        """Objects of an earlier version are verified by the checksum of the whole, once, and
        `check --renew` gives the good ones pieces."""
        store = self.fill(_MemoryStore())
        keys = store.block_keys()
        for key in keys[:3]:
            store.age(key, PIECES)
        flip(store, keys[2], 8 * 1_000_000)
        handle = self.serve(store).connect()
        requests = store.s3.requests["GET"]
        for offset in (0, 5 * PIECE, OBJECT - 100):
            self.assertEqual(handle.pread(100, offset), CONTENT[offset:][:100])
        self.assertLessEqual(store.s3.requests["GET"] - requests, 3 + 1)
        with self.assertRaisesRegex(nbd.Error, "Input/output error"):
            handle.pread(100, 2 * OBJECT)
        said = self.check_volume(store, code=1)
        self.assertIn("2 object(s) with a checksum of the whole only", said)
        said = self.check_volume(store, "--renew", code=1)
        self.assertIn("2 object(s) were given all checksums", said)
        self.assertIn(PIECES, store.objects[keys[0]].headers)
        self.assertNotIn(PIECES, store.objects[keys[2]].headers, "a damaged object was renewed")
        self.assertNotIn("--renew", self.check_volume(store, code=1))

    def test_of_another_program(self):
        """Objects of another program, without checksums, are read, with a line in the log."""
        store = self.fill(_MemoryStore())
        keys = store.block_keys()
        for key in keys:
            store.age(key, PIECES, WHOLE)
        server = self.serve(store)
        handle = server.connect()
        self.assertEqual(handle.pread(SIZE, 0), CONTENT)
        self.assertEqual(handle.pread(100, 100), CONTENT[100:200])
        self.assertEqual(server.log().count("carries no checksum"), 1, server.log())
        server.stop()
        self.assertIn("4 object(s) without a checksum", self.check_volume(store))
        self.check_volume(store, "--renew")
        flip(store, keys[0], 8 * 1000)
        with self.assertRaisesRegex(nbd.Error, "Input/output error"):
            self.serve(store).connect().pread(100, 0)

    def test_renewing_is_refused_while_a_server_has_the_volume(self):
        """Renewing is refused while a server has the volume."""
        store = self.fill(LocalStore())
        with Nbdkit(*store.volume()):
            self.assertIn("nbdstack-s3: error: ", self.check_volume(store, "--renew", code=1))

    def test_in_a_directory(self):
        """So it is in a directory."""
        store = self.fill(LocalStore())
        keys = store.block_keys()
        store.replace(keys[0], store.body(keys[0])[:OBJECT])
        self.assertIn("1 object(s) without a checksum", self.check_volume(store))
        server = self.serve(store)
        self.assertEqual(server.connect().pread(100, 100), CONTENT[100:200])
        self.assertEqual(server.log().count("carries no checksum"), 1)
        server.stop()
        self.check_volume(store, "--renew")
        flip(store, keys[0], 8 * 150)
        with self.assertRaisesRegex(nbd.Error, "Input/output error"):
            self.serve(store).connect().pread(100, 100)


class Images(unittest.TestCase):
    """A disk image in one object that is replaced while it is served."""

    OLD, NEW = (bytes([value]) * (3 * MIB) for value in (1, 2))

    def check(self, server, replace):
        handle = server.connect()
        self.assertEqual(handle.pread(MIB, 0), self.OLD[:MIB])
        replace(self.NEW)
        with self.assertRaisesRegex(nbd.Error, "Input/output error"):
            handle.pread(MIB, MIB)
        with self.assertRaisesRegex(nbd.Error, "Input/output error"):
            handle.pread(512, 0)
        self.assertRegex(server.log(), r"image\.raw.*replaced")
        self.assertRegex(server.log(), "(?i)restart the server")

    def test_over_http(self):
        """An image that is replaced while it is read is an error, not half of each."""
        with MemoryS3({"disk": {"image.raw": StoredObject(self.OLD)}}) as s3:
            words = [f"{n}={v}" for n, v in s3.parameters("disk").items()]

            def replace(body):
                with s3.lock:
                    s3.buckets["disk"]["image.raw"] = StoredObject(body)

            with Nbdkit("s3", *words, "key=image.raw") as server:
                self.check(server, replace)

    def test_at_the_gateway(self):
        """So it is at Ceph's gateway."""
        store = GatewayStore(gateway())
        self.addCleanup(store.close)
        store.client.put(store.bucket, "image.raw", self.OLD)
        with Nbdkit(*store.volume(key="image.raw")) as server:
            self.check(server, lambda body: store.client.put(store.bucket, "image.raw", body))

    def test_in_a_directory(self):
        """So it is of a file that is renamed into place, or written over."""
        store = LocalStore()
        self.addCleanup(store.close)
        path = store.directory / store.bucket / "image.raw"
        path.parent.mkdir()

        def rename(body):
            other = path.with_suffix(".new")
            other.write_bytes(body)
            other.rename(path)

        for replace in (rename, path.write_bytes):
            path.write_bytes(self.OLD)
            with Nbdkit(*store.volume(key="image.raw")) as server:
                self.check(server, replace)

    def test_an_image_without_a_checksum_is_served(self):
        """An image without a checksum is served."""
        with MemoryS3({"disk": {"image.raw": StoredObject(self.OLD)}}) as s3:
            words = [f"{n}={v}" for n, v in s3.parameters("disk").items()]
            with Nbdkit("s3", *words, "key=image.raw") as server:
                read = server.connect().pread(3 * MIB, 0)
                self.assertEqual(hashlib.md5(read).digest(), hashlib.md5(self.OLD).digest())
                self.assertEqual(server.log().count("carries no checksum"), 1)


if __name__ == "__main__":
    unittest.main()
