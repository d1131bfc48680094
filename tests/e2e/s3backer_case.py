"""One volume, two programs, Debian's s3backer and ours, over a real S3 server: the base of the
tests of how they get on with each other."""

import unittest
from dataclasses import dataclass

from e2e.stores import GatewayStore, gateway
from support.data import random_bytes, wait_until
from support.nbdkit import Nbdkit, run_expecting_failure
from support.s3backer import S3backer, require

BLOCK = 4096
BLOCKS = 256
SIZE = BLOCKS * BLOCK
PASSWORD = "correct horse battery staple"
TOKEN = "s3backer-mounted"
_COMPARED = ("content-type", "content-encoding")


@dataclass(frozen=True)
class Way:
    """A way to keep a volume, in the words of both: s3backer's options, the parameters of ours,
    what goes behind the bucket's name in bucket=, what the names of all objects begin with, and
    whether ours finds the layout out by itself."""

    options: tuple = ()
    parameters: tuple = ()
    below: str = ""
    prefix: str = ""
    detected: bool = True


_ENCRYPT = ("--encrypt", f"--password={PASSWORD}")
WAYS = {
    "plain": Way(),
    "deflate": Way(options=("--compress",), parameters=(("compress", "deflate"),)),
    "encrypted": Way(options=_ENCRYPT, parameters=(("passphrase", PASSWORD),)),
    "hashed": Way(
        options=("--blockHashPrefix",), parameters=(("block_hash_prefix", "true"),), detected=False
    ),
    "prefix": Way(
        options=("--prefix=a/b-",), parameters=(("prefix", "a/b-"),), prefix="a/b-", detected=False
    ),
    # s3backer has known bucket/sub since 2.0; what it does with it is to take a prefix.
    "sub": Way(options=("--prefix=sub/",), below="/sub", prefix="sub/"),
    "all": Way(
        below="/sub",
        options=(
            "--prefix=sub/", "--compress=9", "--encrypt=AES-256-CBC", f"--password={PASSWORD}",
            "--blockHashPrefix",
        ),
        parameters=(
            ("compress", "deflate"), ("compress_level", "9"), ("encrypt", "AES-256-CBC"),
            ("passphrase", PASSWORD), ("block_hash_prefix", "true"),
        ),
        prefix="sub/",
        detected=False,
    ),
    "all-prefix": Way(
        options=("--prefix=x_y.", "--blockHashPrefix", *_ENCRYPT),
        parameters=(
            ("prefix", "x_y."), ("block_hash_prefix", "true"), ("passphrase", PASSWORD),
        ),
        prefix="x_y.",
        detected=False,
    ),
}  # fmt: skip


class S3backerCase(unittest.TestCase):
    """A bucket, what ought to be on its volume, and both programs."""

    way = WAYS["plain"]

    @classmethod
    def setUpClass(cls):
        require()

    def setUp(self):
        self.server = gateway()
        self.store = GatewayStore(self.server)
        self.addCleanup(self.store.close)
        self.expected = bytearray(SIZE)

    def theirs(self, size=None, options=()):
        """s3backer on the volume; a new one if `size` is given."""
        block_size = None if size is None else BLOCK
        options = [*self.way.options, *options]
        return S3backer(self.server, self.store.bucket, size, block_size, options)

    def words(self, layout=None, **parameters):
        """Words of nbdkit's for the same volume. Its holes are known by listings alone, which are
        to be trusted here."""
        if not self.way.detected:
            layout = "s3backer"
        place = {"bucket": self.store.bucket + self.way.below, "layout": layout}
        place["trust_listing"] = "true"
        return self.store.volume(**(place | dict(self.way.parameters) | parameters))

    def ours(self, **parameters):
        """Ours on the volume."""
        return Nbdkit(*self.words(**parameters))

    def expect_ours_refuses(self, **parameters):
        """What ours says when it does not start."""
        return run_expecting_failure(*self.words(**parameters))[1]

    def write(self, disk, content, offset):
        """Writes, and remembers it."""
        disk.pwrite(content, offset)
        self.expected[offset : offset + len(content)] = content

    def block_keys(self):
        """All objects under the prefix but the token."""
        keys = self.store.client.keys(self.store.bucket, self.way.prefix)
        return [key for key in keys if not key.endswith(TOKEN)]

    def objects(self):
        """What is stored of the blocks: key -> headers and body."""
        found = {}
        for key in self.block_keys():
            headers = self.store.client.head(self.store.bucket, key)
            kept = {n: headers.get(n) for n in _COMPARED}
            kept |= {n: v for n, v in headers.items() if n.startswith("x-amz-meta-")}
            found[key] = (kept, self.store.body(key))
        return found

    def stored_blocks(self):
        """The numbers of the blocks that are stored, by the names of their objects."""
        return sorted(int(key[-8:], 16) for key in self.block_keys())

    def expect_all(self, disk):
        """The whole disk as it was written."""
        found = disk.pread(SIZE, 0)
        wrong = [
            number
            for number in range(BLOCKS)
            if found[number * BLOCK : (number + 1) * BLOCK]
            != self.expected[number * BLOCK : (number + 1) * BLOCK]
        ]
        self.assertEqual(wrong, [], "blocks that are not as they were written")

    def data_blocks(self, handle):
        """The numbers of the blocks that are reported as data."""
        extents = []
        handle.block_status(SIZE, 0, lambda _name, _offset, found, _error: extents.extend(found))
        data, offset = [], 0
        for length, flags in zip(extents[::2], extents[1::2]):
            if not flags:
                data += range(offset // BLOCK, (offset + length) // BLOCK)
            offset += length
        self.assertEqual(offset, SIZE)
        return data

    def expect_extents(self, handle):
        """Data exactly where blocks are stored. Of names with a hash that is known when all have
        been listed, in the background; until then there may be more data, and never less."""
        stored = self.stored_blocks()

        def is_exact():
            data = self.data_blocks(handle)
            self.assertLessEqual(set(stored), set(data))
            return data == stored

        wait_until(is_exact, 10, f"data in the blocks {stored} and no others")

    def write_first(self, disk, seed):
        """Blocks that shrink and that do not, parts of blocks, zeros."""
        self.write(disk, b"nbdstack and s3backer " * 40, 0)
        self.write(disk, random_bytes(seed, 3 * BLOCK), 5 * BLOCK)
        self.write(disk, random_bytes(seed + 1, 2 * BLOCK), 20 * BLOCK + 777)
        self.write(disk, b"\x55" * (16 * BLOCK), 64 * BLOCK)
        self.write(disk, bytes(4 * BLOCK), 70 * BLOCK)
        self.write(disk, b"the end", SIZE - 7)
