"""A writer that is stopped for longer than its lease lasts. Whoever took the volume over meanwhile
finds nothing of his overwritten, in any sector."""

import os
import signal
import time
import unittest

from e2e.leases import EXPIRY_S, lease_record
from e2e.stores import LocalStore
from e2e.writer_load import SECTORS, SUCCESSORS_FIRST, LoadCase
from support.sectors import SectorModel
from support.stamped_load import finish, run_all, run_for
from support.start_line import race


class Frozen(LoadCase):
    """SIGSTOP while it writes, SIGCONT when a successor does."""

    def freeze(self, store, **of_the_owner):
        """The whole story."""
        model = SectorModel(SECTORS)
        old = self.serve(store, **of_the_owner)
        old_load = self.load(old, model)
        run_for([old_load], 2)
        run_all([old_load], lambda: old_load.acknowledged > 0)
        os.kill(old.pid, signal.SIGSTOP)
        start = time.monotonic()
        successor = self.serve(store, own="lease")
        self.assertLess(time.monotonic() - start, 3 * EXPIRY_S)
        self.assertRegex(successor.log(), f"taken over: .*pid {old.pid}.*has stopped renewing it")
        old_load.pump()  # what was answered before
        self.assertTrue(old_load.pending)
        content = self.take_over(model, successor)
        told = len(old_load.outcomes)

        old_load.model = None
        load = self.load(successor, model, SUCCESSORS_FIRST)
        run_for([load], 0.5)
        os.kill(old.pid, signal.SIGCONT)
        self.run_until_refused(load, old_load, told)
        old_load.is_sending = False
        run_all([load, old_load], lambda: not old_load.pending)
        finish(load)
        self.assertEqual({failure for *_, failure in load.outcomes}, {None}, successor.log())
        self.expect_shut_out(old, successor, old_load.outcomes[told:], content)
        self.assertEqual(old.terminate(), 0, old.log())
        self.assertEqual(lease_record(store)["pid"], successor.pid)
        self.expect_only_the_successors(store, model, successor)

    def test_over_a_gateway(self):
        """As fast as it goes."""
        self.freeze(self.open_gateway())

    def test_in_the_middle_of_its_uploads(self):
        """Slow ones: each takes a second, so that it is stopped in the middle of several, and the
        service waits for the rest of them."""
        self.freeze(self.open_gateway(), upload_limit="16M")

    def test_in_a_directory(self):
        """Stopped between its system calls."""
        store = LocalStore()
        self.addCleanup(store.close)
        self.freeze(store)

    def test_two_successors_at_once(self):
        """Both watch the same lease run out: one takes it."""
        store = self.open_gateway()
        old = self.serve(store)
        os.kill(old.pid, signal.SIGSTOP)
        words = self.words(store, own="lease")
        servers, refusals = race([words, words])
        for server in servers:
            self.addCleanup(server.stop)
        self.assertEqual((len(servers), len(refusals)), (1, 1), refusals)
        self.assertIn("has a writer", refusals[0])
        servers[0].connect()
        self.assertEqual(lease_record(store)["pid"], servers[0].pid)


if __name__ == "__main__":
    unittest.main()
