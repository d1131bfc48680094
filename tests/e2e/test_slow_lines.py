"""A volume at the other end of a slow line: all arrives, nothing fails, and the lease is kept.

Each case is a program in a network namespace of its own (slow_line_load.py), and all of them run at
the same time: they wait for their lines, and hardly compute. What is asserted of speed is a share of
what the line carries. A line of 100 Mbit/s, where this machine's load would count too, is measured
by bench/slow-lines.
"""

import concurrent.futures
import json
import unittest

from servers.slow_line import inside_namespace

LEASE_VALIDITY_S = 25  # of the default lease-time
CASES = {
    "1 Mbit/s, 20 ms": {"rate_mbit_s": 1, "round_trip_ms": 20, "write_mib": 4},
    "1 Mbit/s, 200 ms": {"rate_mbit_s": 1, "round_trip_ms": 200, "write_mib": 4},
    "4 Mbit/s, 20 ms": {"rate_mbit_s": 4, "round_trip_ms": 20, "write_mib": 16},
    "4 Mbit/s, 200 ms": {"rate_mbit_s": 4, "round_trip_ms": 200, "write_mib": 16},
    # Sixteen uploads, each of which is within its place, and small requests behind them.
    "small objects": {
        "rate_mbit_s": 1, "round_trip_ms": 200, "write_mib": 4,
        "parameters": {"object-size": "64k"},
    },
    # A queue that is as long as it is let become: the lease's requests stand in it.
    "12 s of queue": {"rate_mbit_s": 1, "round_trip_ms": 200, "write_mib": 4, "queue_s": 12},
    "read, 12 s of queue": {"rate_mbit_s": 1, "round_trip_ms": 200, "read_mib": 4, "queue_s": 12},
    # A renewal over a new connection takes two round trips, and the queue.
    "1200 ms, 12 s of queue": {
        "rate_mbit_s": 1, "round_trip_ms": 1200, "write_mib": 4, "queue_s": 12, "share_min": 0.6,
    },
    "read, 1200 ms, 12 s of queue": {
        "rate_mbit_s": 1, "round_trip_ms": 1200, "read_mib": 4, "queue_s": 12, "share_min": 0.6,
    },
    "shared": {"rate_mbit_s": 4, "round_trip_ms": 20, "write_mib": 8, "rival": True},
    "shared, 1 Mbit/s": {"rate_mbit_s": 1, "round_trip_ms": 200, "write_mib": 2, "rival": True},
    "read": {"rate_mbit_s": 4, "round_trip_ms": 200, "read_mib": 16},
    "read, 1 Mbit/s": {"rate_mbit_s": 1, "round_trip_ms": 20, "read_mib": 4},
}  # fmt: skip
# Of the line in data, or of a half of it.
SHARE_MIN = 0.85
SHARED_MIN = 0.4


def run(wanted):
    """What slow_line_load.py says."""
    ended = inside_namespace("e2e.slow_line_load", json.dumps(wanted))
    if ended.returncode != 0:
        raise AssertionError(ended.stdout)
    return json.loads(ended.stdout.splitlines()[-1])


class SlowLines(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with concurrent.futures.ThreadPoolExecutor(len(CASES)) as pool:
            cls.results = dict(zip(CASES, pool.map(run, CASES.values())))

    def check(self, of):
        """Calls `of` with the name, the case and the result of each."""
        for name, result in self.results.items():
            with self.subTest(name, result=result):
                of(CASES[name], result)

    def test_nothing_is_lost_and_nothing_fails(self):
        """On a slow line nothing is lost, nothing fails, and nothing is sent twice."""

        def of(_, result):
            self.assertEqual(result["errors"], [])
            self.assertEqual(result["log"], "")
            self.assertTrue(result["is_whole"])

        self.check(of)

    def test_the_lease_is_renewed_in_time(self):
        """The lease is renewed in time, before megabytes that wait."""

        def of(_, result):
            self.assertGreaterEqual(result["renewals"], 2)
            self.assertLess(result["longest_gap_s"], LEASE_VALIDITY_S)

        self.check(of)

    def test_the_line_is_full_of_data(self):
        """The line is full of data that are carried once."""

        def of(wanted, result):
            least = wanted.get("share_min", SHARED_MIN if wanted.get("rival") else SHARE_MIN)
            for way in ("write_share", "read_share"):
                self.assertGreaterEqual(result.get(way, 1), least, way)

        self.check(of)


if __name__ == "__main__":
    unittest.main()
