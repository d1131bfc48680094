"""What tests of a volume over a service share whose listings they control."""

import contextlib
import os
import unittest

from servers.memory_s3 import Conditions, MemoryS3
from support import data
from support.nbdkit import Nbdkit
from support.s3_command import run_s3_command

OBJECT = 65536
SIZE = 64 * OBJECT
RECORD = "vm/nbdstack-blocks"


def name_of(block):
    """The object of a block."""
    return f"vm/{block:016x}"


class ListingCase(unittest.TestCase):
    conditions = Conditions.HONOURED

    def setUp(self):
        self.s3 = MemoryS3({"disk": {}}, self.conditions)
        self.s3.start()
        self.addCleanup(self.s3.stop)
        self.objects = self.s3.buckets["disk"]

    def words(self, **parameters):
        """The plugin and its parameters; key=vm unless given."""
        given = self.s3.parameters("disk") | {"key": "vm", "lease-time": 5} | parameters
        return ["s3", *(f"{name.replace('_', '-')}={value}" for name, value in given.items())]

    @contextlib.contextmanager
    def served(self, **parameters):
        """A client of a server that ends well."""
        with Nbdkit(*self.words(**parameters), verbose=True) as server:
            self.server = server
            yield server.connect()
            server.disconnect()
            self.assertEqual(server.terminate(), 0)
            self.log = server.log()

    @contextlib.contextmanager
    def served_quietly(self):
        """The same, when its own requests have ended: it neither lists nor renews its lease."""
        with self.served(lease_time=3600) as handle:
            data.wait_until(
                lambda: "objects are listed" in self.server.log(), 30, "the listing's end"
            )
            yield handle

    def write_volume(self, **parameters):
        """16 blocks from the start of a new disk; returns their content."""
        content = os.urandom(16 * OBJECT)
        with self.served(size=SIZE, object_size="64K", **parameters) as handle:
            handle.pwrite(content, 0)
        return content

    def write_and_crash(self, content, offset=0):
        """A server that is killed before it has recorded what it has written."""
        with Nbdkit(*self.words()) as server:
            server.connect().pwrite(content, offset)
            server.process.kill()
            server.process.wait()

    def hide(self, *blocks):
        """From listings, until show_all()."""
        hidden = {name_of(block) for block in blocks}
        self.s3.listed = lambda objects: {k: v for k, v in objects.items() if k not in hidden}

    def show_all(self):
        """Listings as they should be."""
        self.s3.listed = None

    def run_verb(self, verb, *options, **parameters):
        """What nbdstack-s3 has done with the volume, and said."""
        done = run_s3_command(verb, *options, *self.words(**parameters)[1:])
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done

    def extents(self, handle):
        """(first block, blocks, flags) of the whole disk."""
        entries, found, position = [], [], 0
        size = handle.get_size()
        handle.block_status(size, 0, lambda _c, _o, these, _e: entries.extend(these))
        for length, flags in zip(entries[::2], entries[1::2]):
            found.append((position // OBJECT, length // OBJECT, flags))
            position += length
        return found

    def requests(self):
        """How many the service has had."""
        with self.s3.lock:
            return sum(self.s3.requests.values())

    def check_hidden_blocks(self, content, **parameters):
        """Everything that can go wrong with blocks 4 to 7, which no listing shows."""
        self.hide(4, 5, 6, 7)
        with self.served(**parameters) as handle:
            self.assertEqual(handle.pread(16 * OBJECT, 0), content)
            for first, blocks, flags in self.extents(handle):
                if flags:
                    self.assertGreaterEqual(first, 16, f"{blocks} blocks from {first} on are data")
            handle.pwrite(b"X" * 512, 4 * OBJECT)
            handle.zero(OBJECT, 5 * OBJECT)
            handle.trim(OBJECT, 6 * OBJECT)
        self.show_all()
        with self.served(**parameters) as handle:
            expected = b"X" * 512 + content[4 * OBJECT + 512 : 5 * OBJECT]
            self.assertEqual(handle.pread(OBJECT, 4 * OBJECT), expected)
            self.assertEqual(handle.pread(2 * OBJECT, 5 * OBJECT), bytes(2 * OBJECT))
            self.assertEqual(handle.pread(OBJECT, 7 * OBJECT), content[7 * OBJECT : 8 * OBJECT])
