"""The S3 client signs right, and the S3 server is one that would notice if it did not."""

import concurrent.futures
import contextlib
import hashlib
import pathlib
import ssl
import unittest

from servers import faults
from servers.faulty_http import FaultyProxy
from servers.rgw import RadosGateway, RadosGatewayError
from support import data, s3_client


def running_with(text):
    """Command lines, of any process, that contain `text`."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # ended meanwhile
            found.append(path.read_bytes().decode(errors="replace"))
    return [line for line in found if text in line]


class Signature(unittest.TestCase):
    def test_published_example(self):
        # AWS, "Signature Calculations for the Authorization Header", example: GET Object.
        empty = hashlib.sha256(b"").hexdigest()
        headers = {
            "host": "examplebucket.s3.amazonaws.com",
            "range": "bytes=0-9",
            "x-amz-content-sha256": empty,
            "x-amz-date": "20130524T000000Z",
        }
        value = s3_client.sign(
            "GET", "/test.txt", "", headers, empty, "AKIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1",
        )  # fmt: skip
        expected = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        self.assertTrue(value.endswith(f"Signature={expected}"), value)


class Gateway(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.s3 = RadosGateway()
        cls.s3.start()
        cls.addClassCleanup(cls.s3.stop)
        cls.client = cls.s3.client()

    def setUp(self):
        self.client.create_bucket("disk")
        self.addCleanup(self.client.delete_bucket, "disk")

    def refusal(self, client, *request, **rest):
        """The error code of a request that must fail."""
        with self.assertRaises(s3_client.S3Error) as caught:
            client.put(*request, **rest)
        return caught.exception.code

    def test_objects_come_back_with_metadata_and_ranges(self):
        key, body = "a b/ü+%/0001", data.random_bytes(1, 100_000)
        self.client.put("disk", key, body, {"x-amz-meta-colour": "blue"})
        self.assertEqual(self.client.get("disk", key), body)
        self.assertEqual(self.client.get("disk", key, 10, 19), body[10:20])
        self.assertEqual(self.client.metadata("disk", key), {"colour": "blue"})
        self.assertEqual([o.size_bytes for o in self.client.list("disk", "a b/")], [100_000])
        self.client.delete("disk", key)
        self.assertEqual(self.client.keys("disk"), [])

    def test_listing_goes_on_past_the_first_page(self):
        keys = [f"{i:016x}" for i in range(1005)]
        for key in keys:
            self.client.put("disk", key, b"")
        self.assertEqual(self.client.keys("disk"), keys)

    def test_wrong_keys_bodies_and_buckets_are_refused(self):
        wrong = self.s3.client(secret_key="wrong")
        self.assertEqual(self.refusal(wrong, "disk", "k", b"x"), "SignatureDoesNotMatch")
        unknown = self.s3.client(access_key="nobody")
        self.assertEqual(self.refusal(unknown, "disk", "k", b"x"), "InvalidAccessKeyId")
        self.assertEqual(self.refusal(self.client, "none", "k", b"x"), "NoSuchBucket")
        digest = {"Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}
        self.assertEqual(self.refusal(self.client, "disk", "k", b"x", headers=digest), "BadDigest")

    def test_killed_gateway_keeps_the_data(self):
        self.client.put("disk", "k", b"kept")
        self.s3.kill_gateway()
        with self.assertRaises(ConnectionRefusedError):
            self.client.get("disk", "k")
        self.s3.start_gateway()
        self.assertEqual(self.client.get("disk", "k"), b"kept")

    def test_suspended_user_is_refused_until_enabled(self):
        self.s3.suspend_user()
        try:
            self.assertEqual(self.refusal(self.client, "disk", "k", b"x"), "UserSuspended")
        finally:
            self.s3.enable_user()
        self.client.put("disk", "k", b"x")

    def test_quota_is_enforced_until_lifted(self):
        self.s3.set_user_quota(1 << 20)
        try:
            self.client.put("disk", "fits", bytes(1 << 19))
            code = self.refusal(self.client, "disk", "too-much", bytes(1 << 20))
            self.assertEqual(code, "QuotaExceeded")
        finally:
            self.s3.set_user_quota(None)
        self.client.put("disk", "too-much", bytes(1 << 20))

    def test_server_stays_small_enough_to_run_beside_a_build(self):
        self.assertLess(self.s3.memory_bytes(), 500 << 20)

    def test_signature_holds_through_the_proxy(self):
        with FaultyProxy(self.s3.endpoint) as proxy:
            client = self.s3.client(endpoint=proxy.endpoint)
            client.put("disk", "through/proxy", b"body")
            proxy.script(faults.flip_byte(0), method="GET")
            self.assertNotEqual(client.get("disk", "through/proxy"), b"body")
            self.assertEqual(client.get("disk", "through/proxy"), b"body")
            self.assertEqual(proxy.count("PUT", "/disk/through/proxy"), 1)


class GatewayOptions(unittest.TestCase):
    def test_https_is_trusted_with_its_own_ca_only(self):
        with RadosGateway(tls=True) as s3:
            s3.client().create_bucket("disk")
            with self.assertRaises(ssl.SSLCertVerificationError):
                s3.client(ca_file=None).keys("disk")

    def test_overload_is_answered_with_slow_down(self):
        codes = set()
        with RadosGateway(extra_conf="rgw_max_concurrent_requests = 2") as s3:
            s3.client().create_bucket("disk")

            def put(i):
                answer = s3.client().request("PUT", "disk", f"{i}", body=bytes(4 << 20))
                codes.add(answer.status)

            def overloaded():
                with concurrent.futures.ThreadPoolExecutor(16) as pool:
                    list(pool.map(put, range(16)))
                return 503 in codes

            data.wait_until(overloaded, 30, "503 SlowDown")
        self.assertEqual(codes, {200, 503})

    def test_failed_start_shows_the_log_and_leaves_nothing(self):
        s3 = RadosGateway(frontend="endpoint=127.0.0.1:99999999")
        with self.assertRaisesRegex(RadosGatewayError, "(?s)radosgw ended.*val: 127.0.0.1:99999999"):
            s3.start()
        self.assertFalse(s3.directory.exists())
        self.assertFalse(running_with(str(s3.directory)))


if __name__ == "__main__":
    unittest.main()
