"""Requests that a service carries out late, after newer ones have been acknowledged and flushed, and
objects that somebody else changes: no acknowledged write is undone, nothing is overwritten unseen."""

import pathlib
import shutil
import tempfile
import threading
import time
import unittest

import nbd

from servers import faults
from servers.faulty_http import FaultyProxy
from servers.memory_s3 import Conditions, MemoryS3, StoredObject
from support import data
from support.nbdkit import Nbdkit

OBJECT = 64 << 10
SIZE = 64 * OBJECT
TIMEOUT_S = 8  # a silent attempt is given up after a quarter of it
FIRST = "0" * 16
STACKS = ([], ["--filter=cache"], ["--filter=zeroblock"], ["--filter=md5"])


class _LateRequests(unittest.TestCase):
    def setUp(self):
        self.s3 = MemoryS3({"disk": {}})
        self.s3.start()
        self.addCleanup(self.s3.stop)
        self.proxy = FaultyProxy(self.s3.endpoint)
        self.proxy.__enter__()
        self.addCleanup(self.proxy.__exit__, None, None, None)
        self.release = threading.Event()

    def serve(self, *filters, **more):
        """A server that reaches the service through the proxy."""
        parameters = self.s3.parameters("disk") | {
            "endpoint-url": self.proxy.endpoint, "size": SIZE, "object-size": OBJECT,
            "timeout": TIMEOUT_S,
        } | more  # fmt: skip
        server = Nbdkit(*filters, "s3", *(f"{name}={value}" for name, value in parameters.items()))
        server.__enter__()
        self.addCleanup(server.stop)
        return server

    def hold_next(self, method, path=None):
        """The next such request is carried out when `release` is set, and never answered in time."""
        self.release.clear()
        self.proxy.script(faults.stall(self.release), method=method, path=path)
        return self.proxy.count(method, path)

    def let_go(self, method, path=None):
        """What was held is carried out now."""
        self.release.set()
        data.wait_until(lambda: not self.proxy.in_flight(method), 30, "the held request's end")

    def stored(self, number=0):
        """The first byte of an object in the bucket; None where there is none."""
        with self.s3.lock:
            found = self.s3.buckets["disk"].get(f"{number:016x}")
        return found and found.body[:1]


class ConditionsAreKept(_LateRequests):
    def test_a_late_put_does_nothing(self):
        """A PUT that arrives late does not undo a newer write."""
        for filters in STACKS:
            for before in (b"", b"0"):
                with self.subTest(filters=filters, before=before):
                    self.s3.buckets["disk"].clear()
                    server = self.serve(*filters)
                    handle = server.connect()
                    if before:
                        handle.pwrite(before * OBJECT, 0)
                        handle.flush()
                    self.hold_next("PUT", FIRST)
                    handle.pwrite(b"1" * OBJECT, 0)
                    handle.flush()
                    handle.pwrite(b"2" * OBJECT, 0)
                    handle.flush()
                    self.let_go("PUT")
                    self.assertEqual(self.stored(), b"2")
                    self.assertEqual(handle.pread(1, 0), b"2")
                    server.stop()

    def test_a_late_removal_does_nothing(self):
        """A removal that arrives late, of one object or of many, removes no newer write."""
        for blocks, method in ((1, "POST"), (64, "POST")):
            with self.subTest(blocks=blocks):
                self.s3.buckets["disk"].clear()
                server = self.serve()
                handle = server.connect()
                handle.pwrite(b"1" * blocks * OBJECT, 0)
                self.hold_next(method)
                handle.trim(blocks * OBJECT, 0)
                handle.flush()
                handle.pwrite(b"2" * blocks * OBJECT, 0)
                handle.flush()
                self.let_go(method)
                self.assertEqual([self.stored(i) for i in range(blocks)], [b"2"] * blocks)
                server.stop()

    def change_behind(self, body):
        """Somebody else replaces the first object, or removes it (None)."""
        with self.s3.lock:
            self.s3.buckets["disk"].pop(FIRST, None)
            if body is not None:
                self.s3.buckets["disk"][FIRST] = StoredObject(body.ljust(OBJECT))

    def test_an_object_that_somebody_else_changed_is_not_written_over(self):
        """An object that another writer has changed is not overwritten, and can be written again
        once it was read."""
        changes = {"put": b"somebody's" * (OBJECT // 10), "removed": None}
        for how, body in changes.items():
            for what in ("whole", "part", "zero"):
                with self.subTest(how=how, what=what):
                    self.s3.buckets["disk"].clear()
                    server = self.serve()
                    handle = server.connect()
                    handle.pwrite(b"1" * OBJECT, 0)
                    self.change_behind(body)
                    requests = {
                        "whole": lambda: handle.pwrite(b"2" * OBJECT, 0),
                        "part": lambda: handle.pwrite(b"2" * 512, 512),
                        "zero": lambda: handle.zero(512, 0),
                    }
                    for _ in range(1 if (how, what) == ("removed", "whole") else 2):
                        self.assertRaises(nbd.Error, requests[what])
                    self.assertEqual(self.stored(), body and body[:1])
                    self.assertIn(f"{FIRST}: somebody else has changed this object", server.log())
                    if body is None:
                        handle.pwrite(b"3" * OBJECT, 0)  # of what is gone nothing can be lost
                        self.assertEqual(self.stored(), b"3")
                        server.stop()
                        continue
                    self.assertEqual(handle.pread(10, 0), b"somebody's")
                    requests[what]()
                    expected = {
                        "whole": b"2" * OBJECT,
                        "part": body[:512] + b"2" * 512 + body[1024:].ljust(OBJECT - 1024),
                        "zero": bytes(512) + body[512:].ljust(OBJECT - 512),
                    }
                    self.assertEqual(handle.pread(OBJECT, 0), expected[what])
                    self.assertEqual(server.log().count("a client has read this object"), 1)
                    server.stop()

    def test_a_cache_that_holds_the_whole_block_goes_on_when_the_object_is_removed(self):
        """A cache that holds the whole of a block stores it although somebody has removed its
        object."""
        server = self.serve("--filter=cache")
        handle = server.connect()
        handle.pwrite(b"1" * OBJECT, 0)
        handle.flush()
        self.change_behind(b"somebody's")
        handle.pwrite(b"2" * OBJECT, 0)
        for _ in range(2):
            self.assertRaises(nbd.Error, handle.flush)
        self.assertEqual(self.stored(), b"s")
        self.assertIn("the object has been removed", server.log())
        self.change_behind(None)
        handle.flush()
        self.assertEqual(self.stored(), b"2")
        self.assertEqual(server.log().count("as this server knows it again"), 1)

    def test_what_changes_cost(self):
        """A change of what the server knows costs one request."""
        count = 4
        with self.serve() as server:
            server.connect().pwrite(b"1" * count * OBJECT, 0)
        server = self.serve()
        handle = server.connect()
        data.wait_until(
            lambda: any("prefix=&" in r.query or r.query.endswith("prefix=") for r in self.proxy.requests)
            and not self.proxy.in_flight("GET"), 30, "the listing's end",
        )  # fmt: skip
        time.sleep(0.2)

        def requests(action):
            before = {method: self.proxy.count(method) for method in ("GET", "HEAD", "PUT", "POST")}
            action()
            return {m: self.proxy.count(m) - n for m, n in before.items() if self.proxy.count(m) > n}

        self.assertEqual(requests(lambda: handle.pwrite(b"2" * OBJECT, 0)), {"PUT": 1})
        self.assertEqual(requests(lambda: handle.pwrite(b"3" * OBJECT, 0)), {"PUT": 1})
        self.assertEqual(requests(lambda: handle.pwrite(b"4" * 512, 512)), {"GET": 1, "PUT": 1})
        self.assertEqual(requests(lambda: handle.pwrite(b"4" * 512, OBJECT)), {"GET": 1, "PUT": 1})
        # The first removal of all finds out whether conditions of removals are kept.
        self.assertEqual(requests(lambda: handle.trim(OBJECT, 0)), {"POST": 2})
        self.assertEqual(requests(lambda: handle.trim((count - 1) * OBJECT, OBJECT)), {"POST": 1})
        self.assertEqual(requests(lambda: handle.pwrite(b"5" * OBJECT, 0)), {"PUT": 1})


class ConditionsAreNotKept(_LateRequests):
    def write_while_held(self, handle, action):
        """`action` is under way when the request that was held is carried out."""
        errors = []

        def run():
            try:
                action()
            except nbd.Error as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join(1)
        self.assertTrue(thread.is_alive(), "nothing waits for the request that was not answered")
        self.release.set()
        thread.join(60)
        self.assertEqual(errors, [])

    def test_a_newer_write_waits_for_an_older_one(self):
        """Without conditions, a newer write waits until an older one can come no more."""
        cases = {
            "ignored": {}, "unknown": {}, "honoured": {"own": "none"},
        }  # fmt: skip
        for conditions, parameters in cases.items():
            with self.subTest(conditions):
                self.s3.conditions = Conditions[conditions.upper()]
                self.s3.buckets["disk"].clear()
                server = self.serve(**({"timeout": 4} | parameters))
                handle = server.connect()
                self.assertIn("changes carry no conditions", server.log())
                self.hold_next("PUT", FIRST)
                handle.pwrite(b"1" * OBJECT, 0)
                self.write_while_held(handle, lambda h=handle: h.pwrite(b"2" * OBJECT, 0))
                self.assertEqual(self.stored(), b"2")
                self.assertIn(f"{FIRST}: an earlier change of this object", server.log())
                server.stop()

    def test_a_newer_write_waits_for_an_older_removal(self):
        """Where conditions hold for PUTs only, as in Ceph RGW 16, a newer write waits for an older
        removal."""
        self.s3.conditions_of_removals = Conditions.IGNORED
        handle = self.serve(timeout=4).connect()
        handle.pwrite(b"1" * SIZE, 0)
        self.hold_next("POST")
        handle.trim(SIZE, 0)
        self.write_while_held(handle, lambda: handle.pwrite(b"2" * SIZE, 0))
        self.assertEqual([self.stored(i) for i in range(SIZE // OBJECT)], [b"2"] * (SIZE // OBJECT))

    def test_others_may_write_a_volume_that_is_shared_on_purpose(self):
        """With own=none, an object that somebody else has changed is written."""
        handle = self.serve(own="none").connect()
        handle.pwrite(b"1" * OBJECT, 0)
        with self.s3.lock:
            self.s3.buckets["disk"][FIRST] = StoredObject(b"somebody's".ljust(OBJECT))
        handle.pwrite(b"2" * OBJECT, 0)
        self.assertEqual(self.stored(), b"2")


class InADirectory(unittest.TestCase):
    def test_a_file_that_somebody_else_changed_is_not_written_over(self):
        """A file that somebody else has changed is neither overwritten nor removed."""
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        words = [f"endpoint-url=file://{folder}", f"size={SIZE}", f"object-size={OBJECT}"]
        with Nbdkit("s3", "bucket=disk", *words) as server:
            handle = server.connect()
            handle.pwrite(b"1" * OBJECT + b"2" * OBJECT, 0)
            mine, other = folder / "disk" / FIRST, folder / "disk" / f"{1:016x}"
            shutil.copy(other, folder / "copy")
            (folder / "copy").rename(mine)
            for action in (
                lambda: handle.pwrite(b"3" * OBJECT, 0), lambda: handle.pwrite(b"3", 7),
                lambda: handle.trim(OBJECT, 0), lambda: handle.zero(OBJECT, 0),
            ):  # fmt: skip
                self.assertRaises(nbd.Error, action)
                self.assertEqual(mine.read_bytes(), other.read_bytes())
            self.assertIn(f"{FIRST}: somebody else has changed this object", server.log())
            handle.pwrite(b"3" * OBJECT, OBJECT)


if __name__ == "__main__":
    unittest.main()
