"""A writer that cannot reach the store for longer than its lease lasts: it stops writing in time,
and goes on when the store is back, unless somebody else has the volume by then."""

import time
import unittest

from e2e.leases import EXPIRY_S
from e2e.stores import gateway
from e2e.writer_load import SECTORS, SUCCESSORS_FIRST, LoadCase
from servers import faults
from servers.faulty_http import FaultyProxy
from support.data import wait_until
from support.sectors import SectorModel
from support.stamped_load import finish, run_all, run_for

# Of requests, where the store does not answer: longer than the lease allows.
TIMEOUT = "6s"


class CutOff(LoadCase):
    """The store does not answer it for a while."""

    def setUp(self):
        self.store = self.open_gateway()
        self.proxy = self.enterContext(FaultyProxy(gateway().endpoint))
        self.model = SectorModel(SECTORS)
        self.server = self.serve(self.store, endpoint_url=self.proxy.endpoint, timeout=TIMEOUT)
        self.owner_load = self.load(self.server, self.model)
        run_for([self.owner_load], 1)

    def cut_off(self):
        """Nothing gets through, until every write is refused."""
        self.proxy.behaviour = lambda request: faults.drop_before()
        self.cut_off_at = time.monotonic()
        before = len(self.owner_load.outcomes)

        def failures():
            return {failure for *_, failure in self.owner_load.outcomes[before:]} - {None}

        run_all([self.owner_load], lambda: "ESHUTDOWN" in failures())
        self.owner_load.is_sending = False
        run_all([self.owner_load], lambda: not self.owner_load.pending)
        # What a write has to read first is not forbidden, but was not to be had.
        self.assertLessEqual(failures(), {"ESHUTDOWN", "EIO", "ETIMEDOUT"}, self.server.log())
        wait_until(
            lambda: "could not be renewed in time" in self.server.log(), 5, "a word in the log"
        )

    def test_an_outage_and_nobody_came(self):
        """The lease is renewed and the writes go on, without a restart."""
        self.cut_off()
        time.sleep(max(0, self.cut_off_at + EXPIRY_S - time.monotonic()))
        self.proxy.behaviour = None
        before = self.owner_load.acknowledged
        self.owner_load.is_sending = True
        run_all([self.owner_load], lambda: self.owner_load.acknowledged > before + 20)
        finish(self.owner_load)
        self.assertEqual(self.server.log().count("writes are accepted again"), 1)
        self.expect_only_the_successors(self.store, self.model, self.server)

    def test_somebody_came_meanwhile(self):
        """When another server came meanwhile, the one that was cut off never writes again."""
        self.cut_off()
        successor = self.serve(self.store, own="lease")
        content = self.take_over(self.model, successor)
        load = self.load(successor, self.model, SUCCESSORS_FIRST)
        run_for([load], 0.5)
        told = len(self.owner_load.outcomes)
        self.owner_load.model, self.owner_load.is_sending = None, True
        self.proxy.behaviour = None
        self.run_until_refused(load, self.owner_load, told)
        self.owner_load.is_sending = False
        run_all([load, self.owner_load], lambda: not self.owner_load.pending)
        finish(load)
        self.assertEqual({failure for *_, failure in load.outcomes}, {None}, successor.log())
        outcomes = self.owner_load.outcomes[told:]
        self.expect_shut_out(self.server, successor, outcomes, content)
        self.expect_only_the_successors(self.store, self.model, successor)


if __name__ == "__main__":
    unittest.main()
