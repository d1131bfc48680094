"""Starts that must fail: within seconds, with a non-zero exit and a message that says what to do,
and not later, at the first request of a client who cannot do anything about it."""

import pathlib
import tempfile
import threading
import unittest

from e2e.stores import GatewayStore, LocalStore, gateway
from servers import faults
from servers.faulty_http import FaultyProxy
from support import data
from support.nbdkit import Nbdkit, run_expecting_failure

# Nothing of the machine's own may help.
ENVIRONMENT = {
    "HOME": "/nonexistent",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_PROFILE": None,
    "AWS_ACCESS_KEY_ID": None,
    "AWS_SECRET_ACCESS_KEY": None,
    "AWS_SESSION_TOKEN": None,
}
SECONDS = 15  # the bound of "within seconds" on a busy machine


class _Refusals(unittest.TestCase):
    store = None

    def check_refused(self, *expected, **parameters):
        """The start fails, and its message contains every one of the expected words."""
        _, errors = run_expecting_failure(
            *self.store.volume(**({"size": "1M"} | parameters)),
            environment=ENVIRONMENT, timeout_s=SECONDS,
        )  # fmt: skip
        for words in expected:
            self.assertIn(words, errors)
        return errors


class Gateway(_Refusals):
    def setUp(self):
        self.gateway = gateway()
        self.store = GatewayStore(self.gateway)
        self.addCleanup(self.store.close)

    def test_wrong_access_key(self):
        """A wrong access key ends the start."""
        self.check_refused(
            "access-key", self.store.bucket, "403", "InvalidAccessKeyId", access_key="NOBODY"
        )

    def test_wrong_secret_key(self):
        """A wrong secret key ends the start, and is not shown."""
        wrong = "a-wrong-secret"
        errors = self.check_refused(
            "secret-key", self.store.bucket, "403", "SignatureDoesNotMatch", secret_key=wrong
        )
        self.assertNotIn(wrong, errors)

    def test_wrong_bucket(self):
        """A bucket that is not there ends the start, and is not created."""
        self.check_refused("no-such-bucket", "404", "NoSuchBucket", bucket="no-such-bucket")
        self.check_refused("no-such-bucket", "NoSuchBucket", bucket="no-such-bucket", size=None)

    def test_suspended_user(self):
        """A suspended user is an error at once."""
        self.gateway.suspend_user()
        self.addCleanup(self.gateway.enable_user)
        self.check_refused(self.store.bucket, "403", "UserSuspended")

    def test_nobody_listens(self):
        """An endpoint where nobody listens ends the start, and is named."""
        port = data.free_port()
        self.check_refused("127.0.0.1", str(port), endpoint_url=f"http://127.0.0.1:{port}")

    def test_unknown_host(self):
        """An unknown host is named."""
        host = "no-such-host.invalid"
        errors = self.check_refused(endpoint_url=f"http://{host}")
        self.assertRegex(errors, f"(?i)resolve.*{host}")

    def test_endpoint_that_never_answers(self):
        """An endpoint that never answers ends the start within timeout=."""
        never = threading.Event()
        with FaultyProxy(self.gateway.endpoint, lambda _: faults.stall(never)) as proxy:
            self.check_refused("timeout", endpoint_url=proxy.endpoint, timeout=2)

    def test_endpoint_that_is_no_s3_service(self):
        """An endpoint that is no S3 service is refused."""
        page = faults.replace_body(b"<html><body>It works!</body></html>")
        with FaultyProxy(self.gateway.endpoint, lambda _: page) as proxy:
            self.check_refused("endpoint-url", endpoint_url=proxy.endpoint)
        self.assertEqual(self.store.keys(), [])

    def test_redirected_bucket(self):
        """A redirect that names no region is an error that says which parameters to set."""
        moved = faults.status(301, "PermanentRedirect", "use the other endpoint")
        with FaultyProxy(self.gateway.endpoint, lambda _: moved) as proxy:
            self.check_refused(
                "301", "PermanentRedirect", "region", "endpoint-url", endpoint_url=proxy.endpoint
            )

    def test_plain_http_service_behind_https(self):
        """A plain HTTP service behind https: is reported as a failure of TLS."""
        endpoint = f"https://127.0.0.1:{self.gateway.port}"
        self.assertRegex(self.check_refused(endpoint_url=endpoint), "(?i)ssl|tls")

    def test_no_credentials(self):
        """A start without credentials is refused."""
        self.check_refused(
            "access-key", "AWS_ACCESS_KEY_ID", "credentials", access_key=None, secret_key=None
        )

    def test_half_of_the_credentials(self):
        """Half of the credentials is refused, not completed from elsewhere."""
        self.check_refused("access-key and secret-key", secret_key=None)
        self.check_refused("access-key and secret-key", access_key=None)

    def test_unknown_profile(self):
        """An unknown profile is refused."""
        self.check_refused("profile", "nobody", profile="nobody", access_key=None, secret_key=None)

    def test_no_volume_and_no_size(self):
        """Without a volume and a size the start is refused."""
        self.check_refused("size=", self.store.bucket, size=None)
        self.check_refused("size=", "my/key", size=None, key="my/key")
        self.assertEqual(self.store.keys(), [])


class Volume(_Refusals):
    def setUp(self):
        self.store = LocalStore()
        self.addCleanup(self.store.close)

    def create(self, **parameters):
        """A volume with one block in it."""
        with Nbdkit(*self.store.volume(size="1M", object_size="64K", **parameters)) as server:
            server.connect().pwrite(b"x", 0)

    def test_directory_that_is_not_there(self):
        """A directory that does not exist is refused, and not made."""
        missing = self.store.directory / "missing"
        errors = self.check_refused(str(missing), endpoint_url=f"file://{missing}")
        self.assertIn("endpoint-url", errors)
        self.assertFalse(missing.exists())

    def test_bucket_that_is_not_there(self):
        """A bucket directory that does not exist is refused where no new volume is asked for."""
        self.check_refused("elsewhere", bucket="elsewhere", size=None)
        self.assertFalse((self.store.directory / "elsewhere").exists())

    def test_bucket_that_leads_elsewhere(self):
        """A bucket's name that leads out of the directory is refused."""
        self.check_refused("bucket", bucket="../outside")

    def test_size_that_contradicts_the_volume(self):
        """A size that contradicts the volume is refused."""
        self.create()
        self.check_refused("size=2097152", "1048576", size="2M")

    def test_object_size_that_contradicts_the_volume(self):
        """An object size that contradicts the volume is refused."""
        self.create()
        self.check_refused("object-size=4096", "65536", object_size="4K")

    def test_descriptor_that_is_damaged(self):
        """A damaged descriptor is refused, and not replaced."""
        self.create()
        path = next(self.store.directory.rglob("nbdstack-volume.json"))
        for text in ("", "{", '{"format": "nbdstack-volume"}', "[]", "\0" * 200):
            path.write_text(text)
            self.check_refused("nbdstack-volume.json", size=None)
            self.assertEqual(path.read_text(), text)

    def test_volume_of_a_later_version(self):
        """A volume of a later version is refused."""
        self.create()
        path = next(self.store.directory.rglob("nbdstack-volume.json"))
        body = path.read_bytes()[: path.read_bytes().rindex(b"}") + 1]
        path.write_bytes(body.replace(b'"version": 1', b'"version": 3'))
        self.assertIn("version", self.check_refused("nbdstack-volume.json", size=None))

    def test_new_volume_of_objects_that_are_too_small_or_too_large(self):
        """A new volume of objects of 2 KiB or 64 MiB is refused."""
        for size in ("2K", "64M"):
            self.check_refused("object-size=", size="1G", object_size=size)

    def test_blocks_of_another_program(self):
        """Blocks without a descriptor are not overwritten by a new volume."""
        self.create()
        next(self.store.directory.rglob("nbdstack-volume.json")).unlink()
        self.check_refused("object-size", size="1M")
        self.check_refused("object-size", "65536", size="1M", object_size="4K")

    def test_secret_file_that_is_not_there(self):
        """A secret's file that does not exist is refused."""
        path = pathlib.Path(tempfile.gettempdir()) / "nbdstack-no-such-secret"
        self.check_refused(
            "secret-key", str(path), endpoint_url="http://127.0.0.1:1", access_key="A",
            secret_key=f"+{path}",
        )  # fmt: skip


if __name__ == "__main__":
    unittest.main()
