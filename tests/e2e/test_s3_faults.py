"""Thousands of requests that go wrong, in every way that a network and a service have.

Faults that pass: no client notices anything. Faults that last: clients get errors, in time, each of
which the log explains, and nothing that was acknowledged is lost.
"""

import contextlib
import os
import random
import re
import time
import unittest

import nbd

from e2e.stores import GatewayStore, gateway
from servers.fault_proxy import FaultProxy
from servers.network_faults import BUSY, PASSING, SeededFaults
from support import data
from support.failing_load import FailingLoad
from support.model import Mix, ShadowDisk, Workload
from support.nbdkit import Nbdkit
from support.sectors import SECTOR_BYTES, SectorModel

KIB, MIB = 1 << 10, 1 << 20
SIZE, OBJECT = 16 * MIB, 16 * KIB
CONTENT = data.tagged(1, 0, 4 * OBJECT)
SEED = int(os.environ.get("NBDSTACK_FAULT_SEED", "1"))
STACK = ("--filter=cache", "--filter=md5")

# An NBD request is several operations, each of which may take timeout=: a part of an object is read
# and put back, behind another request that does the same. What is looked for is one that hangs.
OPERATIONS = 5

ERROR_LINE = re.compile(r"(?:error|not logged again): (GET|PUT|DELETE|POST) s3://(?P<bucket>[^/]+)/(?P<key>\S*): (.+)")


def failure_lines(log):
    """The lines of requests that failed and, in a verbose log, of those that are like one before."""
    others = ("succeed again: ", "failed within", "was never answered")
    return [
        line
        for line in log.splitlines()
        if ("error:" in line or "not logged again:" in line) and not any(other in line for other in others)
    ]


class _FaultTest(unittest.TestCase):
    size = SIZE

    def setUp(self):
        self.store = GatewayStore(gateway())
        self.addCleanup(self.store.close)
        self.proxy = FaultProxy(gateway().endpoint).__enter__()
        self.addCleanup(self.proxy.close)

    def serve(self, *filters, verbose=False, **parameters):
        """A server of the volume through the proxy, which lets everything pass so far."""
        options = {"endpoint_url": self.proxy.endpoint, "connections": 64} | parameters
        options |= {"size": self.size, "object_size": OBJECT}
        self.server = Nbdkit(*filters, *self.store.volume(**options), verbose=verbose)
        self.addCleanup(self.server.stop)
        return self.server

    @contextlib.contextmanager
    def faults(self, *arguments, **options):
        """SeededFaults at work. What goes wrong meanwhile is told with the seed and the figures."""
        faults = SeededFaults(*arguments, **options)
        self.proxy.faults = faults
        try:
            yield faults
        except BaseException as error:
            error.add_note(f"NBDSTACK_FAULT_SEED={SEED}; faults: {dict(faults.counts)}")
            error.add_note("\n".join(self.server.errors()[:20]))
            raise
        finally:
            self.proxy.faults = None


class FaultsThatPass(_FaultTest):
    TIMEOUT_S = 30  # more than a busy machine needs: the test is not about that

    def ride_out(self, *filters, faulty, rounds_of, mix):
        """Load until so many requests were faulty, none of which a client may notice. The service
        is busy in the first round alone, in which the client slows down, and has little to do."""
        disk, kinds = ShadowDisk(SIZE), PASSING | BUSY
        server = self.serve(*filters, timeout=self.TIMEOUT_S, retries=15)
        start, rounds = time.monotonic(), 0
        with self.faults(SEED, 0.6, kinds) as faults:
            while faults.total < faulty:
                rounds += 1
                load = Workload(
                    disk, f"{SEED} {rounds}", rounds_of, connections=16, in_flight=4 if rounds == 1 else 16,
                    block_size=OBJECT, max_bytes=2 * OBJECT, mix=mix,
                ).run(server.connect)  # fmt: skip
                self.assertLess(load.longest_s, OPERATIONS * self.TIMEOUT_S, load.longest)
                server.disconnect()
                faults.weights = PASSING
            server.connect().flush()
        seconds = time.monotonic() - start
        # A write that waits for a removal that was given up is told, and no error.
        errors = [line for line in server.errors() if "was never answered" not in line]
        self.assertEqual(errors, [])
        self.assertEqual(self.proxy.most_puts, 1)
        self.assertGreaterEqual(faults.total, faulty)
        # Nearly every change carries a condition here, and that one kind is for those without.
        common = set(kinds) - {"duplicate_late"}
        few = [kind for kind in common if faults.counts[kind] < faulty // 5000]
        self.assertEqual(few, [], f"kinds that hardly happened: {faults.counts}")
        server.kill()
        disk.compare_with(self.serve(own="none").connect())
        print(f"\n{rounds * rounds_of} requests, {self.proxy.requests} of HTTP in {seconds:.1f} s")
        print(f"{faults.total} faults: {dict(faults.counts)}")

    def test_ten_thousand_faulty_requests(self):
        """Of ten thousand faulty requests none reaches the client: neither wrong data nor an error.
        """
        self.ride_out(faulty=10_000, rounds_of=1250, mix=Mix(cache=0, flush=1))

    def test_below_cache_and_md5(self):
        """So it is where reads and write-back come from filters."""
        self.ride_out(*STACK, faulty=1_500, rounds_of=1000, mix=Mix(flush=3, fua_share=0.2))


class _Once:
    """One fault, for the first request of a method."""

    def __init__(self, kind, method, seed):
        self.happened = False
        self._method = method
        self._fault = SeededFaults(seed, 1, {kind: 1}).counted(kind, random.Random(seed))

    def choose(self, request):
        """See FaultProxy."""
        if self.happened or request.method != self._method:
            return None
        self.happened = True
        return self._fault


class AnswersCutInTheirHeaders(_FaultTest):
    """libcurl takes an answer that ends among its headers for a whole one without a body."""

    def setUp(self):
        super().setUp()
        self.handle = self.serve(timeout=8, retries=3).connect()
        self.handle.pwrite(CONTENT, 0)

    def check(self, method, action):
        """`action` succeeds, wherever the headers of the first answer end."""
        for seed in range(20):
            self.proxy.faults = once = _Once("cut_headers", method, seed)
            try:
                action()
            except nbd.Error as error:
                self.fail(f"seed {seed}: {error}\n{self.server.log()}")
            self.assertTrue(once.happened)
            self.proxy.faults = None

    def test_whole_object(self):
        def read():
            self.assertEqual(self.handle.pread(OBJECT, 0), CONTENT[:OBJECT])

        self.check("GET", read)

    def test_part_of_an_object(self):
        def read():
            self.assertEqual(self.handle.pread(100, 5), CONTENT[5:105])

        self.check("GET", read)

    def test_put(self):
        def write():
            self.handle.pwrite(CONTENT[:OBJECT], OBJECT)
            self.assertEqual(self.handle.pread(OBJECT, OBJECT), CONTENT[:OBJECT])

        self.check("PUT", write)

    def test_removal_of_one(self):
        def remove():
            self.handle.pwrite(CONTENT[:OBJECT], OBJECT)
            self.handle.zero(OBJECT, OBJECT)
            self.assertEqual(self.handle.pread(OBJECT, OBJECT), bytes(OBJECT))

        remove()  # finds out that this service keeps no conditions of removals
        self.check("DELETE", remove)

    def test_removal_of_many(self):
        def remove():
            self.handle.pwrite(CONTENT, 0)
            self.handle.zero(len(CONTENT), 0)
            self.assertEqual(self.handle.pread(len(CONTENT), 0), bytes(len(CONTENT)))

        self.check("POST", remove)


# kind of fault -> (errors of the client, what the log says about it)
REFUSALS = {
    "bad_request": ({"EIO"}, "^the service answered 400"),
    "forbidden": ({"EPERM", "EACCES"}, "^the service answered 403"),
    "not_found": ({"EIO", "ENOENT"}, "^the service answered 404"),
    "precondition_failed": ({"EIO"}, "^the service answered 412"),
    "shorter_answer": ({"EIO"}, "bytes long where|Content-Range|is no listing"),
}
# Those that were tried again, until retries= or timeout= had been used up.
HUNG_UP = "Empty reply from server|Recv failure|Send failure|Connection died"
WAITED = "waiting for a free connection"
NO_PLACE = "no connection became free in time"  # after what was refused: fewer are sent at a time
OUTAGES = {
    "corrupt_answer": "the object is corrupted: its checksum is [0-9a-f]{32}, but",
    "close": HUNG_UP,
    # Silence leaves fewer places, so that the last attempt may have found none.
    "stall": r"(no connection became free in time; before that: )?"
    r"(no answer in time|not a byte came or went for \d+ s)",
    "lost_answer": f"{HUNG_UP}|the service answered 500 InternalError",
    "status_409": "the service answered 409",
    "status_429": f"the service answered 429|{NO_PLACE}",
    "status_500": "the service answered 500",
    "status_503_later": f"the service answered 503 SlowDown|{NO_PLACE}",
}
GAVE_UP = r"^gave up after \d+ attempts in [0-9.]+ s(, for timeout=[0-9.]+)?: "


class FaultsThatLast(_FaultTest):
    TIMEOUT_S = 2
    size = 2 * MIB

    def setUp(self):
        super().setUp()
        # What a lease does in an outage has tests of its own.
        self.serve(verbose=True, timeout=self.TIMEOUT_S, retries=3, own="none")
        self.load = FailingLoad(
            SectorModel(self.size // SECTOR_BYTES), SEED, OBJECT // SECTOR_BYTES
        )
        self.load.run(self.server.connect, threads=8, requests=200)
        self.assertEqual(self.load.failures, [])

    def go_through(self, kind, share, errors, reason):
        """Some objects fail for a while. Then everything is looked at."""
        logged = len(self.server.log())
        with self.faults(f"{SEED} {kind}", share, {kind: 1}, lasting=True) as faults:
            self.load.run(self.server.connect, threads=16, requests=150)
            self.server.disconnect()
            self.assertGreater(faults.total, 10)
        self.load.model.check_stored(self.server.connect().pread(self.size, 0))
        self.assertGreater(len(self.load.failures), 5)
        for request, error in self.load.failures:
            self.assertIn(error, errors, request)
        self.check_log(self.server.log()[logged:], reason)
        self.assertLess(self.load.longest_s, OPERATIONS * self.TIMEOUT_S)

    def check_log(self, text, reason):
        """Every failure is explained: what was done, with which object, and what was wrong."""
        lines = failure_lines(text)
        self.assertGreaterEqual(len(lines), len(self.load.failures))
        for line in lines:
            self.assertRegex(line, ERROR_LINE)
            said = ERROR_LINE.search(line)
            self.assertEqual(said["bucket"], self.store.bucket)
            # A listing and the removal of many objects concern no single one.
            if said[1] != "POST" and said["key"]:
                self.assertRegex(said["key"], "^[0-9a-f]{16}$")
            self.assertRegex(said[4], reason)

    def test_refusals(self):
        """A refusal is an error at once, which explains itself."""
        for kind, (errors, reason) in REFUSALS.items():
            with self.subTest(kind):
                self.go_through(kind, 0.3, errors, reason)

    def test_outages(self):
        """During an outage requests fail in time, and no acknowledged data are lost."""
        for kind, reason in OUTAGES.items():
            with self.subTest(kind):
                self.go_through(kind, 0.3, {"EIO", "ETIMEDOUT"}, f"{GAVE_UP}({reason})")

    def test_busy_service_is_named(self):
        """An error names the busy service, not the wait for a turn that follows from it."""
        handles = [self.server.connect() for _ in range(8)]
        handles[0].pwrite(b"x" * self.size, 0)
        logged, failed = len(self.server.log()), 0
        with self.faults(SEED, 1, {"status_503_later": 1, "delay": 1}, lasting=True):
            reads = [
                (handle, handle.aio_pread(nbd.Buffer(100), offset))
                for handle in handles
                for offset in range(0, self.size // 2, OBJECT)
            ]
            for handle, cookie in reads:
                try:
                    while not handle.aio_command_completed(cookie):
                        handle.poll(1000)
                except nbd.Error:
                    failed += 1
        lines = failure_lines(self.server.log()[logged:])
        self.assertGreater(failed, 100)
        self.assertEqual(len(lines), failed)
        # One that never had its turn says so; one that was refused says how.
        for line in lines:
            self.assertRegex(line, f"503 SlowDown|after 1 attempts .*: {NO_PLACE}|{WAITED}")


if __name__ == "__main__":
    unittest.main()
