"""What the tests of nbdstack-s3 share: a volume in a store, and its verbs as a user runs them."""

import json
import unittest

from e2e.stores import GatewayStore, LocalStore, gateway
from support import data
from support.nbdkit import Nbdkit
from support.s3_command import run_s3_command

KIB, MIB = 1 << 10, 1 << 20
OBJECT = 64 * KIB
SIZE = 1 * MIB
CONTENT = data.tagged(1, 0, SIZE)
FULL, HALF = SIZE // OBJECT, SIZE // OBJECT // 2


class VerbsCase(unittest.TestCase):
    """The volume is "vm", in a store that make_store() makes."""

    def setUp(self):
        self.store = self.make_store()
        self.addCleanup(self.store.close)

    def words(self, **parameters):
        """NAME=VALUE for the volume."""
        return self.store.volume(**({"key": "vm"} | parameters))[1:]

    def run_verb(self, verb, *options, code=0, input_text=None, **parameters):
        """Runs a verb and checks its exit code."""
        done = run_s3_command(verb, *options, *self.words(**parameters), input_text=input_text)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        if code != 0 and verb != "check":
            self.assertRegex(done.stderr, r"(?m)^nbdstack-s3: error: ")
        return done

    def serve(self, **parameters):
        """A server of the volume until the end of the test."""
        server = Nbdkit(*self.store.volume(**({"key": "vm"} | parameters)))
        self.addCleanup(server.stop)
        return server

    def fill(self, content=CONTENT, **parameters):
        """Creates the volume and writes `content` to it."""
        self.run_verb("create", size=len(content), object_size=OBJECT, **parameters)
        self.write(content, **parameters)

    def write(self, content, **parameters):
        """Writes from the beginning on."""
        with Nbdkit(*self.store.volume(key="vm", **parameters)) as server:
            handle = server.connect()
            handle.pwrite(content, 0)
            handle.flush()

    def read(self, count, **parameters):
        """Reads from the beginning on."""
        with Nbdkit(*self.store.volume(key="vm", **parameters)) as server:
            handle = server.connect()
            self.assertEqual(handle.get_size(), count)
            return handle.pread(count, 0)

    def shown(self, **parameters):
        """What show --json says."""
        return json.loads(self.run_verb("show", "--json", **parameters).stdout)


class OnADirectory:
    """endpoint-url=file://..."""

    make_store = staticmethod(LocalStore)


class OnAService:
    """Ceph RGW."""

    @staticmethod
    def make_store():
        """A bucket of its own."""
        return GatewayStore(gateway())
