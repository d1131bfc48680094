"""What nbdkit's scripts test-cache*.sh and the cache part of test-multi-conn.sh check, script by
script, where test_nbdkit_cache.py does not already."""

import os
import pathlib
import re
import subprocess
import tempfile
import textwrap
import unittest

import nbd

from support import data
from support.layer_below import LayerBelow
from support.nbdkit import Nbdkit

KIB, MIB = 1 << 10, 1 << 20
BLOCK = 64 * KIB


class _Scripts(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="cache-scripts-")
        self.addCleanup(scratch.cleanup)
        self.scratch = pathlib.Path(scratch.name)

    def serve(self, *arguments, **options):
        """A server with these words after --filter=cache, stopped at the end of the test."""
        server = Nbdkit("--filter=cache", *arguments, **options)
        self.addCleanup(server.stop)
        return server

    def image(self, size):
        """An empty disk image for the file plugin."""
        image = self.scratch / "image"
        image.touch()
        os.truncate(image, size)
        return image


class Scripts(_Scripts):
    def test_cache(self):
        """test-cache.sh: a file system written through the cache is one below."""
        size = 64 * MIB
        source, image = self.scratch / "source", self.image(size)
        source.mkdir()
        (source / "hello").write_text("hello, world")
        (source / "large").write_bytes(b"abcde" * MIB)
        (source / "many").mkdir()
        for number in range(1000):
            (source / "many" / str(number)).write_text(str(number))
        made = self.scratch / "made"
        mke2fs = ["/sbin/mke2fs", "-q", "-t", "ext4", "-d", source, made, f"{size >> 10}k"]
        subprocess.run(mke2fs, check=True, capture_output=True)
        server = self.serve("file", image)
        copy = ["qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", made, server.uri()]
        subprocess.run(copy, check=True, capture_output=True)
        server.connect().flush()  # while it runs: the guest may look at the disk now
        subprocess.run(["/sbin/e2fsck", "-f", "-n", image], check=True, capture_output=True)
        for name in ("hello", "large", "many/999"):
            found = subprocess.run(
                ["/sbin/debugfs", "-R", f"cat /{name}", image], check=True, capture_output=True
            )
            self.assertEqual(data.sha256(found.stdout), data.sha256((source / name).read_bytes()))

    def check_written_across_blocks(self, *parameters):
        image = self.image(2 * BLOCK)
        handle, written = self.serve("file", image, *parameters).connect(), b"abcd" * (BLOCK // 4)
        handle.pwrite(written, BLOCK // 2)
        self.assertEqual(handle.pread(BLOCK // 2, 0), bytes(BLOCK // 2))
        self.assertEqual(handle.pread(BLOCK, BLOCK // 2), written)
        handle.flush()
        self.assertEqual(image.read_bytes(), bytes(BLOCK // 2) + written + bytes(BLOCK // 2))

    def test_cache_block_size(self):
        """test-cache-block-size.sh: writes of half a block leave the other half alone."""
        self.check_written_across_blocks("cache-min-block-size=64K")

    def test_cache_on_read(self):
        """test-cache-on-read.sh: so they do where reads are cached."""
        self.check_written_across_blocks("cache-on-read=true")

    def test_cache_unaligned(self):
        """test-cache-unaligned.sh: a disk may end inside a page."""
        image, written = self.image(130000), b"abcdefghijklm" * 10000
        handle = self.serve("file", image).connect()
        handle.pwrite(written, 0)
        self.assertEqual(handle.pread(130000, 0), written)
        handle.flush()
        self.assertEqual(image.read_bytes(), written)

    def test_cache_on_read_caches(self):
        """test-cache-on-read-caches.sh: one miss for a block, and a write that does not wait."""
        below = LayerBelow(self.scratch / "below", BLOCK)
        handle = self.serve(*below.arguments, "cache-on-read=true").connect()
        for _ in range(2):
            self.assertEqual(handle.pread(BLOCK, 0), bytes(BLOCK))
        handle.pwrite(b"abcd" * (BLOCK // 4), 0)
        self.assertEqual(handle.pread(BLOCK, 0), b"abcd" * (BLOCK // 4))
        self.assertEqual([request.range for request in below.requests("pread")], [(0, BLOCK)])
        self.assertEqual(below.requests("pwrite"), [])

    def test_cache_max_size(self):
        """test-cache-max-size.sh: the file under a relative TMPDIR takes at most 11 MiB once
        qemu-io has gone."""
        image, directory = self.image(1 << 30), "cache-max-size.d"
        (self.scratch / directory).mkdir()
        before = os.getcwd()
        os.chdir(self.scratch)
        try:
            server = self.serve(
                "file", image, "cache-max-size=10M", "cache-on-read=true", tmpdir=directory
            )
        finally:
            os.chdir(before)
        steps = ["w -P 0 0 10M", "w -P 0 20M 10M", "r 20M 10M", "r 30M 10M", "w -P 0 40M 10M"]
        words = [word for step in steps for word in ("-c", step)]
        subprocess.run(
            ["qemu-io", "-f", "raw", *words, server.uri()], check=True, capture_output=True
        )
        # The script takes the first that it finds: there has to be one, and it may be any.
        descriptors = pathlib.Path(f"/proc/{server.pid}/fd")
        found = [link for link in descriptors.iterdir() if f"{directory}/" in os.readlink(link)]
        self.assertTrue(found, "an open file under TMPDIR")
        for link in found:
            self.assertLessEqual(link.stat().st_blocks * 512, 11 * MIB, os.readlink(link))


# A disk in memory for one server. What a connection wrote is its own until it flushes, and what it
# read stays as it was until then. test_nbdkit_cache.py has a simpler one, which stores in a file.
APART = """
    import nbdkit
    API_VERSION = 2
    disk = bytearray(b"Initial contents" + bytes(131056))

    def config(key, value): pass
    def thread_model(): return nbdkit.THREAD_MODEL_SERIALIZE_ALL_REQUESTS
    def open(readonly): return {"written": {}, "seen": {}}
    def get_size(h): return len(disk)
    def can_multi_conn(h): return False
    def can_fua(h): return nbdkit.FUA_NATIVE

    def pread(h, buf, offset, flags):
        for i in range(offset, offset + len(buf)):
            buf[i - offset] = h["written"].get(i, h["seen"].setdefault(i, disk[i]))

    def pwrite(h, buf, offset, flags):
        for i, value in enumerate(bytes(buf), offset):
            h["written"][i] = value
        if flags & nbdkit.FLAG_FUA:
            flush(h, 0)

    def zero(h, count, offset, flags): pwrite(h, bytes(count), offset, flags)
    def trim(h, count, offset, flags): pwrite(h, bytes(count), offset, flags)

    def flush(h, flags):
        for i, value in h["written"].items():
            disk[i] = value
        h["written"].clear()
        h["seen"].clear()
"""


class MultiConn(_Scripts):
    def connections(self, number, *arguments):
        """Connections to a server of these filters over the plugin above."""
        script = self.scratch / "apart.py"
        script.write_text(textwrap.dedent(APART))
        # nbdkit wants options before the plugin and parameters behind it.
        filters = [word for word in arguments if word.startswith("--")]
        parameters = [word for word in arguments if not word.startswith("--")]
        server = Nbdkit(*filters, "python", script, *parameters)
        self.addCleanup(server.stop)
        return server, [server.connect() for _ in range(number)]

    def test_plugins_mode_over_the_cache(self):
        """A connection that has cached a block sees FUA writes of others, and what they have
        flushed."""
        _, (a, b, c) = self.connections(
            3, "--filter=multi-conn", "--filter=cache", "multi-conn-mode=plugin"
        )
        self.assertTrue(a.can_multi_conn())
        a.cache(12, 0)
        b.pwrite(b"Hello ", 0, nbd.CMD_FLAG_FUA)
        self.assertEqual(a.pread(12, 0), b"Hello l cont")
        b.pwrite(b"world.", 6)
        c.flush()
        self.assertEqual(a.pread(12, 0), b"Hello world.")

    def test_serialized_connections_have_no_multi_conn(self):
        """A server of serialized connections offers no multi-conn."""
        _, (only,) = self.connections(
            1, "--filter=noparallel", "--filter=multi-conn", "--filter=cache",
            "serialize=connections",
        )  # fmt: skip
        self.assertFalse(only.can_multi_conn())

    def flushes(self, level, mode, client, connections):
        """How many flushes the multi-conn filter sends to the cache for what a client does."""
        statistics = self.scratch / "statistics"
        statistics.unlink(missing_ok=True)
        server, handles = self.connections(
            connections, "--filter=multi-conn", "--filter=stats", "--filter=cache",
            f"multi-conn-track-dirty={level}", f"multi-conn-mode={mode}",
            f"statsfile={statistics}",
        )  # fmt: skip
        client(handles)
        self.assertEqual(server.terminate(), 0)
        found = re.search(r"flush: (\d+) ops", statistics.read_text())
        return int(found[1]) if found else 0

    def test_flush_counts(self):
        """The multi-conn filter sends the flushes that a layer with multi-conn needs."""

        def idle(h):
            h[0].flush()
            h[0].pread(1, 0)
            h[0].flush()

        def trusting(h):
            h[0].pread(1, 0)
            h[1].zero(1, 0)
            h[3].flush()
            h[2].zero(1, 1)
            h[0].pread(1, 0)
            h[3].flush()
            h[3].flush()

        def careful(h):
            h[0].pread(1, 0)
            h[1].trim(1, 0)
            h[0].flush()
            h[1].flush()
            h[0].pread(1, 0)
            h[2].trim(1, 1)
            h[0].flush()
            h[2].flush()

        expected = {
            ("off", "emulate"): [6, 12, 12],
            ("off", "plugin"): [2, 3, 4],
            ("connection", "emulate"): [0, 4, 4],
            ("connection", "plugin"): [0, 2, 2],
            ("fast", "emulate"): [0, 8, 6],
            ("fast", "plugin"): [0, 2, 2],
        }
        for (level, mode), counts in expected.items():
            with self.subTest(level=level, mode=mode):
                clients = (idle, 3), (trusting, 4), (careful, 3)
                found = [self.flushes(level, mode, client, number) for client, number in clients]
                self.assertEqual(found, counts)


if __name__ == "__main__":
    unittest.main()
