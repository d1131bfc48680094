"""The S3 service goes away, comes back, or says no, while clients work on the disk.

What must hold every time: requests end, within what timeout= allows; an error says what it is; and
what a FLUSH has acknowledged is in the objects.
"""

import threading
import time
import unittest

import nbd

from e2e.stores import GatewayStore, gateway
from servers.faulty_http import FaultyProxy
from support import data
from support.model import Mix, ShadowDisk, Workload
from support.nbdkit import Nbdkit

KIB, MIB = 1 << 10, 1 << 20
SIZE, OBJECT = 32 * MIB, 64 * KIB
STACK = ("--filter=cache", "--filter=md5")

# NBD has no code for "time is over": EIO stands for it.
UNREACHABLE = {"EIO", "ETIMEDOUT"}
BOUND_S = 20  # for requests of a server with timeout=2, on a machine that is busy


def error_of(action):
    """The name of the error that a request ends with, or None."""
    try:
        action()
    except nbd.Error as error:
        return error.errno
    return None


def unanswered(proxy):
    """How many requests ended without an answer."""
    ended = [request for request in proxy.requests if request.finished is not None]
    return sum(request.status is None for request in ended)


class _Outage(unittest.TestCase):
    def setUp(self):
        self.gateway = gateway()
        self.store = GatewayStore(self.gateway)
        self.addCleanup(self.store.close)

    def serve(self, *filters, endpoint=None, **parameters):
        """A server of this store, stopped at the end of the test. It takes no lease: what a lease
        does in an outage has tests of its own."""
        endpoint = {"endpoint_url": endpoint} if endpoint else {}
        given = {"own": "none"} | endpoint | parameters
        server = Nbdkit(*filters, *self.store.volume(**given))
        self.addCleanup(server.stop)
        return server

    def check_error(self, expected, action):
        """`action` fails with one of the expected errors, within the bound."""
        start = time.monotonic()
        self.assertIn(error_of(action), expected)
        self.assertLess(time.monotonic() - start, BOUND_S)

    def check_objects(self, disk):
        """What a server without cache reads from the objects is what the model says."""
        disk.compare_with(self.serve().connect())


class GatewayKilled(_Outage):
    def setUp(self):
        super().setUp()
        self.addCleanup(self.gateway.restart_gateway)  # whatever state the test leaves it in

    def ride_out(self, *filters, requests, **options):
        """A workload in which, after 150 PUTs, the gateway is killed and comes back; no request
        may fail. Returns what the workload was compared with."""
        disk, errors = ShadowDisk(SIZE), []
        with FaultyProxy(self.gateway.endpoint) as proxy:
            server = self.serve(
                *filters, endpoint=proxy.endpoint, size=SIZE, object_size=OBJECT, timeout=120,
            )  # fmt: skip

            def work():
                try:
                    Workload(
                        disk, 11, requests, connections=4, in_flight=16, block_size=OBJECT,
                        max_bytes=4 * OBJECT, **options,
                    ).run(server.connect)  # fmt: skip
                except BaseException as error:
                    errors.append(error)

            # The gateway dies with the thread that starts it, so the other one does the work.
            thread = threading.Thread(target=work)
            thread.start()
            try:
                proxy.wait_for(150, "PUT")
                self.gateway.kill_gateway()
                # Those that were under way, and some that come later.
                data.wait_until(lambda: unanswered(proxy) > 20, 60, "requests meeting the outage")
                self.gateway.start_gateway()
            finally:
                thread.join()
            if errors:
                raise errors[0]
            server.connect().flush()
            server.kill()
        return disk

    def test_requests_survive_a_restart_of_the_service(self):
        """A restart of the service within timeout= causes no error, and every request is done once.
        """
        self.check_objects(self.ride_out(requests=700, mix=Mix(cache=0)))

    def test_writes_back_through_a_restart_of_the_service(self):
        """Write-back of the cache survives a restart of the service."""
        mix = Mix(flush=6, fua_share=0.2)
        self.check_objects(self.ride_out(*STACK, requests=700, mix=mix))

    def test_every_kind_of_request_ends_in_time(self):
        """Every kind of request fails in time when the service does not come back."""
        server = self.serve(size=SIZE, object_size=OBJECT, timeout=2)
        handle = server.connect()
        handle.pwrite(b"x" * 4 * OBJECT, 0)
        self.gateway.kill_gateway()
        for action in (
            lambda: handle.pread(100, 5),
            lambda: handle.pread(4 * OBJECT, 0),
            lambda: handle.pwrite(b"y" * OBJECT, 0),
            lambda: handle.pwrite(b"y", 5),
            lambda: handle.zero(4 * OBJECT, 0),
            lambda: handle.trim(4 * OBJECT, 0),
        ):
            self.check_error(UNREACHABLE, action)
        # What is not known to be a hole is data, and needs no request.
        handle.block_status(SIZE, 0, lambda *_: 0)
        self.assertIn(str(self.gateway.port), server.log())

    def test_request_of_many_objects_takes_no_longer_than_one(self):
        """A request of hundreds of objects fails in the time of one."""
        server = self.serve(size=SIZE, object_size=4 * KIB, timeout=2)
        handle = server.connect()
        self.gateway.kill_gateway()
        self.check_error(UNREACHABLE, lambda: handle.pwrite(b"y" * 4 * MIB, 0))
        self.check_error(UNREACHABLE, lambda: handle.pread(4 * MIB, 0))

    def test_flush_fails_and_keeps_the_data(self):
        """While nothing can be stored a FLUSH fails, and keeps the data."""
        server = self.serve(*STACK, size=SIZE, object_size=OBJECT, timeout=2)
        handle, disk = server.connect(), ShadowDisk(SIZE)
        self.gateway.kill_gateway()
        written = data.tagged(1, 3 * OBJECT, 8 * OBJECT)
        handle.pwrite(written, 3 * OBJECT)
        disk.note_write(3 * OBJECT, written)
        self.check_error(UNREACHABLE, handle.flush)
        self.check_error(UNREACHABLE, handle.flush)
        self.assertEqual(handle.pread(len(written), 3 * OBJECT), written)
        self.gateway.start_gateway()
        handle.flush()
        server.kill()
        self.check_objects(disk)

    def test_server_that_cannot_write_back_ends_and_says_so(self):
        """A server that cannot write back when it is told to stop ends, and says how much is lost.
        """
        server = self.serve(*STACK, size=SIZE, object_size=OBJECT, timeout=2)
        handle = server.connect()
        handle.pwrite(b"x" * 16 * MIB, 0)
        self.gateway.kill_gateway()
        server.terminate(timeout_s=BOUND_S)
        self.assertRegex(server.log(), "error: .*16777216 bytes .* LOST")


class ServiceSaysNo(_Outage):
    def test_key_revoked_while_serving(self):
        """A revoked key is EPERM, and the log has the reason."""
        for filters in ((), STACK):
            with self.subTest(filters=filters):
                server = self.serve(*filters, size=SIZE, object_size=OBJECT)
                handle = server.connect()
                self.gateway.suspend_user()
                try:
                    self.check_error({"EPERM", "EACCES"}, lambda: handle.pread(100, 5 * OBJECT))
                    self.assertIn("UserSuspended", server.log())
                finally:
                    self.gateway.enable_user()

    def test_unwritten_data_survive_a_key_that_is_revoked_for_a_while(self):
        """Dirty blocks survive a key that is revoked for a while."""
        server, disk = self.serve(*STACK, size=SIZE, object_size=OBJECT), ShadowDisk(SIZE)
        handle = server.connect()
        written = data.tagged(1, 0, 3 * OBJECT)
        self.gateway.suspend_user()
        self.addCleanup(self.gateway.enable_user)
        handle.pwrite(written, 0)
        disk.note_write(0, written)
        self.check_error({"EPERM", "EACCES"}, handle.flush)
        self.gateway.enable_user()
        handle.flush()
        server.kill()
        self.check_objects(disk)

    def test_quota(self):
        """A full bucket is ENOSPC, at once, and the data are kept."""
        for filters in ((), STACK):
            with self.subTest(filters=filters):
                server, disk = self.serve(*filters, size=SIZE, object_size=OBJECT), ShadowDisk(SIZE)
                handle = server.connect()
                self.gateway.set_user_quota(MIB)
                self.addCleanup(self.gateway.set_user_quota, None)
                written = data.tagged(1, 0, 4 * MIB)

                def store():
                    handle.pwrite(written, 0)
                    handle.flush()

                self.check_error({"ENOSPC"}, store)
                self.gateway.set_user_quota(None)
                if not filters:  # the write itself was refused
                    handle.pwrite(written, 0)
                handle.flush()
                disk.note_write(0, written)
                server.kill()
                self.check_objects(disk)


if __name__ == "__main__":
    unittest.main()
