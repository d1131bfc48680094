"""The shadow disk finds what a disk can do wrong: each test plants one fault in a server."""

import pathlib
import tempfile
import textwrap
import unittest

from support.model import Mix, ModelMismatch, ShadowDisk, Workload, WorkloadError, _Request
from support.nbdkit import Nbdkit, system_nbdkit

SIZE = 1 << 20

# A disk in memory that is right, but for what `fault` (one of the names below) does to write number
# `fault_at`, or to every zero or trim.
PLUGIN = """
    import errno, nbdkit, time
    API_VERSION = 2
    disk, fault, changes = bytearray({size}), "{fault}", 0

    def thread_model(): return nbdkit.THREAD_MODEL_PARALLEL
    def open(readonly): return 1
    def get_size(h): return len(disk)
    def can_multi_conn(h): return True
    def can_fua(h): return nbdkit.FUA_NATIVE
    def can_cache(h): return nbdkit.CACHE_EMULATE
    def can_trim(h): return True

    def due():
        global changes
        changes += 1
        return changes == {fault_at}

    def pread(h, buf, offset, flags):
        buf[:] = disk[offset : offset + len(buf)]

    def pwrite(h, buf, offset, flags):
        written = bytearray(buf)
        if due():
            if fault == "flip":
                written[len(written) // 2] ^= 1
            elif fault == "lose":
                return
            elif fault == "misplace":
                offset = offset - 4096 if offset >= 4096 else offset + 4096
            elif fault == "fail":
                nbdkit.set_error(errno.EIO)
                raise RuntimeError("planted")
            elif fault == "hang":
                time.sleep(4)
        written = written[: len(disk) - offset]
        disk[offset : offset + len(written)] = written

    def zero(h, count, offset, flags):
        if fault != "keep_zeroed":
            disk[offset : offset + count] = bytes(count)

    def trim(h, count, offset, flags):
        if fault == "trim_junk":
            disk[offset : offset + count] = b"J" * count

    def flush(h, flags): pass
"""

WRITES = Mix(zero=0, zero_no_hole=0, trim=0)


class PlantedFaults(unittest.TestCase):
    def serve(self, fault, fault_at=40):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        script = pathlib.Path(directory.name) / "plugin.py"
        text = PLUGIN.format(size=SIZE, fault=fault, fault_at=fault_at)
        script.write_text(textwrap.dedent(text))
        server = Nbdkit("python", script, binary=system_nbdkit())
        self.addCleanup(server.stop)
        return server

    def run_workload(self, server, **options):
        defaults = {"seed": 3, "requests": 400, "max_bytes": 65536, "block_size": 4096}
        disk = ShadowDisk(SIZE)
        workload = Workload(disk, **(defaults | options)).run(server.connect)
        disk.compare_with(server.connect())
        return workload

    def test_right_disk_passes_with_requests_of_every_kind(self):
        work = self.run_workload(self.serve("none"), connections=4, in_flight=16, requests=1000)
        self.assertEqual(
            set(work.counts),
            {"read", "write", "write_zeros", "zero", "zero_no_hole", "trim", "flush", "cache"},
        )
        self.assertEqual(sum(work.counts.values()), 1000)

    def test_one_flipped_bit_is_found_and_its_write_named(self):
        with self.assertRaisesRegex(ModelMismatch, r"seed 3: [^$]* 1 wrong bytes[^$]*#\d+ write"):
            self.run_workload(self.serve("flip"), mix=WRITES)

    def test_lost_write_is_found(self):
        with self.assertRaises(ModelMismatch):
            self.run_workload(self.serve("lose"), mix=WRITES)

    def test_misplaced_write_is_found(self):
        with self.assertRaises(ModelMismatch):
            self.run_workload(self.serve("misplace"), mix=WRITES)

    def test_zero_that_zeroes_nothing_is_found(self):
        with self.assertRaises(ModelMismatch):
            self.run_workload(self.serve("keep_zeroed"), mix=Mix(trim=0))

    def test_trimmed_bytes_may_be_anything(self):
        self.run_workload(self.serve("trim_junk"))

    def test_trimmed_bytes_must_be_zeros_when_the_test_says_so(self):
        with self.assertRaises(ModelMismatch):
            self.run_workload(self.serve("trim_junk"), trim_reads_zero=True)

    def test_failed_write_is_an_error(self):
        with self.assertRaisesRegex(WorkloadError, r"write.* failed: EIO"):
            self.run_workload(self.serve("fail"), mix=WRITES)

    def test_failed_write_that_may_fail_leaves_its_bytes_unspecified(self):
        work = self.run_workload(self.serve("fail"), mix=WRITES, may_fail=("EIO",))
        self.assertEqual([name for _, name in work.failures], ["EIO"])

    def test_request_without_answer_is_an_error_and_not_a_hang(self):
        with self.assertRaisesRegex(WorkloadError, r"no answer .* to #\d+ write"):
            self.run_workload(self.serve("hang"), mix=WRITES, stall_s=1)

    def test_server_that_dies_is_an_error(self):
        server = self.serve("none")

        def connect():
            handle = server.connect()
            server.kill()
            return handle

        with self.assertRaises(WorkloadError):
            Workload(ShadowDisk(SIZE), 1, 10).run(connect)

    def test_kind_of_request_not_offered_is_an_error(self):
        server = Nbdkit("eval", "get_size=echo 1M", "pread=exit 1", binary=system_nbdkit())
        self.addCleanup(server.stop)
        with self.assertRaisesRegex(WorkloadError, "does not offer write-zeroes, trim"):
            self.run_workload(server)


class Requests(unittest.TestCase):
    def test_requests_in_flight_share_bytes_only_to_read_them(self):
        def request(kind, offset, count):
            return _Request(0, kind, offset, count, False)

        read = request("read", 100, 50)
        self.assertFalse(read.collides(request("read", 120, 5)))
        self.assertFalse(read.collides(request("cache", 100, 50)))
        self.assertTrue(read.collides(request("write", 149, 1)))
        self.assertFalse(read.collides(request("write", 150, 10)))
        self.assertTrue(request("trim", 0, 101).collides(read))

    def test_same_seed_sends_the_same_requests(self):
        logs = []
        for seed in (5, 5, 6):
            with tempfile.TemporaryDirectory() as directory:
                log = pathlib.Path(directory) / "log"
                with Nbdkit(
                    "--filter=log", "memory", SIZE, f"logfile={log}", binary=system_nbdkit()
                ) as server:
                    disk = ShadowDisk(SIZE)
                    Workload(disk, seed, 100, max_bytes=65536).run(server.connect)
                lines = log.read_text().splitlines()
                logs.append([line.split("id=", 1)[1] for line in lines if "offset=" in line])
        self.assertEqual(logs[0], logs[1])
        self.assertNotEqual(logs[0], logs[2])


if __name__ == "__main__":
    unittest.main()
