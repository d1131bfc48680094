"""The whole life of volumes on a service, for one test module a service (test_life_*.py).

What a service cannot do is no reason to leave a case out: the module says what must happen instead,
as the manual page's table of services does.
"""

import http.client
import unittest

import nbd

from e2e.leases import LEASE_TIME, lease_record
from e2e.stores import GatewayStore, gateway
from support import data
from support.model import Mix, ShadowDisk, Workload, WorkloadError
from support.nbdkit import Nbdkit, run_expecting_failure
from support.s3_client import S3Error
from support.s3_command import run_s3_command

KIB, MIB = 1 << 10, 1 << 20
OBJECT = 64 * KIB
SIZE = 2 * MIB + 12345
STACK = [f"--filter={name}" for name in ("readahead", "cache", "cacheextents", "zeroblock", "md5")]
PLAIN_MIX = Mix(cache=0, flush=1, fua_share=0.05)
STACK_MIX = Mix(flush=1, fua_share=0.05)


def extents(handle):
    """(bytes of data, bytes that are known to be zeros) of an export."""
    found, position, size = {False: 0, True: 0}, 0, handle.get_size()

    def note(_, offset, entries, __):
        nonlocal position
        for count, flags in zip(entries[::2], entries[1::2]):
            found[bool(flags & nbd.STATE_ZERO)] += count
            position = offset = offset + count

    while position < size:
        handle.block_status(size - position, position, note)
    return found[False], found[True]


class LifeCase(unittest.TestCase):
    """A bucket of a service, whose address and keys `service` has; and volumes in it."""

    service = None
    start_words = ()  # what a server says when it starts to write, else nothing
    requests = 250  # of a random load
    may_fail = ()  # errors that the service gives reason for, and that pass

    def setUp(self):
        self.store = GatewayStore(self.service)
        self.addCleanup(self.store.close)

    def serve(self, *filters, key, **parameters):
        """A server of a volume."""
        return Nbdkit(*filters, *self.store.volume(key=key, **parameters))

    def run_verb(self, verb, *options, code=0, **parameters):
        """Runs nbdstack-s3 and checks its exit code; what it printed."""
        done = run_s3_command(verb, *options, *self.store.volume(**parameters)[1:])
        self.assertEqual(done.returncode, code, f"{verb}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def expect_start_words(self, server):
        """No less and no more than this service gives reason for."""
        for words in self.start_words:
            self.assertIn(words, server.log())
        if not self.start_words:
            self.assertEqual(server.log(), "")

    def live(self, key, *filters, create=None, mix=PLAIN_MIX, **parameters):
        """Written, read back, written on by a second server, looked at by a third; then judged by
        nbdstack-s3, and deleted."""
        disk = ShadowDisk(SIZE)
        load = {"connections": 2, "in_flight": 4, "block_size": OBJECT, "mix": mix}
        load |= {"max_bytes": 4 * OBJECT, "may_fail": self.may_fail}
        first = {"size": SIZE, "object_size": OBJECT} | (create or {})
        for number, more in enumerate((first, {})):
            with self.serve(*filters, key=key, **parameters, **more) as server:
                self.compare(disk, server)
                work = Workload(disk, number, self.requests // (1 + number), **load)
                try:
                    work.run(server.connect)
                except WorkloadError as error:
                    self.fail(f"{error}\n{server.log()}")
                self.compare(disk, server)
                self.assertEqual(server.terminate(), 0, server.log())
        with self.serve(key=key, readonly="true", **parameters) as server:
            self.compare(disk, server)

    def compare(self, disk, server):
        """All of the disk is as it should be, once errors that pass have passed."""

        def is_read():
            try:
                disk.compare_with(server.connect())
            except nbd.Error as error:
                if error.errno not in self.may_fail:
                    raise
                return False
            return True

        data.wait_until(is_read, 60, "the disk can be read")

    def delete(self, key, **parameters):
        """Deletes a volume; that nothing is left."""
        self.run_verb("delete", "--yes", key=key, **parameters)
        self.assertEqual([k for k in self.store.keys() if k.startswith(f"{key}/")], [])


class CoreCases:
    """What every service can do, and every proxy must let through."""

    def test_plain_volume(self):
        """Created, written, flushed, trimmed, zeroed, read in parts, restarted, checked, deleted."""
        self.live("life/plain")
        self.assertIn("0 damaged", self.run_verb("check", key="life/plain"))
        self.run_verb("show", key="life/plain")
        self.delete("life/plain")

    def test_stack_encrypted_and_compressed(self):
        """All filters over objects that are read whole."""
        parameters = {"passphrase": "secret", "compress": "zstd"}
        encrypted = {"encrypt": "aes-256-gcm"}
        self.live("life/stack", *STACK, create=encrypted, mix=STACK_MIX, **parameters)
        self.assertIn("0 damaged", self.run_verb("check", key="life/stack", **parameters))
        self.delete("life/stack")

    def test_one_writer(self):
        """A second server is refused as long as the first one renews its lease, and takes over at
        once when it was killed; own=force takes the volume from one that lives."""
        volume = {"key": "life/lease", "lease_time": LEASE_TIME}
        with self.serve(size=SIZE, object_size=OBJECT, **volume) as first:
            self.expect_start_words(first)
            first.connect().pwrite(b"a" * OBJECT, 0)
            renewed = self.renewals("life/lease") + 2
            data.wait_until(lambda: self.renewals("life/lease") >= renewed, 60, "renewals")
            _, errors = run_expecting_failure(*self.store.volume(**volume))
            self.assertIn(f"pid {first.pid}", errors)
            first.connect().pwrite(b"b" * OBJECT, OBJECT)
            first.kill()
        with self.serve(**volume) as second:
            handle = second.connect()
            self.assertEqual(handle.pread(2 * OBJECT, 0), b"a" * OBJECT + b"b" * OBJECT)
            with self.serve(own="force", **volume) as third:
                third.connect().pwrite(b"c" * OBJECT, 0)
                data.wait_until(lambda: self.cannot_write(handle), 60, "the second server noticing")
                self.assertEqual(third.connect().pread(OBJECT, 0), b"c" * OBJECT)
        self.delete("life/lease")

    def renewals(self, key):
        """How often the lease was renewed; some services show it, or fail to list it, while it is
        being written."""
        try:
            return lease_record(self.store, key)["renewals"]
        except (ValueError, S3Error, http.client.IncompleteRead):
            return -1

    @staticmethod
    def cannot_write(handle):
        """Whether a flush says that the right is lost. Writes are not tried: until then they are
        another writer's on a service without conditions."""
        try:
            handle.flush()
        except nbd.Error as error:
            return error.errno == "ESHUTDOWN"
        return False


class ServiceCases(CoreCases):
    """What else a volume does with its service."""

    knows_what_is_stored = True  # across restarts
    checks_signatures = True
    pages_objects = 1050  # more than a page of a listing has
    refused_keys = {}  # odd keys, and what is said
    replaced_image = "EIO"  # what a read says when its object was replaced; None: it is not noticed

    def test_s3backer_volume(self):
        """Its layout, compressed."""
        where = {"layout": "s3backer", "prefix": "sb-", "compress": "deflate"}
        size = 1 * MIB
        disk = ShadowDisk(size)
        with Nbdkit(*self.store.volume(size=size, object_size=32 * KIB, **where)) as server:
            handle = server.connect()
            handle.pwrite(data.tagged(1, 0, size), 0)
            handle.zero(128 * KIB, 64 * KIB)
            handle.pwrite(b"y" * 100, 500 * KIB + 7)
            disk.note_write(0, data.tagged(1, 0, size))
            disk.note_zero(64 * KIB, 128 * KIB)
            disk.note_write(500 * KIB + 7, b"y" * 100)
            self.assertEqual(server.terminate(), 0, server.log())
        with Nbdkit(*self.store.volume(**where)) as server:
            disk.compare_with(server.connect())
        self.assertIn("0 damaged", self.run_verb("check", **where))
        self.run_verb("delete", "--yes", **where)
        self.assertEqual(self.store.keys(), [])

    def test_more_objects_than_a_page_of_a_listing(self):
        """None is lost between two pages, and all are removed by one request of a client."""
        count, unit = self.pages_objects, 4 * KIB
        size = 2 * count * unit
        content = data.tagged(7, 0, count * unit)
        with self.serve(key="pages", size=size, object_size=unit) as server:
            handle = server.connect()
            for offset in range(0, len(content), 512 * KIB):
                handle.pwrite(content[offset : offset + 512 * KIB], offset)
            self.assertEqual(server.terminate(), 0, server.log())
        with self.serve(key="pages") as server:
            handle = server.connect()
            for offset in range(0, len(content), MIB):
                part = content[offset : offset + MIB]
                self.assertEqual(handle.pread(len(part), offset), part)
            rest = min(MIB, size - len(content))
            self.assertEqual(handle.pread(rest, len(content)), bytes(rest))
            if self.knows_what_is_stored:
                self.assertEqual(extents(handle), (len(content), size - len(content)))
            handle.trim(size, 0)
            self.assertEqual(handle.pread(size // 2, 0), bytes(size // 2))
            self.assertEqual(server.terminate(), 0, server.log())
        self.assertEqual([key for key in self.store.block_keys() if key.startswith("pages/")], [])
        self.assertIn("0 damaged", self.run_verb("check", key="pages"))

    def test_keys_of_odd_characters(self):
        """Signed and listed as they are, or refused at the start."""
        keys = [
            "a b+c", "ä%20ö", "x&<y>\"z", "it's", "d1//d2", "tr/", "p=q;r@s,t!(u)*[v]{w}~", "100%",
            "eq=1&prefix=2", "語",
        ]  # fmt: skip
        for key in keys:
            with self.subTest(key=key):
                words = self.store.volume(key=key, size=MIB, object_size=OBJECT)
                if key in self.refused_keys:
                    self.assertIn(self.refused_keys[key], run_expecting_failure(*words)[1])
                    continue
                with Nbdkit(*words) as server:
                    server.connect().pwrite(b"odd" * 1000, 70000)
                with Nbdkit(*self.store.volume(key=key)) as server:
                    self.assertEqual(server.connect().pread(3000, 70000), b"odd" * 1000)
                self.assertIn("0 damaged", self.run_verb("check", key=key))
                self.run_verb("delete", "--yes", key=key)
                self.assertEqual(self.store.keys(), [])

    def test_image_in_one_object(self):
        """Another program's object, read in parts; and replaced while it is served."""
        body = data.random_bytes(4, MIB + 77)
        self.store.client.put(self.store.bucket, "an image.raw", body)
        with self.serve(key="an image.raw") as server:
            handle = server.connect()
            self.assertEqual(handle.pread(len(body), 0), body)
            self.assertEqual(handle.pread(511, 12345), body[12345 : 12345 + 511])
            self.store.client.put(self.store.bucket, "an image.raw", body[::-1])
            if self.replaced_image:
                with self.assertRaises(nbd.Error) as caught:
                    handle.pread(4096, 600000)
                self.assertEqual(caught.exception.errno, self.replaced_image)

    def test_verbs_and_volumes(self):
        """create, list, resize, and all volumes below a key by their names."""
        self.run_verb("create", key="vms/one", size="1M", object_size="64K")
        self.run_verb("create", key="vms/two", size="1M")
        self.assertEqual(self.run_verb("list", key="vms").split(), ["one", "two"])
        with self.serve(key="vms", volumes="true") as server:
            server.connect("one").pwrite(b"q" * MIB, 0)
            self.assertEqual(server.connect("two").pread(MIB, 0), bytes(MIB))
            self.assertEqual(server.terminate(), 0, server.log())
        self.run_verb("resize", key="vms/one", size="512K", code=1)
        self.run_verb("resize", "--force", key="vms/one", size="512K")
        self.run_verb("resize", key="vms/one", size="1M")
        with self.serve(key="vms/one") as server:
            half = MIB // 2
            self.assertEqual(server.connect().pread(MIB, 0), b"q" * half + bytes(half))
        self.delete("vms/one")
        self.assertEqual(self.run_verb("list", key="vms").split(), ["two"])

    def test_wrong_keys(self):
        """Refused at the start, without waiting, where the service looks at signatures."""
        words = self.store.volume(key="life/none", size=MIB, secret_key="wrong")
        if not self.checks_signatures:
            with Nbdkit(*words):
                return
        _, errors = run_expecting_failure(*words)
        self.assertIn("secret-key", errors)


class BehindAProxy(CoreCases):
    """Ceph's gateway behind a proxy, which `make_proxy` makes of the gateway's address."""

    requests = 150
    make_proxy = None

    @classmethod
    def setUpClass(cls):
        cls.service = gateway()
        cls.proxy = cls.make_proxy(cls.service.endpoint)
        cls.addClassCleanup(cls.proxy.stop)
        cls.proxy.start()

    def make_store(self):
        """A bucket of the service, as a test sees it."""
        return GatewayStore(self.service, self.proxy.endpoint)

    def setUp(self):
        self.store = self.make_store()
        self.addCleanup(self.store.close)
