"""The right to write a volume, from the start of a server to its end: own=, lease-time=, readonly=,
and stores that cannot keep a lease."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time
import unittest

import nbd

from e2e.leases import EXPIRY_S, LEASE_S, LEASE_TIME, lease_record
from e2e.stores import GatewayStore, gateway
from servers.memory_s3 import Conditions, MemoryS3, StoredObject
from support.data import random_bytes, wait_until
from support.nbdkit import Nbdkit, our_nbdkit, run_expecting_failure

SIZE = 1 << 20
AT_ONCE_S = LEASE_S  # nobody has waited for a lease to run out


class _WriterCase(unittest.TestCase):
    """Servers of one volume, and what ought to be on it."""

    expected = bytes(SIZE)

    def serve(self, **parameters):
        """A server, until the test ends."""
        server = Nbdkit(*self.words(**parameters))
        self.addCleanup(server.stop)
        server.connect()  # it has put its pid into the lease before it serves anybody
        return server

    def refusal(self, **parameters):
        """What a server says that does not start."""
        return run_expecting_failure(*self.words(**parameters))[1]

    def write(self, handle, content, offset=0):
        """Writes, and remembers it."""
        handle.pwrite(content, offset)
        before = self.expected
        self.expected = before[:offset] + content + before[offset + len(content) :]

    def expect_all(self, handle):
        """The disk as it was written."""
        self.assertEqual(handle.pread(SIZE, 0), self.expected)

    def expect_cannot_write(self, handle):
        """ESHUTDOWN for everything that changes the disk, and for a flush, which would promise that
        the disk is as this server wrote it; reads go on."""
        for change in (
            lambda: handle.pwrite(b"x" * 512, 0),
            lambda: handle.zero(4096, 0),
            lambda: handle.trim(SIZE, 0),
            handle.flush,
        ):
            with self.assertRaises(nbd.Error) as caught:
                change()
            self.assertEqual(caught.exception.errno, "ESHUTDOWN")
        handle.pread(512, 0)

    def expect_stops(self, server):
        """An orderly end."""
        self.assertEqual(server.terminate(), 0, server.log())


class Ownership(_WriterCase):
    """On a store that honours conditions."""

    def setUp(self):
        self.store = GatewayStore(gateway())
        self.addCleanup(self.store.close)

    def words(self, **parameters):
        """Words of nbdkit's."""
        return self.store.volume(**({"size": SIZE, "lease_time": LEASE_TIME} | parameters))

    def record(self):
        """The lease as it lies in the store."""
        return lease_record(self.store)

    def test_given_back_at_a_clean_stop(self):
        """The next server starts at once, and says nothing."""
        server = self.serve()
        record = self.record()
        self.assertEqual((record["state"], record["pid"]), ("held", server.pid))
        self.assertEqual(record["host"], socket.gethostname())
        self.write(server.connect(), random_bytes(1, 5000), 100)
        self.expect_stops(server)
        self.assertEqual(self.record()["state"], "released")
        start = time.monotonic()
        server = self.serve()
        self.assertLess(time.monotonic() - start, AT_ONCE_S)
        self.assertEqual(server.log(), "")
        self.expect_all(server.connect())

    def test_renewed_as_long_as_it_serves(self):
        """Also when no client comes."""
        server = self.serve()
        first = self.record()
        time.sleep(EXPIRY_S)
        last = self.record()
        self.assertEqual(first["owner"], last["owner"])
        self.assertGreater(last["renewals"], first["renewals"] + 1)
        self.write(server.connect(), b"still the writer")
        self.assertIn(f"pid {server.pid}", self.refusal())

    def test_a_crash_on_this_machine_is_seen_at_once(self):
        """Its process has ended: nobody waits for its lease."""
        server = self.serve()
        self.write(server.connect(), random_bytes(2, 5000), 999)
        pid = server.pid
        server.kill()
        self.assertEqual(self.record()["state"], "held")
        start = time.monotonic()
        server = self.serve(own="lease")
        self.assertLess(time.monotonic() - start, AT_ONCE_S)
        self.assertRegex(server.log(), f"taken over.*pid {pid}.*has ended without giving it back")
        self.expect_all(server.connect())

    def test_force_takes_it_from_one_that_lives(self):
        """Who finds out at its next renewal, and says so."""
        loser = self.serve()
        handle = loser.connect()
        self.write(handle, b"the first")
        winner = self.serve(own="force")
        self.assertRegex(winner.log(), f"own=force took the lease from .*pid {loser.pid}")
        wait_until(lambda: "has lost the lease" in loser.log(), 3 * EXPIRY_S, "the loss being noticed")
        self.assertRegex(loser.log(), f"has lost the lease to .*pid {winner.pid}")
        self.expect_cannot_write(handle)
        self.write(winner.connect(), b"the second")
        self.expect_all(handle)
        self.expect_stops(loser)
        self.assertEqual(self.record()["pid"], winner.pid)
        self.write(winner.connect(), b"and the only one")
        self.expect_all(winner.connect())

    def test_none_asks_for_nothing(self):
        """And promises nothing: it writes beside an owner."""
        with self.serve(own="none") as server:
            self.write(server.connect(), b"nobody's")
            self.assertIsNone(self.record())
        owner = self.serve()
        before = self.record()["owner"]
        beside = self.serve(own="none")
        self.write(beside.connect(), b"from beside", 512 << 10)
        self.expect_all(owner.connect())
        self.expect_stops(beside)
        self.assertEqual(self.record()["owner"], before)

    def test_readers_beside_a_writer(self):
        """They see what it writes, take no lease, and change nothing."""
        writer = self.serve()
        self.write(writer.connect(), b"before")
        keys = self.store.keys()
        readers = [self.serve(readonly="true", size=None) for _ in range(2)]
        self.write(writer.connect(), b"after", 1000)
        for reader in readers:
            handle = reader.connect()
            self.assertTrue(handle.is_read_only())
            self.expect_all(handle)
            self.assertRaises(nbd.Error, handle.pwrite, b"x" * 512, 0)
            self.expect_stops(reader)
            self.assertEqual(reader.log(), "")
        self.assertEqual(self.store.keys(), keys)
        self.assertEqual(self.record()["pid"], writer.pid)

    def test_a_server_in_the_background(self):
        """The lease is that of the process that serves, not of the one that forked."""
        with tempfile.TemporaryDirectory(prefix="nbdkit-") as directory:
            pid_file = pathlib.Path(directory, "pid")
            words = ["-U", f"{directory}/socket", "-P", str(pid_file), *self.words()]
            for end in (signal.SIGKILL, signal.SIGTERM):
                subprocess.run(
                    [our_nbdkit(), *words], check=True, timeout=30, stderr=subprocess.DEVNULL
                )
                pid = int(wait_until(pid_file.read_text, 10, "a pid"))
                with contextlib.ExitStack() as undo:
                    undo.callback(_end, pid, signal.SIGKILL)
                    record = wait_until(lambda: self._record_of(pid), 10, "a record with the pid")
                    self.assertEqual(record["state"], "held")
                    self.assertIn(f"pid {pid}", self.refusal())
                    _end(pid, end)
                pid_file.unlink()
                pathlib.Path(directory, "socket").unlink(missing_ok=True)
        self.assertEqual(self.record()["state"], "released")

    def _record_of(self, pid):
        record = self.record()
        return record if record["pid"] == pid else None

    def test_a_record_of_another_program(self):
        """What is not understood is not overwritten, but by force."""
        self.expect_stops(self.serve())
        key = "nbdstack-lease.json"
        other = b'{"format": "nbdstack-lease", "version": 4}'
        self.store.client.put(self.store.bucket, key, other)
        message = self.refusal()
        self.assertIn(key, message)
        self.assertIn("own=force", message)
        self.assertEqual(self.store.body(key), other)
        self.serve(own="force")
        self.assertEqual(self.record()["state"], "held")

    def test_parameters_that_are_refused(self):
        """Each names itself."""
        for parameters, name in (
            ({"own": "me"}, "own"),
            ({"lease_time": "4s"}, "lease-time"),
            ({"lease_time": "2h"}, "lease-time"),
            ({"own": "force", "readonly": "true"}, "readonly"),
        ):
            with self.subTest(**parameters):
                self.assertIn(name, self.refusal(**parameters))
        self.assertEqual(self.store.keys(), [])


def _end(pid, how):
    """Ends a process that is nobody's child, and waits for that."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, how)
        wait_until(lambda: not _is_running(pid), 20, f"process {pid} having ended")


def _is_running(pid):
    with contextlib.suppress(FileNotFoundError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


class StoresWithoutConditions(_WriterCase):
    """Which a server of our own stands for."""

    bucket = "disk"

    def setUp(self):
        self.s3 = MemoryS3({self.bucket: {}})
        self.s3.start()
        self.addCleanup(self.s3.stop)

    def words(self, **parameters):
        """Words of nbdkit's."""
        merged = {"size": SIZE, "lease_time": LEASE_TIME} | parameters
        merged = {name.replace("_", "-"): value for name, value in merged.items()}
        merged |= self.s3.parameters(self.bucket)
        return ["s3", *(f"{name}={value}" for name, value in merged.items())]

    def objects(self):
        """What is stored, in order."""
        with self.s3.lock:
            return dict(self.s3.buckets[self.bucket])

    def test_a_lease_is_refused(self):
        """own=lease: with the reason, and nothing is left behind."""
        for conditions in (Conditions.IGNORED, Conditions.UNKNOWN):
            with self.subTest(conditions.name):
                self.s3.conditions = conditions
                message = self.refusal(own="lease")
                self.assertIn("own=lease", message)
                self.assertRegex(message, r"because it .*\(If-(None-)?Match")
                self.assertIn("own=auto", message)
                left = [key for key in self.objects() if "probe" in key or "lease" in key]
                self.assertEqual(left, [])

    def test_auto_says_it_once_and_goes_on(self):
        """With a plain token, which keeps out whoever comes later."""
        for conditions in (Conditions.IGNORED, Conditions.UNKNOWN):
            with self.subTest(conditions.name):
                self.s3.conditions = conditions
                self.expected = bytes(SIZE)
                server = self.serve()
                self.write(server.connect(), random_bytes(3, 9000), 17)
                time.sleep(LEASE_S)  # with renewals, of which none says anything
                self.assertEqual(server.log().count("does not honour conditional PUTs"), 1)
                # The other is about late requests.
                self.assertEqual(len(server.log().splitlines()), 2, server.log())
                self.assertEqual(server.log().count("changes carry no conditions"), 1)
                self.assertIn(f"pid {server.pid}", self.refusal())
                self.expect_all(server.connect())
                self.expect_stops(server)
                server = self.serve()
                self.expect_all(server.connect())
                self.expect_stops(server)
                with self.s3.lock:
                    self.s3.buckets[self.bucket].clear()

    def test_force_is_noticed_without_conditions(self):
        """At the next renewal, which looks before and after it puts."""
        self.s3.conditions = Conditions.IGNORED
        loser = self.serve()
        winner = self.serve(own="force")
        wait_until(lambda: "has lost the lease" in loser.log(), 3 * EXPIRY_S, "the loss being noticed")
        self.expect_cannot_write(loser.connect())
        self.write(winner.connect(), b"the only one")
        self.expect_stops(loser)
        self.write(winner.connect(), b"still", 4096)
        self.expect_all(winner.connect())

    def test_honoured_conditions_need_no_word(self):
        """The same server with conditions: a lease, in silence."""
        server = self.serve(own="lease")
        self.write(server.connect(), b"by lease")
        self.assertEqual(server.log(), "")

    def test_a_lease_that_vanished_is_lost(self):
        """Somebody emptied the bucket, say: whoever did may write there now."""
        server = self.serve()
        with self.s3.lock:
            del self.s3.buckets[self.bucket]["nbdstack-lease.json"]
        wait_until(lambda: "has lost the lease" in server.log(), 3 * EXPIRY_S, "the loss being noticed")
        self.expect_cannot_write(server.connect())

    def test_another_machines_owner_is_waited_for(self):
        """Whether it lives cannot be seen from here: its lease has to run out."""
        server = self.serve()
        self.expect_stops(server)
        with self.s3.lock:
            lease = self.s3.buckets[self.bucket]["nbdstack-lease.json"]
            text = lease.body.decode().replace('"released"', '"held"')
            text = text.replace(socket.gethostname(), "another-host")
            self.assertIn("another-host", text)
            self.s3.buckets[self.bucket]["nbdstack-lease.json"] = StoredObject(text.encode())
        start = time.monotonic()
        server = self.serve(own="lease")
        self.assertGreater(time.monotonic() - start, LEASE_S)
        self.assertLess(time.monotonic() - start, EXPIRY_S + AT_ONCE_S)
        self.assertRegex(server.log(), "last written by nbdkit on another-host")
        self.assertRegex(server.log(), "taken over: nbdkit on another-host, .*has stopped renewing")
        self.write(server.connect(), b"after another")


if __name__ == "__main__":
    unittest.main()
