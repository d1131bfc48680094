"""The service over https, and buckets in host names: only whom we trust, and only when told."""

import unittest

from e2e.leases import lease_record
from e2e.stores import GatewayStore
from servers.rgw import RadosGateway
from support import data
from support.nbdkit import Nbdkit, run_expecting_failure

CONTENT = data.tagged(1, 0, 1 << 20)


class Https(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.gateway = RadosGateway(tls=True)
        cls.addClassCleanup(cls.gateway.stop)
        cls.gateway.start()

    def setUp(self):
        self.store = GatewayStore(self.gateway)
        self.addCleanup(self.store.close)

    def check_works(self, **parameters):
        """A volume written by one server and read by another one."""
        with Nbdkit(*self.store.volume(size="1M", object_size="64K", **parameters)) as server:
            server.connect().pwrite(CONTENT, 0)
        with Nbdkit(*self.store.volume(**parameters)) as server:
            self.assertEqual(server.connect().pread(1 << 20, 0), CONTENT)
        self.assertEqual(len(self.store.block_keys()), 16)

    def check_refused(self, *expected, **parameters):
        """Refused at the start, in words that say why."""
        volume = self.store.volume(size="1M", **parameters)
        _, errors = run_expecting_failure(*volume, timeout_s=15)
        for words in expected:
            self.assertIn(words, errors)

    def test_certificate_of_a_trusted_authority(self):
        """A certificate of the authority in ca-file= is accepted."""
        self.check_works(ca_file=self.gateway.ca_file)

    def test_certificate_of_somebody(self):
        """A certificate of an unknown authority is refused before anything is sent."""
        self.check_refused("certificate")
        self.assertEqual(self.store.keys(), [])

    def test_certificate_that_is_not_looked_at(self):
        """With tls-verify=false any certificate is accepted."""
        self.check_works(tls_verify="false")

    def test_authorities_that_cannot_be_read(self):
        """A ca-file= that cannot be read ends the start."""
        self.check_refused("/nonexistent", ca_file="/nonexistent")

    def test_the_lease_is_given_back_where_the_start_fails_late(self):
        """A start that fails late gives the lease back, over TLS."""
        volume = self.store.volume(size="1M", ca_file=self.gateway.ca_file)
        cache = "--filter=cache"
        for words in (
            [cache, *volume, "cache-dir=/nonexistent/a/b"],
            [cache, "-P", "/nonexistent/pid", *volume],
        ):
            _, errors = run_expecting_failure(*words)
            self.assertIn("/nonexistent", errors)
            self.assertEqual(lease_record(self.store)["state"], "released")

    def test_bucket_in_the_host_name(self):
        """With virtual-host=true the bucket is in the host's name, in request and signature."""
        self.check_works(
            endpoint_url=self.gateway.virtual_host_endpoint, virtual_host="true",
            ca_file=self.gateway.ca_file,
        )  # fmt: skip


if __name__ == "__main__":
    unittest.main()
