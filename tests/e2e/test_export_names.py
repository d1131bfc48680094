"""Which clients share what a filter remembers: one disk, one memory, whatever names it is shown
under (common/block/disk_registry.hpp)."""

import os
import subprocess
import unittest

import nbd

from e2e.exports_case import FILTERS, ExportsCase
from e2e.test_zeroblock import BLOCK, MIB, scratch_of
from support import data


class KnownDisk(ExportsCase):
    def setUp(self):
        super().setUp()
        self.disks.make("default", bytes(MIB))
        self.disks.tell("default", id="disk-1")

    def test_two_names_share_what_is_remembered(self):
        for filters in [(name,) for name in FILTERS] + [FILTERS, FILTERS[::-1]]:
            with self.subTest(filters):
                self.disks.make("default", bytes(MIB))
                server = self.stack(*filters)
                one, other = server.connect(), server.connect("other")
                self.assertEqual(one.pread(BLOCK, 0), bytes(BLOCK))
                self.assertEqual(other.pread(BLOCK, 0), bytes(BLOCK))
                one.pwrite(b"A" * 512, 0)
                other.pwrite(b"B" * 512, 512)
                self.assertEqual(one.pread(1024, 0), b"A" * 512 + b"B" * 512)
                other.zero(BLOCK, 0)
                self.assertEqual(one.pread(BLOCK, 0), bytes(BLOCK))
                one.pwrite(b"C" * BLOCK, 0)
                self.assertEqual(other.pread(BLOCK, 0), b"C" * BLOCK)
                self.assertEqual(server.terminate(), 0)

    def test_different_disks_are_apart(self):
        self.disks.make("other", b"x" * MIB)
        self.disks.tell("other", id="disk-2")
        server = self.stack(*FILTERS)
        self.assertEqual(server.connect().pread(BLOCK, 0), bytes(BLOCK))
        self.assertEqual(server.connect("other").pread(BLOCK, 0), b"x" * BLOCK)

    def test_a_disk_that_tells_nothing_is_not_taken_for_one_that_does(self):
        self.disks.make("other", b"x" * MIB)
        for name in FILTERS:
            server = self.stack(name)
            server.connect()
            self.assert_refused(server, "other", f"{name}: the plugin tells which disk export ''")
            server.disconnect()
            self.assertEqual(server.connect("other").pread(BLOCK, 0), b"x" * BLOCK)

    def test_what_is_remembered_is_not_used_without_the_right_to_write(self):
        """Without the right to write, filters ask the layer below, and the cache refuses all
        requests."""
        asking = [name for name in FILTERS if name != "cache"]
        disk = self.disks.folder / "default"
        for right in ("doubtful", "lost"):
            with self.subTest(right):
                self.disks.make("default", bytes(MIB))
                self.disks.tell("default", id="disk-1")
                server = self.stack(*asking, "readahead")
                handle = server.connect()
                handle.zero(BLOCK, 0)
                extents = []
                handle.block_status(BLOCK, 0, lambda _c, _o, e, _err: extents.append(e))
                with open(disk, "r+b") as other_server:
                    other_server.write(b"y" * BLOCK)
                self.disks.tell("default", id="disk-1", right=right)
                self.assertEqual(handle.pread(BLOCK, 0), b"y" * BLOCK)
                extents = []
                handle.block_status(BLOCK, 0, lambda _c, _o, e, _err: extents.extend(e))
                self.assertEqual(extents, [BLOCK, 0])
                self.assertEqual(server.terminate(), 0)

    def test_a_disk_that_grew_is_served_when_its_clients_have_left(self):
        for name in FILTERS:
            with self.subTest(name):
                self.disks.make("default", bytes(MIB))
                self.disks.tell("default", id="disk-1")
                server = self.stack(name)
                server.connect()
                os.truncate(self.disks.folder / "default", 2 * MIB)
                self.disks.tell("default", id="disk-1")
                self.assert_refused(server, "", "is 2097152 bytes long now")
                server.disconnect()
                self.assertEqual(server.connect().get_size(), 2 * MIB)

    def test_names_that_were_made_up_leave_nothing_behind(self):
        for parameter in (None, "each"):
            server = self.serve(
                *(f"--filter={name}" for name in FILTERS), "memory", "1M",
                *(f"{name}-exports={parameter}" for name in FILTERS if parameter),
            )  # fmt: skip

            def threads_and_files(pid=server.pid):
                return len(os.listdir(f"/proc/{pid}/task")) + len(os.listdir(f"/proc/{pid}/fd"))

            for number in range(10):
                server.connect(f"n{number}")
                server.disconnect()
            before = threads_and_files()
            for number in range(10, 150):
                server.connect(f"n{number}")
                server.disconnect()
            self.assertLess(threads_and_files(), before + 50)


class UnknownDisk(ExportsCase):
    """The plugin tells nothing: two names may be one disk or two."""

    def setUp(self):
        super().setUp()
        self.disks.make("default", b"d" * MIB)
        self.disks.make("a", b"a" * MIB)

    def test_a_second_name_is_refused_and_told_what_to_set(self):
        for name in FILTERS:
            with self.subTest(name):
                server = self.stack(name)
                server.connect("a")
                self.assert_refused(
                    server, "b",
                    f"{name}: the plugin does not tell whether export 'b' and export 'a' are one "
                    f"disk, and the latter is in use: set {name}-exports=one if they are, "
                    f"{name}-exports=each if each name is a disk of its own",
                )  # fmt: skip
                server.disconnect()
                self.assertEqual(server.connect("b").pread(1, 0), b"d")

    def test_each_keeps_names_apart(self):
        server = self.serve(
            *(f"--filter={name}" for name in FILTERS), *self.disks.arguments,
            *(f"{name}-exports=each" for name in FILTERS),
        )  # fmt: skip
        one, other = server.connect("a"), server.connect()
        one.zero(BLOCK, 0)
        self.assertEqual(other.pread(BLOCK, 0), b"d" * BLOCK)
        self.assertEqual(one.pread(BLOCK, 0), bytes(BLOCK))

    def test_one_shares_among_names(self):
        server = self.serve(
            *(f"--filter={name}" for name in FILTERS), *self.disks.arguments,
            *(f"{name}-exports=one" for name in FILTERS),
        )  # fmt: skip
        one, other = server.connect(), server.connect("b")
        one.zero(BLOCK, 0)
        other.pwrite(b"B" * 512, 512)
        self.assertEqual(one.pread(BLOCK, 0), bytes(512) + b"B" * 512 + bytes(BLOCK - 1024))

    def test_names_do_not_forge_the_log(self):
        for name in FILTERS:
            server = self.stack(name)
            server.connect("a")
            self.assert_refused(server, "b\nnbdkit: error: forged\x1b[2J", "b\\x0anbdkit: error")
            self.assertNotIn("\nnbdkit: error: forged", server.log())

    def test_names_of_volumes_do_not_forge_the_log(self):
        store = scratch_of(self)
        (store / "b").mkdir()
        server = self.serve("s3", "bucket=b", "volumes=true", f"endpoint-url=file://{store}")
        for name in ("a\nnbdkit: error: forged", "/\nnbdkit: error: forged", "\x1b[2J"):
            with self.assertRaises(nbd.Error):
                server.connect(name)
        self.assertNotRegex(server.log(), "(?m)^nbdkit: error: forged")
        self.assertNotIn("\x1b", server.log())

    def test_readahead_refuses_nobody(self):
        server = self.serve("--filter=readahead", "--filter=cache", "memory", "1M")
        server.connect()
        log = server.log()
        self.assertNotIn("readahead: the plugin", log)


class Tls(ExportsCase):
    """A client without TLS is shown another disk under the same name (nbdkit's tls-fallback)."""

    def connect(self, server, tls):
        handle = nbd.NBD()
        if tls:
            handle.set_tls(nbd.TLS_REQUIRE)
            handle.set_tls_psk_file(str(self.keys))
            handle.set_tls_username("alice")
        handle.connect_unix(str(server.socket_path))
        return handle

    def test_clients_with_tls_and_without_share_nothing(self):
        self.keys = scratch_of(self) / "keys.psk"
        self.keys.write_text("alice:" + os.urandom(32).hex() + "\n")
        for name in FILTERS:
            with self.subTest(name):
                server = self.serve(
                    "--tls=on", f"--tls-psk={self.keys}", f"--filter={name}",
                    "--filter=tls-fallback", "memory", "512",
                )  # fmt: skip
                handle = self.connect(server, True)
                handle.pwrite(b"SECRET--" * 64, 0)
                with self.assertRaises(nbd.Error):
                    self.connect(server, False)
                self.assertIn("the same with TLS are one disk", server.log())
                handle.shutdown()
                plain = self.connect(server, False)
                self.assertNotIn(b"SECRET", plain.pread(512, 0))
                plain.shutdown()
                self.assertEqual(self.connect(server, True).pread(8, 0), b"SECRET--")


class OneConnectionAtATime(ExportsCase):
    def test_background_work_opens_no_second_one(self):
        """Background work opens no second connection below: nbdkit's ext2 filter would destroy its
        file system."""
        source = scratch_of(self) / "source"
        source.mkdir()
        with open(source / "disk.img", "wb") as image:
            image.truncate(8 * MIB)
        file_system = scratch_of(self) / "fs.img"
        with open(file_system, "wb") as image:
            image.truncate(16 * MIB)
        make = ["mke2fs", "-q", "-t", "ext4", "-d", source, file_system]
        subprocess.run(make, check=True, env=os.environ | {"PATH": os.environ["PATH"] + ":/sbin"})
        server = self.serve(
            "--filter=cacheextents", "--filter=zeroblock", "--filter=ext2", "file", file_system,
            "ext2file=/disk.img", "cacheextents-scan=on", verbose=True,
        )  # fmt: skip
        handle = server.connect()
        for number in range(16):
            handle.pwrite(bytes([number + 1]) * BLOCK, number * BLOCK)
        handle.flush()
        server.disconnect()
        # A server that ends in that moment closes nothing, and the filter writes as it is closed.
        data.wait_until(lambda: "file: close" in server.log(), 30, "the file closed")
        self.assertEqual(server.terminate(), 0)
        self.assertIn("only one connection at a time may be open below", server.log())
        check = subprocess.run(
            ["/sbin/e2fsck", "-fn", file_system], capture_output=True, text=True, check=False
        )
        self.assertEqual(check.returncode, 0, check.stdout)


if __name__ == "__main__":
    unittest.main()
