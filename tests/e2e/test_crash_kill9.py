"""SIGKILL at random moments: what was flushed is there, the rest is old or new (crash/kill9.py)."""

import pathlib
import tempfile
import unittest

from crash.kill9 import Harness, RoundFailed

SEED = 3  # of what is sent; when the server dies is up to the clock


class KillNine(unittest.TestCase):
    def harness(self, cache):
        """A harness in a directory on a disk, because a cache directory is meant for one."""
        folder = tempfile.TemporaryDirectory(prefix="kill9-", dir="/var/tmp")
        self.addCleanup(folder.cleanup)
        return Harness(pathlib.Path(folder.name), SEED, cache)

    def test_cache_directory_survives(self):
        """Flushed data survive a kill in the middle of requests, of write-back and of a start, with
        either cache-flush."""
        harness = self.harness("directory")
        harness.run(100)
        self.assertGreaterEqual(harness.totals.killed, 70)
        self.assertGreater(harness.totals.killed_at_start, 5)
        self.assertGreater(harness.totals.flushes, 100)
        self.assertGreater(harness.totals.choice, 1000)

    def test_encrypted_cache_directory_survives(self):
        """So they do with cache-encrypt, also where a page was being overwritten."""
        harness = self.harness("encrypted")
        harness.run(30)
        self.assertGreaterEqual(harness.totals.killed, 20)
        self.assertGreater(harness.totals.flushes, 20)
        self.assertGreater(harness.totals.choice, 200)

    def test_cache_without_directory_stores_below(self):
        """Without cache-dir, what a FLUSH has acknowledged is below."""
        self.harness("temporary").run(30)

    def test_harness_can_fail(self):
        """The control: nbdkit's own filter, which drops dirty blocks when it is full, is found out.
        """
        with self.assertRaisesRegex(RoundFailed, "sector .* right would be"):
            self.harness("peer").run(100)


if __name__ == "__main__":
    unittest.main()
