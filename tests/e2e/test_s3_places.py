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
        """A bucket in another region is found by one request, and all others go there."""
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
        """nbdstack-s3 finds it, too."""
        with self.serve(f"size={len(CONTENT)}"):
            pass
        done = run_s3_command("show", *self.parameters, environment=self.environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("bucket disk is in region eu-west-1", done.stderr)

    def test_a_second_redirect_says_what_to_set(self):
        """A second redirect is an error that says what to set."""
        self.moved[THERE] = {"x-amz-bucket-region": "ap-south-1"}
        with self.assertRaisesRegex(NbdkitError, "301 PermanentRedirect.*set region"):
            self.serve("size=1M")
        self.assertEqual(set(self.signed_for), {(HERE, "us-east-1"), (THERE, "eu-west-1")})

    def test_foreign_hosts_and_partitions_get_nothing(self):
        """A redirect to a foreign host or partition is not followed: no credentials go there."""
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

    def live(self, bucket, endpoint, *words):
        """A volume's whole life in `bucket`; the server's log."""
        self.parameters = [
            f"bucket={bucket}", f"endpoint-url=http://{endpoint}", "access-key=any",
            "secret-key=any", *words,
        ]  # fmt: skip
        with self.serve(f"size={len(CONTENT)}") as server:
            disk = server.connect()
            disk.pwrite(CONTENT, 0)
            disk.flush()
            self.s3.sessions.end_all()
            disk.zero(MIB, 0)
            disk.flush()
            self.assertEqual(disk.pread(MIB, MIB), CONTENT[MIB : 2 * MIB])
        with self.serve("readonly=true") as server:
            self.assertEqual(server.connect().pread(2 * MIB, 0), bytes(MIB) + CONTENT[MIB : 2 * MIB])
        for words in ("show",), ("list",), ("check",), ("delete", "--yes"):
            done = run_s3_command(*words, *self.parameters, environment=self.environment)
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_an_access_point(self):
        """The ARN of an access point is asked for at its own host and region."""
        arn = "arn:aws:s3:eu-west-1:123456789012:accesspoint/disks"
        vpce = "vpce-1.s3.eu-west-1.vpce.amazonaws.com"
        host = f"disks-123456789012.{vpce}"
        self.s3.hosts[host] = "disk"
        self.live(f"s3://{arn}/vol", vpce)
        self.assertEqual(set(self.signed_for), {(host, "eu-west-1")})
        self.assertEqual(self.s3.buckets["disk"], {})

    def test_an_arn_that_is_none_is_refused(self):
        """A malformed ARN is refused, with what is wrong with it."""
        with self.assertRaisesRegex(NbdkitError, "bucket: arn:.*SigV4A"):
            Nbdkit(
                "s3", "bucket=arn:aws:s3::123456789012:accesspoint/x.mrap", "access-key=any",
                "secret-key=any", "size=1M",
            )  # fmt: skip

    def test_a_url_is_a_bucket_and_a_key(self):
        """bucket=s3://BUCKET/KEY is a bucket and a key."""
        self.moved = {}
        self.live("s3://disk/vol", HERE)
        self.parameters[0] = "s3://disk/vol"  # the magic key
        with self.serve("size=1M"):
            self.assertTrue(all(key.startswith("vol/") for key in self.s3.buckets["disk"]))
            self.assertTrue(self.s3.buckets["disk"])

    def test_a_directory_bucket(self):
        """A directory bucket is used by sessions that are renewed, and without what only general
        purpose buckets know."""
        name = "disk--use1-az4--x-s3"
        zonal = "s3express-use1-az4.us-east-1.amazonaws.com"
        self.s3.buckets[name] = {}
        self.s3.hosts[f"{name}.{zonal}"] = name
        self.live(name, zonal, "key=vol")
        self.assertEqual(set(self.signed_for), {(f"{name}.{zonal}", "us-east-1")})
        self.assertEqual(self.s3.buckets[name], {})
        # Two servers and four commands, and the session that ended.
        self.assertEqual(self.s3.sessions.created, 7)


if __name__ == "__main__":
    unittest.main()
