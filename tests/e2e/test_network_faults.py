"""A network and a service that misbehave, one request at a time: the right data or a clean error,
never wrong data, and never two PUTs of one object at the same time."""

import random
import threading
import unittest

import nbd

from e2e.stores import GatewayStore, gateway
from servers import faults
from servers.faulty_http import FaultyProxy
from support import data
from support.model import Mix, ShadowDisk, Workload
from support.nbdkit import Nbdkit

KIB, MIB = 1 << 10, 1 << 20
SIZE, OBJECT = 1 * MIB, 64 * KIB
CONTENT = data.tagged(1, 0, SIZE)
STACK = ("--filter=cache", "--filter=md5")

# What an answer can look like that must not be believed, whatever was asked for.
BAD_ANSWERS = {
    "body cut short at once": faults.cut_body(0),
    "body cut short": faults.cut_body(100),
    "body longer": faults.longer_body(10),
    "body shorter": faults.shorter_body(10),
    "empty body": faults.replace_body(b""),
    "no content": faults.wrong_status(204),
    "a status that does not exist": faults.wrong_status(299),
    "redirect": faults.status(307, "TemporaryRedirect", "elsewhere"),
    "error page of a proxy": faults.status(502),
    "SlowDown": faults.status(503, "SlowDown", "busy", [("Retry-After", "1")]),
    "InternalError": faults.status(500, "InternalError"),
    "too many requests": faults.status(429, "TooManyRequests"),
    "hung up before": faults.drop_before(),
    "reset before": faults.drop_before(reset=True),
    "hung up after": faults.drop_after(),
    "reset after": faults.drop_after(reset=True),
    "404 of somebody else": faults.status(404, "", "not here"),
    "no bucket": faults.status(404, "NoSuchBucket"),
}
# The whole object was asked for: its checksum came along.
BAD_OBJECTS = BAD_ANSWERS | {
    "flipped bit": faults.flip_byte(5),
    "another object": faults.replace_body(data.tagged(2, 0, OBJECT)),
    "partial content": faults.wrong_status(206),
}
BAD_RANGES = BAD_ANSWERS | {
    "whole object under 206": faults.replace_body(CONTENT[:OBJECT]),
    "status of a whole object": faults.wrong_status(200),
    "another range": faults.wrong_range("bytes 0-99/65536"),
    "no range": faults.header("Content-Range", None),
    "a range that is no range": faults.wrong_range("bytes */65536"),
}
STRAY_BYTES = faults.longer_body(10, honest_length=False)


class _Faults(unittest.TestCase):
    def setUp(self):
        self.proxy = FaultyProxy(gateway().endpoint)
        self.proxy.__enter__()
        self.addCleanup(self.proxy.close)
        self.direct = GatewayStore(gateway())
        self.addCleanup(self.direct.close)

    def serve(self, *filters, through_proxy=True, **parameters):
        """A server of the store, its requests through the proxy."""
        endpoint = {"endpoint_url": self.proxy.endpoint} if through_proxy else {}
        # Only the requests that a test makes go through the proxy: no lease is renewed.
        given = {"own": "none"} | endpoint | parameters
        server = Nbdkit(*filters, *self.direct.volume(**given))
        self.addCleanup(server.stop)
        return server

    def create(self, **parameters):
        """The volume with CONTENT in it."""
        server = self.serve(through_proxy=False, size=SIZE, object_size=OBJECT, **parameters)
        handle = server.connect()
        handle.pwrite(CONTENT, 0)
        server.terminate()

    def stored(self):
        """What is in the objects."""
        return self.serve(through_proxy=False).connect().pread(SIZE, 0)


class Reading(_Faults):
    def setUp(self):
        super().setUp()
        self.create()

    def read_through(self, fault, handle, count, offset):
        """A read whose GETs all meet the fault: the bytes, or None for a clean error."""
        self.proxy.behaviour = lambda request: fault if request.method == "GET" else None
        try:
            return handle.pread(count, offset)
        except nbd.Error as error:
            self.assertIn(error.errno, ("EIO", "ENOENT"))
            return None
        finally:
            self.proxy.behaviour = None

    def check_all(self, bad, count, offset):
        """Each answer once and for ever, on connections that were used before."""
        expected = CONTENT[offset : offset + count]
        server = self.serve(retries=2, timeout=10)
        handle = server.connect()
        for name, fault in bad.items():
            with self.subTest(name):
                self.proxy.script(fault, method="GET")
                try:
                    self.assertEqual(handle.pread(count, offset), expected)
                except nbd.Error as error:
                    self.assertIn(error.errno, ("EIO", "ENOENT"))
                self.assertIn(self.read_through(fault, handle, count, offset), (None,))
                self.assertEqual(handle.pread(count, offset), expected)

    def test_whole_object(self):
        """A whole object that arrives wrong in any way is fetched again."""
        self.check_all(BAD_OBJECTS, OBJECT, 3 * OBJECT)

    def test_part_of_an_object(self):
        """A part of an object that is not the one asked for is fetched again."""
        self.check_all(BAD_RANGES, 1000, 3 * OBJECT + 5000)

    def test_absent_object_is_believed_only_from_s3(self):
        """Only an S3 service's own 404 makes an object absent."""
        handle = self.serve(retries=0).connect()
        for fault in (faults.status(404), faults.status(404, "NoSuchBucket")):
            self.assertIsNone(self.read_through(fault, handle, OBJECT, 0))
            self.assertIsNone(self.read_through(fault, handle, 100, 0))

    def test_stray_bytes_behind_an_answer(self):
        """Stray bytes behind an answer do not become the next one."""
        handle = self.serve(connections=1).connect()
        for number in range(SIZE // OBJECT):
            self.proxy.script(STRAY_BYTES, method="GET")
            offset = number * OBJECT
            self.assertEqual(handle.pread(OBJECT, offset), CONTENT[offset : offset + OBJECT])

    def test_slow_down_is_waited_out(self):
        """503 SlowDown is waited out."""
        handle = self.serve().connect()
        slow = faults.status(503, "SlowDown", "busy")
        self.proxy.script(slow, slow, slow, method="GET", path=self.direct.block_keys()[0])
        self.assertEqual(handle.pread(OBJECT, 0), CONTENT[:OBJECT])
        self.assertEqual(self.proxy.count("GET", self.direct.block_keys()[0]), 4)

    def test_listing_that_is_cut_short(self):
        """A listing that is cut short makes no block a hole."""
        for fault in (faults.cut_body(300), faults.shorter_body(200), faults.replace_body(b"")):
            handle = self.serve(retries=1, timeout=5).connect()
            self.proxy.behaviour = lambda _, fault=fault: fault
            entries = []
            try:
                handle.block_status(SIZE, 0, lambda _c, _o, found, _e: entries.extend(found) or 0)
            except nbd.Error:
                pass
            finally:
                self.proxy.behaviour = None
            holes = [kind for kind in entries[1::2] if kind & nbd.STATE_HOLE]
            self.assertEqual(holes, [])


class Writing(_Faults):
    def setUp(self):
        super().setUp()
        self.create()

    def test_failed_put_once(self):
        """A PUT that fails once is sent again."""
        handle = self.serve().connect()
        once = {
            name: fault for name, fault in BAD_ANSWERS.items()
            if name.startswith(("hung", "reset", "Slow", "Internal", "too", "error"))
        }  # fmt: skip
        self.assertEqual(len(once), 8)
        for tag, (name, fault) in enumerate(once.items(), 10):
            with self.subTest(name):
                written = data.tagged(tag, 0, OBJECT)
                self.proxy.script(fault, method="PUT")
                handle.pwrite(written, 0)
                self.assertEqual(self.stored(), written + CONTENT[OBJECT:])

    def test_failed_put_for_ever(self):
        """A PUT that fails for ever fails the flush."""
        for filters in ((), STACK):
            with self.subTest(filters=filters):
                server = self.serve(*filters, retries=2)
                handle = server.connect()
                for fault in (faults.drop_before(), faults.status(500, "InternalError")):
                    self.proxy.behaviour = lambda r, f=fault: f if r.method == "PUT" else None
                    with self.assertRaisesRegex(nbd.Error, "EIO"):
                        handle.pwrite(b"N" * OBJECT, 0)
                        handle.flush()
                    self.proxy.behaviour = None
                server.kill()
                self.assertEqual(self.stored(), CONTENT)

    def test_wrong_answer_to_a_put(self):
        """A PUT is done only if its answer says so."""
        for fault in (faults.status(304), faults.status(403, "AccessDenied"), faults.status(404)):
            handle = self.serve(retries=1).connect()
            self.proxy.script(*[fault] * 4, method="PUT")
            with self.assertRaises(nbd.Error):
                handle.pwrite(b"N" * OBJECT, 0)
            self.proxy.script(*[faults.passed()] * 4, method="PUT")
            self.assertEqual(self.stored(), CONTENT)
            self.proxy.close()
            self.proxy = FaultyProxy(gateway().endpoint)
            self.proxy.__enter__()
            self.addCleanup(self.proxy.close)

    def test_body_that_was_damaged_on_its_way(self):
        """A body damaged on its way is refused by the service, and sent again."""

        def damaged(exchange):
            body = bytearray(exchange.request.body)
            body[7] ^= 1
            exchange.request.body = bytes(body)
            exchange.send(exchange.forward())

        handle = self.serve().connect()
        written = data.tagged(5, 0, OBJECT)
        self.proxy.script(damaged, method="PUT")
        handle.pwrite(written, 0)
        self.assertEqual(self.stored(), written + CONTENT[OBJECT:])
        blocks = [put for put in self.proxy.matching("PUT") if "nbdstack-" not in put.path]
        self.assertEqual(blocks[0].status, 400)

    def test_never_two_puts_of_one_object(self):
        """No two PUTs of one object are ever under way at the same time."""
        slow = random.Random(1)
        for filters in ((), ("--filter=cache",), STACK):
            with self.subTest(filters=filters):
                self.proxy.behaviour = lambda request: (
                    faults.delay_answer(slow.uniform(0, 0.05)) if request.method == "PUT" else None
                )
                server, disk = self.serve(*filters), ShadowDisk(SIZE, CONTENT)
                mix = Mix(read=5, write=60, flush=10, cache=0, fua_share=0.3)
                Workload(
                    disk, 21, 300, connections=4, in_flight=16, block_size=16 * KIB,
                    max_bytes=2 * OBJECT, mix=mix,
                ).run(server.connect)  # fmt: skip
                server.connect().flush()
                server.kill()
                self.proxy.behaviour = None
                puts = {request.path for request in self.proxy.matching("PUT")}
                self.assertGreater(len(puts), 10)
                for path in puts:
                    self.assertEqual(self.proxy.most_in_flight("PUT", path), 1, path)
                disk.compare_with(self.serve(through_proxy=False).connect())
                self.direct.client.delete_bucket(self.direct.bucket)
                self.direct.client.create_bucket(self.direct.bucket)
                self.create()

    def test_requests_of_other_objects_do_not_wait(self):
        """Requests of other objects do not wait for a PUT that hangs."""
        release = threading.Event()
        self.addCleanup(release.set)
        stuck, handle = (server := self.serve()).connect(), server.connect()
        self.proxy.script(faults.stall(release), method="PUT")
        stuck.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(OBJECT)), 0)
        stuck.poll(100)
        self.proxy.wait_for(1, "PUT")
        handle.pwrite(b"N" * OBJECT, OBJECT)
        self.assertEqual(handle.pread(OBJECT, OBJECT), b"N" * OBJECT)
        self.assertEqual(handle.pread(OBJECT, 5 * OBJECT), CONTENT[5 * OBJECT : 6 * OBJECT])
        self.assertEqual(len(self.proxy.in_flight("PUT")), 1)
        release.set()
        self.proxy.wait_until_idle()  # or the bucket could not be deleted


if __name__ == "__main__":
    unittest.main()
