"""The cacheextents filter: what reaches the layer below, and that a hole is never said of data."""

import os
import pathlib
import subprocess
import tempfile
import unittest

import nbd

from support import data
from support.cases import GIB, KIB, MIB, logged_requests
from support.model import Mix, ShadowDisk, Workload
from support.nbdkit import Nbdkit, run_expecting_failure
from support.stopping import AT_ONCE_S, SlowExtents, StallingVolume
from support.stopping import seconds_after_release, seconds_to_end

FRAGMENTS = 3000
DISK_BYTES = 100 * GIB
# NBD asks about 4 GiB at most, less what keeps a question aligned.
QUESTIONS = DISK_BYTES // (4 * GIB) + 1


def block_status(handle, offset, count, flags=0):
    """[(length, flags)] of one reply."""
    entries = []
    handle.block_status(count, offset, lambda _c, _o, found, _e: entries.extend(found), flags)
    return list(zip(entries[::2], entries[1::2]))


def full_map(handle):
    """[(offset, length, flags)] of the whole disk, equal neighbours merged."""
    found, position, size = [], 0, handle.get_size()
    while position < size:
        for length, flags in block_status(handle, position, min(size - position, 2 * GIB)):
            if found and found[-1][2] == flags:
                found[-1][1] += length
            else:
                found.append([position, length, flags])
            position += length
    return found


class CacheextentsCase(unittest.TestCase):
    """Servers whose `self.log_file` has what the filter asks the layer below."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="cacheextents-test-", dir="/var/tmp")
        self.addCleanup(scratch.cleanup)
        self.scratch = pathlib.Path(scratch.name)
        self.log_file = self.scratch / "requests"

    def serve(self, *below, filters=("--filter=cacheextents",), **options):
        """A server of the filter over nbdkit's log filter over `below`."""
        words = [*filters, "--filter=log", *below, f"logfile={self.log_file}"]
        server = Nbdkit(*words, **options)
        self.addCleanup(server.stop)
        return server

    def questions(self):
        """How many extents requests have reached the layer below."""
        return len(logged_requests(self.log_file, "Extents"))


class FragmentedDisk(CacheextentsCase):
    """A disk of 100 GiB with many small pieces of data, one in every 34 MiB."""

    def setUp(self):
        super().setUp()
        self.disk = self.scratch / "disk"
        with open(self.disk, "wb") as disk:
            os.truncate(self.disk, DISK_BYTES)
            for i in range(FRAGMENTS):
                os.pwrite(disk.fileno(), b"x" * 4096, self.offset_of(i))

    @staticmethod
    def offset_of(fragment):
        """Where a piece of data is."""
        return DISK_BYTES // FRAGMENTS // 4096 * 4096 * fragment

    def run_client(self, server, *command):
        """Runs a client of the disk, and returns what it prints."""
        words = [word.replace("URI", server.uri()) for word in command]
        return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout

    def test_qemu_asks_for_each_extent_and_the_layer_below_is_asked_seldom(self):
        server = self.serve("file", self.disk)
        command = ["qemu-img", "map", "-f", "raw", "URI"]
        listed = self.run_client(server, *command)
        self.assertGreaterEqual(listed.count("\n"), FRAGMENTS)
        self.assertLessEqual(self.questions(), QUESTIONS)
        asked = self.questions()
        self.assertEqual(self.run_client(server, *command), listed)
        self.assertEqual(self.questions(), asked)

    def test_copy_in_parallel_asks_seldom_and_once(self):
        server = self.serve("file", self.disk)
        self.run_client(server, "nbdcopy", "URI", "null:")
        # Several threads begin in different places, and some ask for the same at the same time.
        self.assertLessEqual(self.questions(), 2 * QUESTIONS)
        asked = self.questions()
        self.run_client(server, "nbdcopy", "URI", "null:")
        self.assertEqual(self.questions(), asked)

    def test_map_is_that_of_the_layer_below(self):
        server = self.serve("file", self.disk)
        with Nbdkit("file", self.disk) as bare:
            expected = self.run_client(bare, "nbdinfo", "--map", "URI")
        for _ in range(2):
            self.assertEqual(self.run_client(server, "nbdinfo", "--map", "URI"), expected)
        self.assertLessEqual(self.questions(), QUESTIONS)

    def test_little_room_costs_questions_and_nothing_else(self):
        server = self.serve("file", self.disk, "cacheextents-max-runs=1000")
        for _ in range(2):
            found = full_map(server.connect())
            self.assertEqual(len(found), 2 * FRAGMENTS)
            self.assertEqual(found[-2][0], self.offset_of(FRAGMENTS - 1))

    def test_scan_leaves_nothing_to_ask(self):
        server = self.serve("file", self.disk, "cacheextents-scan=on", verbose=True)
        handle = server.connect()
        data.wait_until(lambda: "the scan is complete" in server.log(), 30, "the scan's end")
        asked = self.questions()
        self.assertLessEqual(asked, QUESTIONS)
        self.assertEqual(len(full_map(handle)), 2 * FRAGMENTS)
        self.assertEqual(self.questions(), asked)

    def test_scan_of_a_layer_that_serves_one_request_at_a_time(self):
        server = self.serve(
            "--filter=noparallel", "file", self.disk, "cacheextents-scan=on",
            "serialize=all-requests",
        )  # fmt: skip
        handle = server.connect()
        for i in range(100):
            handle.pwrite(b"y" * 4096, self.offset_of(i) + 8192)
        self.assertEqual(len(full_map(handle)), 2 * FRAGMENTS + 200)

    def test_failing_scan_changes_nothing(self):
        fail = self.scratch / "fail"
        fail.touch()
        server = self.serve(
            "--filter=error", "file", self.disk, "cacheextents-scan=on", "error-extents=EIO",
            "error-extents-rate=100%", f"error-file={fail}", verbose=True,
        )  # fmt: skip
        handle = server.connect()
        data.wait_until(lambda: "the scan was given up" in server.log(), 30, "the scan's end")
        with self.assertRaises(nbd.Error) as caught:
            block_status(handle, 0, MIB)
        self.assertEqual(caught.exception.errno, "EIO")
        self.assertEqual(handle.pread(4096, 0), b"x" * 4096)
        fail.unlink()
        self.assertEqual(len(full_map(handle)), 2 * FRAGMENTS)

    def test_layer_that_refuses_long_questions_is_asked_the_clients(self):
        server = self.serve(
            "eval", "get_size=echo 1G", "pread=exit 1", "can_extents=exit 0",
            'extents=if [ $3 -gt 1048576 ]; then echo EINVAL too long >&2; exit 1; fi; '
            'echo "$4 $3 hole,zero"',
        )  # fmt: skip
        handle = server.connect()
        for _ in range(2):
            self.assertEqual(block_status(handle, MIB, MIB), [(MIB, 3)])
        self.assertEqual(self.questions(), 2)


class Scanning(CacheextentsCase):
    """The scan fails, or takes its time when the server is to end."""

    def test_scan_that_fails_changes_nothing(self):
        """A scan that fails always, or half of the time, fails no request of a client and leaves a
        true map."""
        for rate in ("100%", "50%"):
            with self.subTest(rate):
                fail = self.scratch / "fail"
                fail.touch()
                server = self.serve(
                    "--filter=error", "memory", "16M", "cacheextents-scan=on", "error-extents=EIO",
                    f"error-extents-rate={rate}", f"error-file={fail}", verbose=True,
                )  # fmt: skip
                server.connect()
                data.wait_until(lambda: "the scan " in server.log(), 30, "the scan's end")
                disk = ShadowDisk(16 * MIB)
                workload = Workload(
                    disk, seed=7, requests=500, connections=2, in_flight=8, block_size=32 * KIB,
                    max_bytes=256 * KIB, mix=Mix(cache=0, trim=10, zero=10),
                )  # fmt: skip
                workload.run(server.connect)
                fail.unlink()
                handle = server.connect()
                disk.compare_with(handle)
                for offset, length, flags in full_map(handle):
                    if flags & nbd.STATE_ZERO:
                        self.assertEqual(handle.pread(length, offset), bytes(length))
                self.assertEqual(server.terminate(), 0)

    def test_server_ends_in_the_midst_of_a_question(self):
        server = self.serve("--filter=delay", "memory", "16M", "cacheextents-scan=on",
                            "delay-extents=1000")  # fmt: skip
        server.connect()
        data.wait_until(self.questions, 30, "the scan's first question")
        server.disconnect()
        self.assertLess(seconds_to_end(server), AT_ONCE_S)

    def test_question_that_a_plugin_cannot_give_up(self):
        """The server waits for the query, and makes no other."""
        below = SlowExtents(self.scratch)
        server = self.serve(*below.arguments, "cacheextents-scan=on", verbose=True)
        self.assertEqual(server.connect().pread(10, 0), b"\7" * 10)
        below.wait_for_question()
        server.disconnect()
        took = seconds_after_release(server, "cacheextents: cleanup", below.release)
        self.assertLess(took, AT_ONCE_S)
        self.assertEqual(below.questions(), 1)

    def test_service_that_does_not_answer(self):
        volume = StallingVolume()
        self.addCleanup(volume.close)
        volume.stall(volume.is_listing)
        server = self.serve(*volume.words("own=none", "trust-listing=true", "cacheextents-scan=on"))
        self.assertEqual(server.connect().pread(volume.SIZE, 0), volume.content)
        volume.wait_until_under_way(volume.is_listing)
        server.disconnect()
        self.assertLess(seconds_to_end(server), AT_ONCE_S)
        self.assertEqual(len(volume.arrived(volume.is_listing)), 1)


class Changes(CacheextentsCase):
    def test_write_on_one_connection_is_seen_on_the_other(self):
        server = self.serve("memory", "64M")
        writer, other = server.connect(), server.connect()
        self.assertEqual(full_map(other), [[0, 64 * MIB, 3]])
        writer.pwrite(b"x" * 4096, MIB)
        self.assertEqual(
            full_map(other), [[0, MIB, 3], [MIB, 4096, 0], [MIB + 4096, 63 * MIB - 4096, 3]]
        )
        self.assertEqual(self.questions(), 1)

    def test_trim_and_zero_are_seen(self):
        server = self.serve("memory", "64M")
        handle = server.connect()
        handle.pwrite(b"x" * 4 * MIB, 0)
        handle.zero(MIB, 0, nbd.CMD_FLAG_NO_HOLE)
        self.assertEqual(block_status(handle, 0, MIB), [(MIB, 2)])
        self.assertEqual(self.questions(), 0)
        handle.trim(MIB, MIB)
        self.assertEqual(block_status(handle, MIB, MIB), [(MIB, 3)])
        handle.zero(MIB, 2 * MIB)
        self.assertEqual(block_status(handle, 2 * MIB, MIB), [(MIB, 3)])
        self.assertEqual(block_status(handle, 3 * MIB, MIB), [(MIB, 0)])

    def test_failed_write_is_asked_about(self):
        fail = self.scratch / "fail"
        server = self.serve(
            "--filter=error", "memory", "64M", "error-pwrite=EIO", "error-pwrite-rate=100%",
            f"error-file={fail}",
        )  # fmt: skip
        handle = server.connect()
        full_map(handle)
        fail.touch()
        with self.assertRaises(nbd.Error):
            handle.pwrite(b"x" * 4096, MIB)
        fail.unlink()
        self.assertEqual(block_status(handle, MIB, 4096), [(4096, 3)])
        self.assertEqual(self.questions(), 2)

    def test_exports_are_apart(self):
        server = self.serve(
            "eval", "open=echo $3", "get_size=echo 1M", "pread=exit 1", "can_extents=exit 0",
            "cacheextents-exports=each",
            'extents=if [ "$2" = a ]; then echo "$4 $3 hole,zero"; else echo "$4 $3"; fi',
        )  # fmt: skip
        one, other = server.connect("a"), server.connect("b")
        for _ in range(2):
            self.assertEqual(full_map(one), [[0, MIB, 3]])
            self.assertEqual(full_map(other), [[0, MIB, 0]])
        self.assertEqual(self.questions(), 2)

    def test_largest_disk(self):
        size = 2**63 - 1
        server = self.serve("memory", str(size), "cacheextents-scan=on", verbose=True)
        handle = server.connect()
        self.assertEqual(block_status(handle, size - 10, 10), [(10, 3)])
        handle.pwrite(b"x", size - 1)
        self.assertEqual(block_status(handle, size - 10, 10), [(9, 3), (1, 0)])
        self.assertEqual(server.terminate(), 0)

    def test_disk_that_grew_is_asked_about_anew(self):
        disk = self.scratch / "disk"
        disk.write_bytes(b"x" * MIB)
        server = self.serve("file", disk)
        self.assertEqual(full_map(server.connect()), [[0, MIB, 0]])
        os.truncate(disk, 0)
        os.truncate(disk, 2 * MIB)
        with self.assertRaises(nbd.Error):
            server.connect()
        server.disconnect()
        self.assertEqual(full_map(server.connect()), [[0, 2 * MIB, 3]])

    def test_random_requests_leave_a_true_map(self):
        """Also over and under the cache filter, which keeps dirty blocks for itself."""
        for filters in (
            ["--filter=cacheextents"],
            ["--filter=cache", "--filter=cacheextents"],
            ["--filter=cacheextents", "--filter=cache"],
        ):
            with self.subTest(filters):
                server = Nbdkit(*filters, "memory", "4M", "cacheextents-scan=on")
                self.addCleanup(server.stop)
                disk = ShadowDisk(4 * MIB)
                Workload(
                    disk, seed=5, requests=1500, connections=3, in_flight=8, block_size=32 * KIB,
                    max_bytes=256 * KIB, mix=Mix(read=10, cache=1, trim=10, zero=10),
                ).run(server.connect)  # fmt: skip
                handle = server.connect()
                for offset, length, flags in full_map(handle):
                    if flags & 2:
                        self.assertEqual(handle.pread(length, offset), bytes(length))


class Starting(unittest.TestCase):
    def test_bad_parameters_are_refused_by_name(self):
        for parameter in (
            "cacheextents-max-runs=999",
            "cacheextents-max-runs=many",
            "cacheextents-scan=perhaps",
        ):
            with self.subTest(parameter):
                code, errors = run_expecting_failure(
                    "--filter=cacheextents", "memory", "1M", parameter
                )
                self.assertEqual(code, 1)
                self.assertRegex(errors, f"error: .*{parameter.split('=')[0]}")

    def test_layer_without_extents_has_none(self):
        with Nbdkit(
            "--filter=cacheextents", "--filter=noextents", "memory", "1M", "cacheextents-scan=on"
        ) as server:
            self.assertEqual(full_map(server.connect()), [[0, MIB, 0]])


if __name__ == "__main__":
    unittest.main()
