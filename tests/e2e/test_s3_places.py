"""Where a bucket is: AWS's hosts, played by a server that stands in as everybody's proxy."""

import collections
import unittest

from servers.memory_s3 import MemoryS3
from support import data
from support.nbdkit import Nbdkit, NbdkitError
from support.s3_command import run_s3_command

MIB = 1 << 20
CONTENT = data.tagged(1, 0, 4 * MIB)
HERE = "s3.us-east-1.amazonaws.com"
THERE = "s3.eu-west-1.amazonaws.com"


class Places(unittest.TestCase):
    def setUp(self):
        self.s3 = MemoryS3({"disk": {}})
        self.s3.start()
        self.addCleanup(self.s3.stop)
        self.signed_for = collections.Counter()  # (host, region) of requests
        self.moved = {HERE: {"x-amz-bucket-region": "eu-west-1"}}  # where a host says the bucket is
        self.s3.refusal = self.redirect
        # Requests to every host come to the server; tests have no names and no certificates of AWS.
        self.environment = {"http_proxy": self.s3.endpoint, "no_proxy": None}
        self.parameters = [
            "bucket=disk", "key=vol", f"endpoint-url=http://{HERE}", "access-key=any",
            "secret-key=any",
        ]  # fmt: skip

    def redirect(self, request):
        """MemoryS3.refusal, by self.moved."""
        host = request.headers["Host"]
        region = request.headers["Authorization"].split("/")[2]
        self.signed_for[host, region] += 1
        if host in self.moved:
            return 301, "PermanentRedirect", dict(self.moved[host])
        return None

    def serve(self, *words):
        """A server over the bucket."""
        return Nbdkit("s3", *self.parameters, *words, environment=self.environment)

    def test_a_bucket_in_another_region_is_found_once(self):
        """Every request takes the detour, or none gets there."""
        with self.serve(f"size={len(CONTENT)}") as server:
            disk = server.connect()
            disk.pwrite(CONTENT, 0)
            disk.flush()
            self.assertEqual(disk.pread(MIB, MIB), CONTENT[MIB : 2 * MIB])
            log = server.log()
        self.assertEqual(log.count("bucket disk is in region eu-west-1"), 1, log)
        self.assertEqual(set(self.signed_for), {(HERE, "us-east-1"), (THERE, "eu-west-1")})
        self.assertEqual(self.signed_for[HERE, "us-east-1"], 1)
        with self.serve("region=eu-west-1", f"endpoint-url=http://{THERE}") as server:
            self.assertEqual(server.connect().pread(MIB, 0), CONTENT[:MIB])
            self.assertNotIn("is in region", server.log())

    def test_the_command_finds_it_too(self):
        """nbdstack-s3 stops at the redirect."""
        with self.serve(f"size={len(CONTENT)}"):
            pass
        done = run_s3_command("show", *self.parameters, environment=self.environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("bucket disk is in region eu-west-1", done.stderr)

    def test_a_second_redirect_says_what_to_set(self):
        """A server that is sent in circles, or an error that leaves its user alone."""
        self.moved[THERE] = {"x-amz-bucket-region": "ap-south-1"}
        with self.assertRaisesRegex(NbdkitError, "301 PermanentRedirect.*set region"):
            self.serve("size=1M")
        self.assertEqual(set(self.signed_for), {(HERE, "us-east-1"), (THERE, "eu-west-1")})

    def test_foreign_hosts_and_partitions_get_nothing(self):
        """Credentials for whoever a forged or misled answer names."""
        for headers, named in (
            ({"Location": "https://evil.example/disk", "x-amz-bucket-region": "eu-west-1"},
             "evil.example"),
            ({"Location": "https://s3.amazonaws.com.evil.example/"}, "evil.example"),
            ({"x-amz-bucket-region": "cn-north-1"}, "cn-north-1"),
        ):  # fmt: skip
            with self.subTest(headers=headers):
                self.moved[HERE] = headers
                with self.assertRaisesRegex(NbdkitError, f"{named}.*no credentials are sent"):
                    self.serve("size=1M")
        self.assertEqual(set(self.signed_for), {(HERE, "us-east-1")})


if __name__ == "__main__":
    unittest.main()
