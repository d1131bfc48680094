"""md5-file: digests that outlive the server. What changes on the disk while no server looks is found
by the next one; what a killed server leaves behind accuses nobody."""

import errno
import os
import pathlib
import pwd
import re
import shutil
import subprocess
import tempfile
import textwrap
import unittest

import nbd

from e2e.stores import LocalStore
from support import data
from support.nbdkit import Nbdkit, our_nbdkit, run_expecting_failure
from support.sectors import SECTOR_BYTES, SectorModel
from support.small_file_system import in_small_file_system
from support.stamped_load import StampedLoad, run_for

BLOCK = 65536
BLOCKS = 32
MIB = 1 << 20


class _DigestsCase(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="md5-file-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.digests = self.directory / "digests"

    def serve(self, *words, digests=None, **options):
        """A server with the md5-file; a block that differs is an error at once."""
        ours = [f"md5-file={digests or self.digests}", "md5-retry-time=0"]
        server = Nbdkit("--filter=md5", *words, *ours, **options)
        self.addCleanup(server.stop)
        return server

    def expect_eio(self, handle, block, size=BLOCK):
        """The block cannot be read."""
        with self.assertRaises(nbd.Error) as caught:
            handle.pread(size, block * size)
        self.assertEqual(caught.exception.errnum, errno.EIO)

    def expect_complaint(self, server, block, kind):
        """The log names the block and when it was written, and says what is wrong with it."""
        self.assertRegex(
            server.log(), rf"md5: block {block} \(offset {block * BLOCK}, {BLOCK} bytes, written 20.*{kind}"
        )  # fmt: skip

    def refusal(self, *words):
        """What a server says that must not start."""
        _, errors = run_expecting_failure("--filter=md5", *words, f"md5-file={self.digests}")
        return errors


class _DiskCase(_DigestsCase):
    """Over a file, which is damaged behind the server's back."""

    size = BLOCKS * BLOCK

    def setUp(self):
        super().setUp()
        self.disk = self.directory / "disk"
        self.disk.write_bytes(bytes(self.size))

    def serve_disk(self, *parameters, **options):
        """A server of the disk."""
        return self.serve("file", self.disk, *parameters, **options)

    def flip(self, offset):
        """Turns a bit of the disk."""
        with open(self.disk, "r+b") as disk:
            disk.seek(offset)
            byte = disk.read(1)[0]
            disk.seek(offset)
            disk.write(bytes([byte ^ 0x10]))


class MonthsLater(_DiskCase):
    def test_bit_rot_is_found_and_named(self):
        handle = (server := self.serve_disk()).connect()
        content = data.random_bytes(1, BLOCK)
        handle.pwrite(content, 3 * BLOCK)
        handle.pwrite(content, 5 * BLOCK)
        server.terminate()
        self.flip(3 * BLOCK + 777)
        self.flip(7 * BLOCK)  # nothing was ever written there
        handle = (server := self.serve_disk()).connect()
        self.expect_eio(handle, 3)
        self.expect_complaint(server, 3, "damaged data")
        self.assertEqual(handle.pread(BLOCK, 5 * BLOCK), content)
        handle.pread(BLOCK, 7 * BLOCK)
        # Written again, it is well.
        handle.pwrite(content, 3 * BLOCK)
        self.assertEqual(handle.pread(BLOCK, 3 * BLOCK), content)

    def test_relative_path_is_where_the_server_was_started(self):
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.directory)
        server = self.serve_disk(digests="mine")
        os.chdir(before)
        server.connect().pwrite(bytes(BLOCK), 0)
        server.terminate()
        self.assertGreater((self.directory / "mine").stat().st_size, 65536)

    def test_client_that_leaves_without_a_flush_leaves_no_doubt(self):
        handle = (server := self.serve_disk()).connect()
        handle.pwrite(data.random_bytes(1, BLOCK), 0)
        server.disconnect()
        data.wait_until(self._is_settled, 30, "the file to be settled")
        server.kill()
        self.flip(0)
        self.expect_eio(self.serve_disk().connect(), 0)

    def _is_settled(self):
        """Whether the list's one entry says so: md5_file_layout.hpp, open_regions.hpp."""
        return self.digests.read_bytes()[16384 + 8] == 1


class ObjectsMonthsLater(_DigestsCase):
    def setUp(self):
        super().setUp()
        self.store = LocalStore()
        self.addCleanup(self.store.close)
        self.volume = self.store.volume(size="2M", object_size="64K")

    def write_twice(self):
        """Two versions of block 3; the object's bytes after the first."""
        server = self.serve(*self.volume)
        handle = server.connect()
        handle.pwrite(data.random_bytes(1, BLOCK), 3 * BLOCK)
        handle.flush()
        [key] = self.store.block_keys()
        old = self.store.body(key)
        handle.pwrite(data.random_bytes(2, BLOCK), 3 * BLOCK)
        server.terminate()
        return key, old

    def test_lost_object_is_found_and_named(self):
        key, _ = self.write_twice()
        (self.store.directory / self.store.bucket / key).unlink()
        server = self.serve(*self.volume)
        self.expect_eio(server.connect(), 3)
        self.expect_complaint(server, 3, "it reads as zeros: the layer below has lost it")

    def test_old_object_is_found_and_named(self):
        key, old = self.write_twice()
        self.store.replace(key, old)
        server = self.serve(*self.volume)
        self.expect_eio(server.connect(), 3)
        self.expect_complaint(server, 3, "an old copy, what was there before")


class Killed(_DiskCase):
    small = 4096
    size = 16 * MIB
    load_bytes = 8 * MIB  # what is far behind it has no neighbour that becomes doubtful

    def test_no_block_is_accused_and_what_was_flushed_is_verified(self):
        sequence = 1
        model = SectorModel(self.load_bytes // SECTOR_BYTES)
        for turn in range(3):
            server = self.serve_disk(f"md5-block-size={self.small}")
            handle = server.connect()
            handle.pwrite(data.random_bytes(turn, MIB), 12 * MIB)
            handle.flush()
            load = StampedLoad(server, model, len(model), sequence, seed=turn)
            run_for([load], 1)
            server.kill()
            self.assertGreater(load.acknowledged, 20)
            sequence = load.sequence + 1
            self.assertNotIn("md5: block", server.log())
            self._check(model, damaged=12 * MIB // self.small + 7 + turn)

    def _check(self, model, damaged):
        server = self.serve_disk(f"md5-block-size={self.small}")
        handle = server.connect()
        model.settle(handle.pread(self.load_bytes, 0))
        handle.pread(self.size - self.load_bytes, self.load_bytes)
        self.flip(damaged * self.small)
        self.expect_eio(handle, damaged, self.small)
        self.flip(damaged * self.small)
        server.terminate()


class Refusals(_DiskCase):
    def test_file_in_use(self):
        self.serve_disk()
        self.assertIn("is in use by another server", self.refusal("file", self.disk))

    def test_another_disks_file(self):
        server = self.serve_disk()
        handle = server.connect()
        for block in range(4):
            handle.pwrite(data.random_bytes(block, BLOCK), block * BLOCK)
        server.terminate()
        before = self.digests.read_bytes()
        self.disk.write_bytes(data.random_bytes(9, self.size))
        server = self.serve_disk()
        for _ in range(2):
            with self.assertRaises(nbd.Error):
                server.connect()
        self.assertRegex(server.log(), "none of 4 blocks that were .*it is another disk's")
        server.terminate()
        self.assertEqual(self.digests.read_bytes()[65536:], before[65536:], "records have changed")

    def test_block_size_that_contradicts(self):
        server = self.serve_disk("md5-block-size=4096")
        server.connect().pwrite(bytes(BLOCK), 0)
        server.terminate()
        errors = self.refusal("file", self.disk, "md5-block-size=8192")
        self.assertIn("has digests of blocks of 4096 bytes", errors)
        self.serve_disk().connect().pread(BLOCK, 0)

    def test_second_export(self):
        for name in ("one", "two"):
            (self.directory / "disks").mkdir(exist_ok=True)
            (self.directory / "disks" / name).write_bytes(bytes(self.size))
        server = self.serve("file", f"dir={self.directory}/disks", "md5-exports=each")
        server.connect(export="one").pwrite(bytes(BLOCK), 0)
        with self.assertRaises(nbd.Error):
            server.connect(export="two")
        self.assertIn("is for export 'one', and cannot serve 'two'", server.log())
        server.connect(export="one").pread(BLOCK, 0)

    def test_server_that_changes_its_user(self):
        """The file was opened by the user who started it, and is nobody else's."""
        user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        client = 'head -c 65536 /dev/zero | nbdcopy --flush - "$uri" && nbdcopy "$uri" null:'
        for _ in range(2):
            done = subprocess.run(
                [our_nbdkit(), "-U", "-", "-u", user, "--filter=md5", "memory", "1M",
                 f"md5-file={self.digests}", "--run", client],
                capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_not_an_md5_file(self):
        self.digests.write_bytes(b"my only copy")
        self.assertIn("is not an md5-file", self.refusal("file", self.disk))
        self.assertEqual(self.digests.read_bytes(), b"my only copy")

    def test_directory_that_is_not_there(self):
        self.digests = self.directory / "missing" / "digests"
        self.assertRegex(self.refusal("file", self.disk), "md5-file: .*missing/digests")


class FullFileSystem(_DiskCase):
    small = 512
    size = 4 * MIB

    def test_writes_go_on_and_what_is_known_is_verified(self):
        small = self.directory / "small"
        small.mkdir()
        launcher = in_small_file_system(small, "128k")
        server = self.serve_disk(
            f"md5-block-size={self.small}", digests=small / "digests", launcher=launcher
        )
        handle = server.connect()
        content = data.random_bytes(1, self.size)
        for offset in range(0, self.size, BLOCK):
            handle.pwrite(content[offset : offset + BLOCK], offset)
        handle.flush()
        self.assertEqual(len(re.findall("not remembered until this is mended", server.log())), 1)
        self.assertEqual(handle.pread(self.size, 0), content)
        self.flip(0)
        self.expect_eio(handle, 0, self.small)
        self.flip(self.size - self.small)
        handle.pread(self.small, self.size - self.small)
        # What is known can be written again: its place is there.
        handle.pwrite(content[:BLOCK], 0)
        self.assertEqual(handle.pread(BLOCK, 0), content[:BLOCK])
        self.flip(0)
        self.expect_eio(handle, 0, self.small)


    def test_full_for_a_moment(self):
        """While the disk is full no right block is accused; digests are kept again once there is
        room."""
        small = self.directory / "small"
        small.mkdir()
        launcher = in_small_file_system(small, "1M")
        server = self.serve_disk(
            f"md5-block-size={self.small}", digests=small / "digests", launcher=launcher
        )
        handle = server.connect()
        content = data.random_bytes(1, self.size)
        handle.pwrite(content[:BLOCK], 0)
        handle.flush()
        # The file system is in the server's namespace only.
        other = pathlib.Path(f"/proc/{server.pid}/root{small}/other")
        with open(other, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        for tag in (2, 3):
            content = data.random_bytes(tag, self.size)
            for offset in range(0, self.size, BLOCK):
                handle.pwrite(content[offset : offset + BLOCK], offset)
            handle.flush()
            self.assertEqual(handle.pread(self.size, 0), content)
        self.assertEqual(len(re.findall("not remembered until this is mended", server.log())), 1)
        other.unlink()
        end = self.size // 2
        for offset in range(0, end, BLOCK):
            handle.pwrite(content[offset : offset + BLOCK], offset)
        handle.flush()
        self.assertEqual(handle.pread(self.size, 0), content)
        self.flip(end - self.small)
        self.expect_eio(handle, end // self.small - 1, self.small)


class ErrorsOfTheLayerBelow(_DigestsCase):
    plugin = textwrap.dedent(
        f"""
        import errno
        import nbdkit

        API_VERSION = 2

        def open(readonly):
            return 1

        def get_size(handle):
            return {BLOCKS * BLOCK}

        def pread(handle, buffer, offset, flags):
            buffer[:] = bytes(len(buffer))

        def pwrite(handle, content, offset, flags):
            nbdkit.set_error(errno.ENOSPC)
            raise RuntimeError("no room")
        """
    )

    def test_error_of_a_large_write_reaches_the_client(self):
        """Its digests are computed by threads of which nbdkit knows nothing."""
        script = self.directory / "full.py"
        script.write_text(self.plugin)
        handle = self.serve("python", script).connect()
        codes = set()
        for _ in range(20):
            with self.assertRaises(nbd.Error) as caught:
                handle.pwrite(bytes(MIB), 0)
            codes.add(caught.exception.errno)
        self.assertEqual(codes, {"ENOSPC"})


if __name__ == "__main__":
    unittest.main()
