"""nbdstack-s3 check: what is damaged is named, and nothing else."""

import unittest

from e2e.s3_command_case import CONTENT, FULL, OBJECT, OnADirectory, OnAService, VerbsCase
from servers import faults
from servers.faulty_http import FaultyProxy


class Check:
    """The same on every store."""

    def test_check_finds_nothing_in_a_good_volume(self):
        """`check` finds nothing in a good volume."""
        self.fill()
        done = self.run_verb("check")
        self.assertEqual(done.stdout, "")
        self.assertIn(f"{FULL} object(s) checked", done.stderr)

    def test_check_names_what_is_damaged(self):
        """`check` names the damaged objects, and no others."""
        self.fill()
        keys = self.store.block_keys()
        self.store.corrupt(keys[3], 100)
        self.store.truncate(keys[5], OBJECT // 2)
        done = self.run_verb("check", retries=0, code=1)
        self.assertEqual(sorted(done.stdout.split()), [keys[3], keys[5]])
        self.assertIn(f"{FULL} object(s) checked", done.stderr)
        self.assertIn("2 damaged", done.stderr)
        self.store.corrupt(keys[3], 100)
        self.write(CONTENT)
        self.run_verb("check")

    def test_check_of_an_encrypted_volume(self):
        """`check` finds damage in an encrypted volume, and a block in another one's place."""
        self.fill(encrypt="aes-256-gcm", passphrase="secret", compress="zstd")
        self.run_verb("check", passphrase="secret")
        self.run_verb("check", passphrase="wrong", code=1)
        keys = self.store.block_keys()
        self.store.corrupt(keys[2], 50)
        self.store.replace(keys[7], self.store.body(keys[8]))
        done = self.run_verb("check", passphrase="secret", retries=0, code=1)
        self.assertEqual(sorted(done.stdout.split()), [keys[2], keys[7]])


class CheckOnADirectory(Check, OnADirectory, VerbsCase):
    """A local one."""


class CheckOnAService(Check, OnAService, VerbsCase):
    """Ceph's gateway."""

    def test_check_of_a_service_that_goes_away_blames_no_object(self):
        """When the service goes away, `check` ends with an error, and calls no object damaged."""
        self.fill()
        with FaultyProxy(self.store.server.endpoint) as proxy:
            proxy.behaviour = lambda request: (
                faults.status(503, "SlowDown")
                if request.method in ("GET", "HEAD") and request.path.endswith("7")
                else None
            )
            done = self.run_verb("check", code=1, endpoint_url=proxy.endpoint, retries=0)
        self.assertEqual(done.stdout, "")
        self.assertIn("SlowDown", done.stderr)


if __name__ == "__main__":
    unittest.main()
