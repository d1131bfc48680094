"""Two servers that start on one volume at the same moment: one of them serves."""

import concurrent.futures
import re
import socket
import unittest

from e2e.leases import LEASE_TIME, lease_record
from e2e.stores import GatewayStore, LocalStore, gateway
from support import sectors
from support.start_line import race

SIZE = 1 << 20
OBJECT_SIZE = 64 << 10
FILE_ROUNDS, FILE_VOLUMES = 80, 4
GATEWAY_ROUNDS, GATEWAY_VOLUMES = 24, 3


class Race:
    """Rounds on one volume, of which each begins as the one before has left it: with no volume at
    all, with a lease that was given back, with one whose owner was killed, and so on."""

    def __init__(self, test, store, key):
        self._test, self._store, self._key = test, store, key
        self._expected = bytearray(SIZE)

    def run(self, rounds):
        """All of them."""
        for number in range(rounds):
            try:
                self._round(number)
            except AssertionError as error:
                where = f"{self._store.name}, {self._key}, round {number}"
                raise AssertionError(f"{where}: {error}") from None

    def _round(self, number):
        words = self._store.volume(
            key=self._key, size=SIZE, object_size=OBJECT_SIZE, lease_time=LEASE_TIME, own="lease"
        )
        servers, refusals = race([words, words])
        try:
            texts = [server.log() for server in servers] + refusals
            self._test.assertEqual((len(servers), len(refusals)), (1, 1), texts)
            winner = servers[0]
            self._check_refusal(refusals[0], winner.pid)
            self._check_disk(winner, number)
            self._check_record(winner.pid)
            if number % 2:
                winner.kill()
            else:
                self._test.assertEqual(winner.terminate(), 0, winner.log())
        finally:
            for server in servers:
                server.stop()

    def _check_refusal(self, text, pid):
        """It names the owner."""
        owner = re.search(r"nbdkit on (\S+), pid (\d+), since 20\d\d-", text)
        self._test.assertTrue(owner, text)
        self._test.assertEqual(owner[1], socket.gethostname())
        self._test.assertEqual(owner[2], str(pid), text)
        self._test.assertIn("own=force", text)

    def _check_record(self, pid):
        """The lease is the winner's."""
        record = lease_record(self._store, self._key)
        self._test.assertEqual((record["state"], record["pid"]), ("held", pid))

    def _check_disk(self, winner, number):
        """What all winners before have written is there, and this one writes too."""
        handle = winner.connect()
        self._test.assertEqual(handle.pread(SIZE, 0), self._expected)
        first = number * 5 % (SIZE // sectors.SECTOR_BYTES)
        content = sectors.stamped(first, 5, number + 1)
        offset = first * sectors.SECTOR_BYTES
        handle.pwrite(content, offset)
        self._expected[offset : offset + len(content)] = content
        self._test.assertEqual(handle.pread(len(content), offset), content)


class StartedAtOnce(unittest.TestCase):
    """100 rounds and a few more. Several volumes at a time: a loser looks twice, a second apart."""

    def run_rounds(self, store, volumes, rounds):
        """On so many volumes at a time."""
        with concurrent.futures.ThreadPoolExecutor(volumes) as pool:
            races = [Race(self, store, f"race-{number}") for number in range(volumes)]
            for done in [pool.submit(each.run, rounds // volumes) for each in races]:
                done.result()

    def test_in_a_directory(self):
        """Conditions kept by the file system."""
        store = LocalStore()
        self.addCleanup(store.close)
        self.run_rounds(store, FILE_VOLUMES, FILE_ROUNDS)

    def test_over_a_gateway(self):
        """Conditions kept by Ceph's gateway."""
        store = GatewayStore(gateway())
        self.addCleanup(store.close)
        self.run_rounds(store, GATEWAY_VOLUMES, GATEWAY_ROUNDS)

    def test_many_at_once(self):
        """Not only two."""
        store = LocalStore()
        self.addCleanup(store.close)
        words = store.volume(size=SIZE, lease_time=LEASE_TIME)
        servers, refusals = race([words] * 8)
        for server in servers:
            self.addCleanup(server.stop)
        self.assertEqual((len(servers), len(refusals)), (1, 7), refusals)


if __name__ == "__main__":
    unittest.main()
