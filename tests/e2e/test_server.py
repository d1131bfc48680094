"""Our layers inside nbdkit: exports, the end of the server, enormous disks, secrets."""

import contextlib
import os
import pathlib
import tempfile
import unittest

import nbd

from e2e.stores import GatewayStore, LocalStore, gateway
from servers import faults
from servers.faulty_http import FaultyProxy
from support import data
from support.nbdkit import Nbdkit

KIB, MIB = 1 << 10, 1 << 20
BLOCK = 64 * KIB
STACK = ("--filter=cache", "--filter=md5")
# What the file plugin shows of a directory, and cannot tell the filters.
EACH = ("cache-exports=each", "md5-exports=each")


class Exports(unittest.TestCase):
    def test_exports_do_not_see_each_others_data(self):
        """What is cached of one export, and its digests, are not used for another."""
        with tempfile.TemporaryDirectory() as directory:
            for name in ("a", "b"):
                (pathlib.Path(directory) / name).write_bytes(name.encode() * MIB)
            with Nbdkit(
                *STACK, "file", f"dir={directory}", "cache-on-read=true", "md5-retry-time=1",
                *EACH,
            ) as server:  # fmt: skip
                a, b = server.connect("a"), server.connect("b")
                for handle, content in ((a, b"a"), (b, b"b"), (a, b"a")):
                    self.assertEqual(handle.pread(MIB, 0), content * MIB)
                a.pwrite(b"A" * BLOCK, BLOCK)
                b.pwrite(b"B" * BLOCK, 3 * BLOCK)
                for handle, content, place in ((a, b"aA", 1), (b, b"bB", 3)):
                    small, large = content[:1] * BLOCK, content[1:] * BLOCK
                    expected = small * place + large + small * (15 - place)
                    self.assertEqual(handle.pread(MIB, 0), expected)
                    handle.flush()
                    self.assertEqual(server.connect(chr(content[0])).pread(MIB, 0), expected)
                server.terminate()
            for name, place in (("a", 1), ("b", 3)):
                found = (pathlib.Path(directory) / name).read_bytes()
                self.assertEqual(found.count(name.upper().encode()), BLOCK)
                self.assertEqual(found.find(name.upper().encode()), place * BLOCK)

    def test_dirty_blocks_of_every_export_are_written_at_the_end(self):
        """Dirty blocks of every export are written back when the server stops."""
        names = [f"disk{number}" for number in range(5)]
        with tempfile.TemporaryDirectory() as directory:
            for name in names:
                (pathlib.Path(directory) / name).write_bytes(bytes(MIB))
            with Nbdkit(*STACK, "file", f"dir={directory}", *EACH) as server:
                for name in names:
                    server.connect(name).pwrite(name.encode(), 12345)
                server.process.terminate()
                server.disconnect()
                self.assertEqual(server.wait(), 0)
            for name in names:
                found = (pathlib.Path(directory) / name).read_bytes()
                self.assertEqual(found[12345 : 12345 + len(name)], name.encode())


class Errors(unittest.TestCase):
    def test_error_of_the_plugin_reaches_the_client(self):
        """The plugin's error code reaches the client through every filter."""
        for filters in (["--filter=cache"], ["--filter=md5"], STACK):
            for code in ("ENOSPC", "EPERM", "ENOMEM", "EIO"):
                fails = f"echo {code} planted >&2; exit 1"
                words = ["eval", "get_size=echo 1M", "can_write=exit 0", "can_zero=exit 0"]
                words += [f"pread={fails}", f"zero={fails}", f"pwrite=cat >/dev/null; {fails}"]
                more = ["cache=writethrough"] if "--filter=cache" in filters else []
                with self.subTest(filters=filters, code=code):
                    with Nbdkit(*filters, *words, *more) as server:
                        handle = server.connect()
                        for action in (
                            lambda: handle.pread(BLOCK, 0),
                            lambda: handle.pwrite(b"x" * BLOCK, 0),
                            lambda: handle.zero(BLOCK, 0),
                        ):
                            with self.assertRaises(nbd.Error) as raised:
                                action()
                            self.assertEqual(raised.exception.errno, code)


class EndOfTheServer(unittest.TestCase):
    """SIGTERM, with a service so slow that writing back takes seconds."""

    SIZE = 16 * MIB

    def setUp(self):
        self.proxy = FaultyProxy(gateway().endpoint)
        self.proxy.__enter__()
        self.addCleanup(self.proxy.close)
        self.store = GatewayStore(gateway())
        self.addCleanup(self.store.close)
        parameters = {"endpoint_url": self.proxy.endpoint, "size": self.SIZE, "object_size": BLOCK}
        self.server = Nbdkit(*STACK, *self.store.volume(**parameters))
        self.addCleanup(self.server.stop)

    def write_with_slow_puts(self, count):
        """A handle that wrote `count` bytes, none of which has been stored yet."""
        slow = faults.delay(0.2)
        self.proxy.behaviour = lambda request: slow if request.method == "PUT" else None
        self.handle = self.server.connect()
        self.written = data.tagged(1, 0, count)
        self.handle.pwrite(self.written, 0)
        self.assertEqual(self.store.block_keys(), [])

    def check_stored(self):
        """Everything is in the objects, and nothing was reported lost."""
        self.assertNotIn("LOST", self.server.log())
        with Nbdkit(*self.store.volume()) as plain:
            self.assertEqual(plain.connect().pread(len(self.written), 0), self.written)

    def test_client_that_leaves_without_flush(self):
        """What a client that leaves without a flush has written is written back then."""
        self.write_with_slow_puts(2 * MIB)
        self.server.disconnect()
        data.wait_until(lambda: len(self.store.block_keys()) == 32, 30, "write-back")
        self.assertIsNone(self.server.returncode)
        self.server.terminate()
        self.check_stored()

    def test_stopped_while_it_writes_back(self):
        """A stop lets a write-back under way finish."""
        self.write_with_slow_puts(8 * MIB)
        self.server.disconnect()
        self.proxy.wait_for(1, "PUT")
        self.server.process.terminate()
        self.assertEqual(self.server.wait(60), 0)
        self.check_stored()

    def test_stopped_with_an_idle_client(self):
        """With an idle client connected, a stop waits for it to leave, and then writes everything
        back."""
        self.write_with_slow_puts(4 * MIB)
        self.server.process.terminate()
        self.server.disconnect()
        self.assertEqual(self.server.wait(60), 0)
        self.check_stored()

    def test_stopped_while_a_client_is_busy(self):
        """Each request under way at SIGTERM succeeds or fails."""
        self.write_with_slow_puts(4 * MIB)
        buffers = [nbd.Buffer(BLOCK) for _ in range(8)]
        for number, buffer in enumerate(buffers):
            self.handle.aio_pread(buffer, 8 * MIB + number * BLOCK)
        flush = self.handle.aio_flush()
        self.handle.poll(100)
        self.proxy.wait_for(1, "PUT")
        self.server.process.terminate()
        acknowledged = self.was_acknowledged(flush)
        self.server.stop()
        if acknowledged:
            with Nbdkit(*self.store.volume()) as plain:
                self.assertEqual(plain.connect().pread(len(self.written), 0), self.written)

    def was_acknowledged(self, cookie):
        """Waits until a request is answered or the connection is gone; whether it succeeded."""

        def answer():
            try:
                self.handle.poll(100)
                return self.handle.aio_command_completed(cookie) and "done"
            except nbd.Error:
                return "failed"

        return data.wait_until(answer, 30, "an answer") == "done"

    def test_client_that_hangs_up(self):
        """What a client that hangs up has had acknowledged is stored."""
        self.write_with_slow_puts(4 * MIB)
        self.handle.aio_flush()
        self.handle.poll(100)
        self.proxy.wait_for(1, "PUT")
        del self.handle
        self.server._handles.clear()  # closes the socket, without a word
        self.server.terminate()
        self.check_stored()


class EnormousDisks(unittest.TestCase):
    LARGEST = (1 << 63) - 1

    def test_largest_disk_opens_and_works_at_its_end(self):
        """A disk of 8 EiB - 1 opens, and its last bytes can be used."""
        with contextlib.closing(LocalStore()) as store:
            for below in (["null", str(self.LARGEST)], store.volume(size=self.LARGEST)):
                with self.subTest(below[0]), Nbdkit(*STACK, *below) as server:
                    handle = server.connect()
                    self.assertEqual(handle.get_size(), self.LARGEST)
                    last = self.LARGEST - 70000
                    handle.pwrite(b"z" * 70000, last)
                    self.assertEqual(handle.pread(70000, last), b"z" * 70000)
                    handle.zero(65536, last)
                    handle.flush()
                    entries = []
                    handle.block_status(
                        1 << 30, self.LARGEST - (1 << 30),
                        lambda _c, _o, found, _e: entries.extend(found) or 0,
                    )  # fmt: skip
                    self.assertLessEqual(sum(entries[0::2]), 1 << 30)
                    self.assertGreater(sum(entries[0::2]), 0)
                    memory = pathlib.Path(f"/proc/{server.pid}/status").read_text()
                    resident = int(memory.split("VmRSS:")[1].split()[0]) * KIB
                    self.assertLess(resident, 256 * MIB)

    def test_pattern_at_the_end_of_the_largest_disk(self):
        """Offsets at the end of the largest disk pass through the filters whole."""
        with Nbdkit(*STACK, "pattern", str(self.LARGEST), "cache-on-read=true") as server:
            handle = server.connect()
            for offset in (0, (1 << 32) - 8, (1 << 52) - 8, (1 << 62) + 8, self.LARGEST - 15):
                found = handle.pread(8, offset // 8 * 8)
                self.assertEqual(int.from_bytes(found, "big"), offset // 8 * 8)


class Secrets(unittest.TestCase):
    def test_secrets_stay_secret(self):
        """A secret key is shown neither by ps, nor in the log of nbdkit -v, nor to the client."""
        store = GatewayStore(gateway())
        self.addCleanup(store.close)
        secret = gateway().secret_key
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(secret + "\n")
            file.flush()
            reader, writer = os.pipe()
            self.addCleanup(os.close, reader)
            os.write(writer, secret.encode() + b"\n")
            os.close(writer)
            ways = [
                ({"secret_key": f"+{file.name}"}, {}),
                ({"secret_key": f"-{reader}"}, {"pass_fds": (reader,)}),
                (
                    {"secret_key": None, "access_key": None},
                    {
                        "environment": {
                            "AWS_ACCESS_KEY_ID": gateway().access_key,
                            "AWS_SECRET_ACCESS_KEY": secret,
                        }
                    },
                ),
            ]
            for parameters, options in ways:
                with self.subTest(parameters):
                    volume = store.volume(size="1M", **parameters)
                    with Nbdkit(*volume, verbose=True, **options) as server:
                        handle = server.connect()
                        handle.pwrite(b"x", 0)
                        handle.flush()
                        words = pathlib.Path(f"/proc/{server.pid}/cmdline").read_text()
                        server.terminate()
                        self.assertNotIn(secret, words)
                        self.assertNotIn(secret, server.log())
                        self.assertNotIn("Signature=", server.log())


if __name__ == "__main__":
    unittest.main()
