"""A writer that was suspended, or stopped, for longer than its lease lasts while nobody came: it
renews its lease first and answers then, and its clients notice nothing but the time."""

import os
import signal
import time
import unittest

import nbd

from e2e.leases import EXPIRY_S, LEASE_TIME, lease_record
from e2e.stores import LocalStore
from e2e.writer_load import SECTORS, LoadCase
from support.data import random_bytes
from support.nbdkit import Nbdkit
from support.sectors import SectorModel
from support.stamped_load import finish, run_all, run_for

SIZE = 1 << 20


class Wakes(LoadCase):
    """SIGSTOP, a night, SIGCONT."""

    def sleep(self, server):
        """For longer than anybody would wait for it."""
        os.kill(server.pid, signal.SIGSTOP)
        time.sleep(EXPIRY_S)
        os.kill(server.pid, signal.SIGCONT)

    def test_the_first_flush_through_a_cache(self):
        """The first flush after a wake-up succeeds: were it to fail, ext4 would go read-only."""
        store = LocalStore()
        self.addCleanup(store.close)
        words = store.volume(size=SIZE, lease_time=LEASE_TIME)
        server = Nbdkit("--filter=cache", *words)
        self.addCleanup(self.stop, server)
        handle = server.connect()
        content = random_bytes(1, SIZE)
        handle.pwrite(content, 0)
        self.sleep(server)
        handle.flush()
        self.assertEqual(lease_record(store)["pid"], server.pid)
        self.sleep(server)
        handle.pwrite(b"y" * 4096, 0, nbd.CMD_FLAG_FUA)
        self.assertEqual(server.terminate(), 0, server.log())
        self.assertEqual(server.log(), "")
        with Nbdkit(*store.volume(readonly="true")) as reader:
            stored = reader.connect().pread(SIZE, 0)
        self.assertEqual(stored, b"y" * 4096 + content[4096:])

    def test_in_the_middle_of_its_writes(self):
        """Those that were cut off are done again: none fails, none is lost."""
        local = LocalStore()
        self.addCleanup(local.close)
        for store, parameters in ((self.open_gateway(), {"upload_limit": "16M"}), (local, {})):
            with self.subTest(type(store).__name__):
                model = SectorModel(SECTORS)
                server = self.serve(store, **parameters)
                load = self.load(server, model)
                run_for([load], 2)
                run_all([load], lambda: load.acknowledged > 0)
                self.sleep(server)
                before = load.acknowledged
                run_all([load], lambda: load.acknowledged > before + 20)
                finish(load)
                self.assertEqual({failure for *_, failure in load.outcomes}, {None}, server.log())
                self.expect_only_the_successors(store, model, server)


if __name__ == "__main__":
    unittest.main()
