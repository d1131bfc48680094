"""The readahead filter: what reaches the layer below it, counted; and that nothing else changes."""

import pathlib
import re
import tempfile
import time
import unittest

import nbd

from support import data
from support.cases import KIB, MIB, logged_requests, parallel_reads
from support.layer_below import LayerBelow
from support.nbdkit import Nbdkit, run_expecting_failure
from support.stopping import AT_ONCE_S, LATER_S, StallingVolume
from support.stopping import seconds_after_release, seconds_to_end

READ = 128 * KIB
MOST_IN_VAIN = 2 * MIB  # and a sixteenth of what is read
STACK = ["--filter=readahead", "--filter=cache"]


class ReadaheadCase(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="readahead-test-")
        self.addCleanup(directory.cleanup)
        self.scratch = pathlib.Path(directory.name)
        self.log = self.scratch / "log"

    def serve(self, *arguments, **options):
        """A server, stopped when the test ends."""
        server = Nbdkit(*arguments, **options)
        self.addCleanup(server.stop)
        return server

    def serve_slow(self, *filters, size="256M", delay="rdelay=20ms"):
        """A server of filters over a slow layer whose requests are logged."""
        return self.serve(
            *filters, "--filter=log", "--filter=delay", "memory", size, delay, f"logfile={self.log}"
        )

    def fetched(self):
        """Bytes read from the layer below, once nothing more comes."""
        before, now = -1, 0
        while now > before:
            time.sleep(0.1)
            before, now = now, sum(count for _, count in logged_requests(self.log, "Read"))
        return now


class Streams(ReadaheadCase):
    def test_a_reader_at_depth_1_hardly_waits(self):
        """As an order of magnitude: one after the other the reads would take 7.7 s."""
        handle = self.serve_slow(*STACK).connect()
        start = time.monotonic()
        for i in range(384):
            handle.pread(READ, i * READ)
        took = time.monotonic() - start
        self.assertLess(took, 384 * 0.020 / 3)
        self.assertLessEqual(self.fetched(), MOST_IN_VAIN + 384 * READ * 17 // 16)
        self.assertLess(len(logged_requests(self.log, "Read")), 384 * 0.6)

    def test_interleaved_streams_are_fetched_once(self):
        handle = self.serve_slow(*STACK).connect()
        for rounds, depth in enumerate((1, 16), start=1):
            with self.subTest(depth=depth):
                self._interleaved(handle, depth, first=(depth > 1) * 16 * MIB)
                self.assertLessEqual(self.fetched(), MOST_IN_VAIN + rounds * 48 * MIB * 17 // 16)

    def _interleaved(self, handle, depth, first):
        """Eight streams of 6 MiB in turn."""
        offsets = [s * 32 * MIB + first + i * READ for i in range(48) for s in range(8)]
        for i in range(0, len(offsets), depth):
            parallel_reads(handle, offsets[i : i + depth], READ)

    def test_streams_of_several_connections_are_streams_of_the_export(self):
        server = self.serve_slow(*STACK)
        handles = [server.connect() for _ in range(3)]
        for i in range(96):
            handles[i % 3].pread(READ, i * READ)
        self.assertLess(len(logged_requests(self.log, "Read")), 96 * 0.7)

    def test_random_reads_fetch_nothing_else(self):
        server = self.serve("--filter=readahead", "--filter=log", "memory", "1G",
                            f"logfile={self.log}")  # fmt: skip
        handle = server.connect()
        for i in range(300):
            handle.pread(READ, (i * 5077 % 8192) * READ)
        self.assertEqual(logged_requests(self.log, "Cache"), [])

    def test_windows_end_with_the_disk_and_on_bounds_of_blocks(self):
        size = 8 * MIB + 512
        server = self.serve(
            "--filter=readahead", "--filter=log", "--filter=blocksize-policy", "memory", str(size),
            "blocksize-minimum=512", "blocksize-preferred=1M", "blocksize-maximum=4M",
            "blocksize-error-policy=error", f"logfile={self.log}", "readahead-min=1M",
        )  # fmt: skip
        handle = server.connect()
        # The last piece is left out: what the reader has already read is fetched for nobody.
        for offset in range(0, size - MIB, READ):
            handle.pread(READ, offset)
        data.wait_until(
            lambda: any(o + n == size for o, n in logged_requests(self.log, "Cache")), 20, "the end"
        )
        for offset, count in logged_requests(self.log, "Cache"):
            self.assertTrue((offset + count) % MIB == 0 or offset + count == size, (offset, count))

    def test_exports_are_read_ahead_each_for_itself(self):
        server = self.serve(
            *STACK, "eval", "open=echo $3", "get_size=echo 4M", "thread_model=echo parallel",
            "pread=head -c $3 /dev/zero | tr '\\0' $2", "cache-exports=each",
        )  # fmt: skip
        for export in ("a", "b"):
            handle = server.connect(export)
            for i in range(16):
                self.assertEqual(handle.pread(READ, i * READ), export.encode() * READ)

    def test_what_is_read_is_what_is_stored(self):
        content = data.tagged(1, 0, 16 * MIB)
        disk = self.scratch / "disk"
        disk.write_bytes(content)
        handle = self.serve(*STACK, "file", disk).connect()
        for offset in range(0, len(content), READ):
            self.assertEqual(handle.pread(READ, offset), content[offset : offset + READ])


class BelowIsOtherwise(ReadaheadCase):
    def test_without_a_cache_below_it_says_so_once_and_does_nothing(self):
        server = self.serve("--filter=readahead", "--filter=log", "eval", "get_size=echo 4M",
                            "pread=head -c $3 /dev/zero", f"logfile={self.log}")  # fmt: skip
        for _ in range(2):
            handle = server.connect()
            for i in range(8):
                handle.pread(READ, i * READ)
        self.assertEqual(server.log().count("--filter=readahead --filter=cache"), 1)
        self.assertEqual(logged_requests(self.log, "Cache"), [])

    def test_over_one_request_at_a_time_a_reader_waits_less(self):
        server = self.serve_slow(*STACK, "--filter=noparallel")
        handle = server.connect()
        for i in range(128):
            handle.pread(READ, i * READ)
        self.assertLess(len(logged_requests(self.log, "Read")), 128 / 2)

    def test_failing_fetches_change_nothing(self):
        fail = self.scratch / "fail"
        fail.touch()
        server = self.serve(
            "--filter=readahead", "--filter=log", "--filter=error", "memory", "64M",
            "error-cache=EIO", "error-cache-rate=100%", f"logfile={self.log}",
            f"error-file={fail}",
        )  # fmt: skip
        handle = server.connect()
        for i in range(8):
            handle.pread(READ, i * READ)
        data.wait_until(lambda: logged_requests(self.log, "Cache"), 20, "a fetch")
        for i in range(8, 256):
            handle.pread(READ, i * READ)
        self.assertLess(len(logged_requests(self.log, "Cache")), 32)
        fail.unlink()
        handle.pread(READ, 0)

    def test_reads_that_fail_in_a_fetch_fail_for_nobody_else(self):
        """A cache below whose fetches fail, and then work again."""
        below = LayerBelow(self.scratch / "below", 16 * MIB, content=data.tagged(1, 0, 16 * MIB))
        handle = self.serve(*STACK, *below.arguments).connect()
        for i in range(16):
            handle.pread(READ, i * READ)
        below.fail("pread")
        with self.assertRaises(nbd.Error):
            for i in range(16, 128):
                handle.pread(READ, i * READ)
        below.heal("pread")
        for i in range(16, 128):
            self.assertEqual(handle.pread(READ, i * READ), data.tagged(1, i * READ, READ))

    def test_fetches_that_fail_at_random_change_nothing(self):
        """Over a cache, which is asked for every part of the disk and refuses half of the time."""
        content = data.tagged(1, 0, 32 * MIB)
        disk = self.scratch / "disk"
        disk.write_bytes(content)
        for rate in ("50%", "100%"):
            with self.subTest(rate):
                server = self.serve(
                    "--filter=readahead", "--filter=error", "--filter=cache", "file", disk,
                    "error-cache=EIO", f"error-cache-rate={rate}", verbose=True,
                )  # fmt: skip
                handles = [server.connect() for _ in range(2)]

                def fails_while_all_is_read(server=server, handles=handles):
                    for offset in range(0, len(content) // 2, READ):
                        for handle, first in zip(handles, (0, len(content) // 2)):
                            at = first + offset
                            self.assertEqual(handle.pread(READ, at), content[at : at + READ])
                    return "failed: " in server.log()

                # Readers of a fast disk may be ahead of every fetch on a busy machine.
                data.wait_until(fails_while_all_is_read, 60, "a fetch that fails")
                self.assertEqual(server.terminate(), 0)


class EndOfTheServer(ReadaheadCase):
    """In the midst of fetches, with others waiting for their turn."""

    def test_client_who_leaves_after_sigterm(self):
        """Over nbdkit's delay filter, whose sleep ends with the server."""
        server = self.serve_slow(*STACK, delay="rdelay=30")
        handle = server.connect()
        buffers = [nbd.Buffer(READ) for _ in range(8)]
        for i, buffer in enumerate(buffers):
            handle.aio_pread(buffer, i * READ)
        # The reads, and what is fetched ahead of them, each of which takes half a minute.
        data.wait_until(lambda: self._ahead(8 * READ), 20, "a fetch under way")
        start = time.monotonic()
        server.process.terminate()
        # nbdkit tells the client of each read under way, and waits for him to leave.
        while handle.aio_in_flight():
            self.assertEqual(handle.poll(20000), 1, "no answer")
        self.assertEqual(server.terminate(20), 0)
        self.assertLess(time.monotonic() - start, AT_ONCE_S)

    def _ahead(self, offset):
        return [o for o, _ in logged_requests(self.log, "Read") if o >= offset]

    def read_until(self, handle, has_begun):
        """Reads on, from what has been fetched, until a fetch has begun. More is asked for long
        before the reader is at the end of what he has."""
        while not has_begun():
            handle.pread(READ, self.position)
            self.position += READ
            self.assertLess(self.position, 24 * READ, "nothing is fetched ahead")
            time.sleep(0.05)

    def start_stream(self, handle):
        """A reader who is well behind what has been fetched for him."""
        for self.position in range(0, 16 * READ, READ):
            handle.pread(READ, self.position)
        self.position += READ

    def test_fetch_that_a_plugin_cannot_give_up(self):
        """It is waited for, and those that wait for their turn are not made."""
        below = LayerBelow(self.scratch / "below", 64 * MIB, content=data.tagged(1, 0, 64 * MIB))
        words = ["readahead-inflight=128K", "-D", "readahead.verbose=1"]
        server = self.serve(*STACK, *below.arguments, *words, verbose=True)
        handle = server.connect()
        self.start_stream(handle)
        asked = re.compile("readahead: asking for")
        self._wait_until_quiet(below.requests)
        below.forget_requests()
        before = len(asked.findall(server.log()))
        below.hold("pread")
        self.addCleanup(below.release, "pread")
        self.read_until(handle, lambda: below.requests("pread"))
        self.assertGreater(len(asked.findall(server.log())) - before, 1)
        self.assertEqual(len(below.requests("pread")), 1)
        below.delay("pread", LATER_S)  # for those that come
        handle.aio_disconnect()
        took = seconds_after_release(server, "readahead: finalize", lambda: below.release("pread"))
        self.assertLess(took, AT_ONCE_S)
        self.assertEqual(len(below.requests("pread")), 1)

    def _wait_until_quiet(self, requests):
        """Until no fetch is under way, and none waits for its turn."""

        def is_quiet():
            before = len(requests())
            time.sleep(0.2)
            return len(requests()) == before

        data.wait_until(is_quiet, 30, "the fetches' end")

    def _stalled_fetch(self, *parameters):
        """A service that is asked to fetch ahead and says nothing: the volume, the server, and its
        client, who stays."""
        volume = StallingVolume()
        self.addCleanup(volume.close)
        server = self.serve(*STACK, *volume.words(*parameters))
        handle = server.connect()
        self.start_stream(handle)
        self._wait_until_quiet(lambda: volume.arrived(volume.is_block))
        before = len(volume.arrived(volume.is_block))
        volume.stall(volume.is_block)
        self.read_until(handle, lambda: len(volume.arrived(volume.is_block)) > before)
        volume.wait_until_under_way(volume.is_block, before + 1)
        return volume, server, handle

    def test_service_that_does_not_answer(self):
        """Objects are fetched ahead from a service that is asked and says nothing."""
        _, server, handle = self._stalled_fetch()
        handle.aio_disconnect()
        self.assertLess(seconds_to_end(server), AT_ONCE_S)

    def test_nothing_is_fetched_when_the_server_stops(self):
        """Fetches wait for one that SIGTERM gives up, and their client stays: what began after the
        stop would get the time of a last write from the plugin."""
        volume, server, handle = self._stalled_fetch("readahead-inflight=128k")
        asked = len(volume.arrived(volume.is_block))
        server.process.terminate()
        data.wait_until(lambda: "shutting down" in server.log(), 30, "the end of the fetch")
        time.sleep(0.5)  # another one would have begun
        handle.aio_disconnect()
        self.assertLess(seconds_to_end(server), AT_ONCE_S)
        self.assertEqual(len(volume.arrived(volume.is_block)), asked)


class Starting(unittest.TestCase):
    def test_bad_parameters_are_refused_by_name(self):
        cases = {
            "readahead-streams=0": "readahead-streams",
            "readahead-streams=x": "readahead-streams",
            "readahead-min=1": "readahead-min",
            "readahead-max=2G": "readahead-max",
            "readahead-inflight=none": "readahead-inflight",
            "readahead-max=64k": "readahead-min must not be greater than readahead-max",
        }
        for parameter, expected in cases.items():
            with self.subTest(parameter):
                code, errors = run_expecting_failure("--filter=readahead", "null", "1M", parameter)
                self.assertEqual(code, 1)
                self.assertRegex(errors, f"error: .*{expected}")

    def test_no_parameters_are_needed(self):
        with Nbdkit("--filter=readahead", "null", "1M", "-D", "readahead.verbose=1", verbose=True,
                    ) as server:  # fmt: skip
            handle = server.connect()
            for i in range(8):
                handle.pread(READ, i * READ)
            data.wait_until(
                lambda: re.search(r"readahead: asking for \d+ bytes at", server.log())
                or "has no cache" in server.log(), 20, "a word",
            )  # fmt: skip


if __name__ == "__main__":
    unittest.main()
