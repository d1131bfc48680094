"""Which clients share what a filter remembers: one disk, one memory, whatever names it is shown
under (common/block/disk_registry.hpp)."""

import os
import pathlib
import random
import subprocess
import textwrap
import unittest

import nbd

from e2e.test_zeroblock import BLOCK, MIB, scratch_of
from support import data
from support.nbdkit import Nbdkit

FILTERS = ("cache", "zeroblock", "cacheextents", "md5")

# Disks that are files of a folder. disks/NAME is what the export NAME opens, or else disks/default;
# FILE.identity, if there, is what the layer tells of it.
_PLUGIN = """
    import ctypes, os
    import nbdkit
    API_VERSION = 2
    libc = ctypes.CDLL(None, use_errno=True)
    folder = None
    def config(key, value):
        global folder
        folder = value
    def thread_model(): return nbdkit.THREAD_MODEL_PARALLEL
    def open(readonly):
        name = nbdkit.export_name() or "default"
        if not os.path.exists(os.path.join(folder, name)): name = "default"
        path = os.path.realpath(os.path.join(folder, name))
        return (os.open(path, os.O_RDWR), path)
    def close(h): os.close(h[0])
    def export_description(h):
        try:
            with builtin_open(h[1] + ".identity") as told: return told.read().strip()
        except FileNotFoundError: return ""
    def get_size(h): return os.fstat(h[0]).st_size
    def can_multi_conn(h): return True
    def can_flush(h): return True
    def can_zero(h): return True
    def can_extents(h): return True
    def pread(h, buf, offset, flags):
        buf[:] = os.pread(h[0], len(buf), offset)
    def pwrite(h, buf, offset, flags): os.pwrite(h[0], buf, offset)
    def flush(h, flags): pass
    def zero(h, count, offset, flags):
        if libc.fallocate(h[0], 3, ctypes.c_long(offset), ctypes.c_long(count)):
            raise OSError(ctypes.get_errno(), "fallocate")
    def extents(h, count, offset, flags):
        found, end = [], offset + count
        while offset < end:
            try: start = os.lseek(h[0], offset, os.SEEK_DATA)
            except OSError: start = end
            if start > offset:
                found.append((offset, min(start, end) - offset, 3))
                offset = start
            if offset < end:
                stop = min(os.lseek(h[0], offset, os.SEEK_HOLE), end)
                found.append((offset, stop - offset, 0))
                offset = stop
        return found
"""


class Disks:
    """The plugin above: files in a folder, under the names that a test gives them."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(exist_ok=True)
        script = self.folder / "plugin.py"
        script.write_text("builtin_open = open\n" + textwrap.dedent(_PLUGIN))
        self.arguments = ("python", script, f"folder={self.folder}")

    def make(self, name, content):
        """A disk that is shown as `name`."""
        (self.folder / name).write_bytes(content)
        return self.folder / name

    def tell(self, name, **fields):
        """What the layer tells of the disk from now on; of an open one, too."""
        values = {"size": (self.folder / name).stat().st_size, "right": "held"} | fields
        order = [key for key in ("id", "size", "term", "since", "unchanged", "right") if key in values]
        text = "nbdstack-disk " + " ".join(f"{key}={values[key]}" for key in order)
        new = self.folder / f"{name}.identity.new"
        new.write_text(text)
        new.rename(self.folder / f"{name}.identity")


class _Case(unittest.TestCase):
    def setUp(self):
        self.disks = Disks(scratch_of(self) / "disks")

    def serve(self, *words, **options):
        server = Nbdkit(*words, **options)
        self.addCleanup(server.stop)
        return server

    def stack(self, *filters, **options):
        words = [f"--filter={name}" for name in filters]
        return self.serve(*words, *self.disks.arguments, **options)

    def assert_refused(self, server, export, because):
        with self.assertRaises(nbd.Error):
            server.connect(export)
        self.assertIn(because, server.log())


class KnownDisk(_Case):
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
        """By filters that can ask below instead; the cache refuses all requests then."""
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


class UnknownDisk(_Case):
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


class Tls(_Case):
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


class OneConnectionAtATime(_Case):
    def test_background_work_opens_no_second_one(self):
        """nbdkit's ext2 filter would open its file system twice, and destroy it."""
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


class RandomNames(_Case):
    """By seed: stacks of the filters in random order, several clients under random names, one
    request at a time; what any of them reads is what was written last, by whomever."""

    SEEDS = range(1, 13)

    def test_clients_under_many_names(self):
        for seed in self.SEEDS:
            with self.subTest(seed=seed):
                self.run_seed(random.Random(seed))

    def run_seed(self, draw):
        stack = draw.sample(FILTERS, draw.randint(1, 3)) + draw.choice([[], ["readahead"]])
        draw.shuffle(stack)
        known = draw.random() < 0.5
        self.disks.make("default", bytes(MIB))
        identity = self.disks.folder / "default.identity"
        if known:
            self.disks.tell("default", id="disk-1")
        else:
            identity.unlink(missing_ok=True)
        file = scratch_of(self) / "file"
        file.write_bytes(bytes(MIB))
        store = scratch_of(self)
        volume = ("s3", "bucket=v", "size=1M", f"endpoint-url=file://{store}")
        own = self.disks.arguments
        plugin = draw.choice([own, own, ("memory", "1M"), ("file", file), volume, volume])
        told = (known and plugin is own) or plugin is volume
        sharing = [] if told else [f"{name}-exports=one" for name in stack if name in FILTERS]
        server = self.serve(*(f"--filter={name}" for name in stack), *plugin, *sharing)
        names = ["", "a", "b", "c"]
        clients, model = {}, bytearray(MIB)
        for _ in range(250):
            name = draw.choice(names)
            if name in clients and draw.random() < 0.05:
                clients.pop(name).shutdown()
            if name not in clients:
                handle = nbd.NBD()
                handle.set_export_name(name)
                handle.connect_unix(str(server.socket_path))
                clients[name] = handle
            self.request(draw, clients[name], model)
        for handle in clients.values():
            self.assertEqual(bytes(handle.pread(MIB, 0)), bytes(model), stack)
            handle.shutdown()
        self.assertEqual(server.terminate(), 0)

    def request(self, draw, handle, model):
        offset = draw.randrange(MIB // 512) * 512
        length = min(draw.choice([512, 4096, BLOCK, 2 * BLOCK]), MIB - offset)
        kind = draw.choice(["read", "write", "write", "zero", "zeros", "flush"])
        span = slice(offset, offset + length)
        if kind == "read":
            self.assertEqual(bytes(handle.pread(length, offset)), bytes(model[span]))
        elif kind == "flush":
            handle.flush()
        elif kind == "zero":
            handle.zero(length, offset)
            model[span] = bytes(length)
        else:
            content = bytes(length) if kind == "zeros" else data.random_bytes(draw.random(), length)
            handle.pwrite(content, offset)
            model[span] = content


if __name__ == "__main__":
    unittest.main()
