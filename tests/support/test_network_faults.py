"""Which request meets which fault: SeededFaults, without a network."""

import random
import unittest

from servers.network_faults import PASSING, SeededFaults


class Choosing(unittest.TestCase):
    @staticmethod
    def request(number, method="GET", path="/b/key"):
        kind = {"number": number, "method": method, "path": path, "body_bytes": 0}
        kind |= {"is_conditional": False, "wants_object": True, "identity": (method, path)}
        kind["changes"] = method != "GET"
        return type("Request", (), kind)()

    def chosen(self, seed, count=300, paths=1000, **options):
        faults = SeededFaults(seed, 0.5, PASSING, **options)
        rng = random.Random(7)
        paths = [f"/b/{rng.randrange(paths)}" for _ in range(count)]
        return [faults.choose(self.request(n, path=p)) is not None for n, p in enumerate(paths)]

    def test_the_seed_decides(self):
        self.assertEqual(self.chosen(1), self.chosen(1))
        self.assertNotEqual(self.chosen(1), self.chosen(2))

    def test_share(self):
        self.assertTrue(0.4 < sum(self.chosen(1, 2000)) / 2000 < 0.6)

    def test_most(self):
        """An operation meets only so many faults that a client goes on."""
        faults = SeededFaults(1, 0.99, {"close": 1, "stall": 1})
        met = [faults.choose(self.request(n)) for n in range(400)]
        self.assertEqual(sum(each is not None for each in met), 3)
        other = [faults.choose(self.request(n, path="/b/other")) for n in range(400)]
        self.assertEqual(sum(each is not None for each in other), 3)
        harmless = SeededFaults(1, 0.99, {"delay": 1})
        met = [harmless.choose(self.request(n)) for n in range(400)]
        self.assertGreater(sum(each is not None for each in met), 350)

    def test_one_slow_fault_at_most(self):
        faults = SeededFaults(1, 1, {"stall": 1})
        met = [faults.choose(self.request(n)) for n in range(9)]
        self.assertEqual(sum(each is not None for each in met), 1)

    def test_faults_come_again_when_time_has_passed(self):
        faults = SeededFaults(1, 1, {"close": 1}, window_s=0)
        self.assertTrue(all(faults.choose(self.request(n)) for n in range(9)))

    def test_lasting(self):
        """An object that once met a fault meets it always."""
        faults = SeededFaults(3, 0.5, {"close": 1}, lasting=True)
        met = {}
        for number in range(600):
            path = f"/b/{number % 20}"
            met.setdefault(path, set()).add(faults.choose(self.request(number, path=path)) is None)
        self.assertTrue(all(len(each) == 1 for each in met.values()))
        self.assertEqual({True, False}, set().union(*met.values()))

    def test_only_kinds_that_fit(self):
        faults = SeededFaults(1, 1, {"cut_request": 1, "corrupt_request": 1})
        self.assertIsNone(faults.choose(self.request(1)))


if __name__ == "__main__":
    unittest.main()
