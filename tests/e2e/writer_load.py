"""A volume under load from its owner and from its successor, and what must not happen to it: the
base of tests in which the owner is kept from its work for longer than its lease lasts."""

import os
import re
import signal
import unittest

from e2e.leases import LEASE_TIME
from e2e.stores import GatewayStore, gateway
from support.data import wait_until
from support.nbdkit import Nbdkit
from support.sectors import SECTOR_BYTES
from support.stamped_load import StampedLoad, run_all

SIZE = 16 << 20
SECTORS = SIZE // SECTOR_BYTES
OBJECT_SIZE = 1 << 20
SUCCESSORS_FIRST = 1_000_000  # sequence numbers of its writes
SEED = 4711


def _is_refusal(outcome):
    return outcome[-1] is not None


class LoadCase(unittest.TestCase):
    """A volume under load from its owner and its successor."""

    def open_gateway(self):
        """The store in most tests."""
        store = GatewayStore(gateway())
        self.addCleanup(store.close)
        return store

    def serve(self, store, **parameters):
        """A server, until the test ends."""
        server = Nbdkit(*self.words(store, **parameters))
        self.addCleanup(self.stop, server)
        return server

    def words(self, store, **parameters):
        """Words of nbdkit's."""
        merged = {"size": SIZE, "object_size": OBJECT_SIZE, "lease_time": LEASE_TIME}
        return store.volume(**(merged | parameters))

    @staticmethod
    def stop(server):
        """Also one that is stopped."""
        if server.returncode is None:
            os.kill(server.pid, signal.SIGCONT)
        server.stop()

    def load(self, server, model, first_sequence=0):
        """Writes on four connections, sixteen at a time."""
        return StampedLoad(server, model, SECTORS, first_sequence, SEED)

    def read_all(self, server):
        """The whole disk."""
        handle = server.connect()
        return b"".join(handle.pread(1 << 20, at) for at in range(0, SIZE, 1 << 20))

    @staticmethod
    def run_until_refused(load, owners, told):
        """Lets both work until the owner's clients, who had `told` answers before, have been told
        often enough that he writes no more."""
        run_all([load, owners], lambda: sum(map(_is_refusal, owners.outcomes[told:])) > 50)

    def take_over(self, model, successor):
        """Everything that the owner's clients were told is stored is there, and nothing torn; what
        the successor shows now is what it starts from."""
        content = self.read_all(successor)
        model.settle(content)
        return content

    def expect_shut_out(self, old, successor, outcomes, content):
        """What became of the owner's writes since it was stopped. A success is only right for what
        the store had before the successor came."""
        for sequence, first, count, failure in outcomes:
            if failure is None:
                for number in range(first, first + count):
                    found = content[number * SECTOR_BYTES : (number + 1) * SECTOR_BYTES]
                    found = int.from_bytes(found[8:16], "big")
                    self.assertEqual(found, sequence, f"sector {number}: said to be stored")
            else:
                # A request that was under way is refused by the service: its object has changed.
                self.assertIn(failure, ("ESHUTDOWN", "EIO"), old.log())
                if failure == "EIO":
                    self.assertIn("somebody else has changed this object", old.log())
        # It refuses before it has found out who came.
        lost = re.compile(f"has lost the lease to nbdkit on .*, pid {successor.pid}, since")
        wait_until(lambda: lost.search(old.log()), 60, "a word in the log about the successor")

    def expect_only_the_successors(self, store, model, successor):
        """Every sector, as it shows it and as it lies in the store."""
        model.check_stored(self.read_all(successor))
        self.assertEqual(successor.terminate(), 0, successor.log())
        reader = self.serve(store, readonly="true")
        model.check_stored(self.read_all(reader))
