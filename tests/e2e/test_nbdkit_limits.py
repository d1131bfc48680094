"""What nbdkit, a plugin or the system limits or gets wrong, and our layers keep away from users."""

import contextlib
import pathlib
import signal
import tempfile
import textwrap
import threading
import time
import unittest

import nbd

from support import data
from support.nbdkit import Nbdkit
from support.small_file_system import in_small_file_system

KIB, MIB = 1 << 10, 1 << 20

# A disk in a file that answers zero with EOPNOTSUPP, states how much it takes in one request, and
# notes the longest read and write.
_PLUGIN = """
    import errno, nbdkit, os
    builtin_open = open
    API_VERSION = 2
    folder = None
    longest = {"read": 0, "write": 0}
    def config(key, value):
        global folder
        folder = value
    def thread_model(): return nbdkit.THREAD_MODEL_SERIALIZE_ALL_REQUESTS
    def open(readonly): return os.open(folder + "/disk", os.O_RDWR)
    def get_size(h): return os.fstat(h).st_size
    def block_size(h): return (1, 4096, 128 * 1024)
    def note(kind, length):
        if length > longest[kind]:
            longest[kind] = length
            with builtin_open(folder + "/longest-" + kind, "w") as out: out.write(str(length))
    def pread(h, buf, offset, flags):
        note("read", len(buf))
        os.preadv(h, [buf], offset)
    def pwrite(h, buf, offset, flags):
        note("write", len(buf))
        os.pwrite(h, buf, offset)
    def flush(h, flags): pass
    def zero(h, count, offset, flags):
        nbdkit.set_error(errno.EOPNOTSUPP)
        raise RuntimeError("zero is not supported")
"""


class OverALimitedPlugin(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.folder = pathlib.Path(directory.name)
        self.disk = self.folder / "disk"
        script = self.folder / "plugin.py"
        script.write_text(textwrap.dedent(_PLUGIN))
        self.plugin = ("python", script, f"folder={self.folder}")

    def test_all_of_a_long_zero_reaches_a_plugin_that_cannot_zero(self):
        """nbdkit 1.32 zeroes the first 64 MiB of it; what a layer of ours joins or passes on is
        stored as a whole all the same."""
        stacks = (("--filter=cache",), ("--filter=cache", "--filter=zeroblock"), ("--filter=md5",))
        for filters in stacks:
            with self.subTest(filters=filters):
                self.disk.write_bytes(b"\xaa" * (160 * MIB))
                with Nbdkit(*filters, *self.plugin) as server:
                    handle = server.connect()
                    handle.zero(160 * MIB, 0)
                    handle.flush()
                self.assertEqual(self.disk.read_bytes().count(b"\xaa"), 0)

    def test_no_request_is_longer_than_the_plugin_says_it_takes(self):
        self.disk.write_bytes(b"\xaa" * (4 * MIB))
        for filters in (("--filter=cache",), ("--filter=md5",), ("--filter=zeroblock",)):
            with self.subTest(filters=filters), Nbdkit(*filters, *self.plugin) as server:
                handle = server.connect()
                handle.pread(2 * MIB, 0)
                handle.pwrite(b"x" * (2 * MIB), MIB)
                handle.flush()
                for kind in ("read", "write"):
                    longest = int((self.folder / f"longest-{kind}").read_text())
                    self.assertLessEqual(longest, 128 * KIB, kind)


# Serves one connection at a time, and notes how many handles were open at once, and whether each was
# closed. Files say what waits ("gate": writes, "slow": opening) and what fails ("refuse": opening).
_ONE_CONNECTION = """
    import nbdkit, os, time
    builtin_open = open
    API_VERSION = 2
    disk, handles, most, folder = bytearray(4 << 20), 0, 0, None
    def config(key, value):
        global folder
        folder = value
    def thread_model(): return nbdkit.THREAD_MODEL_SERIALIZE_CONNECTIONS
    def wait_while(name):
        while os.path.exists(folder + "/" + name):
            builtin_open(folder + "/waiting", "w").close()
            time.sleep(0.01)
    def open(readonly):
        global handles, most
        if os.path.exists(folder + "/refuse"): raise OSError("refused")
        handles += 1
        if handles > most:
            most = handles
            with builtin_open(folder + "/most", "w") as out: out.write(str(most))
        wait_while("slow")
        return 1
    def close(h):
        global handles
        handles -= 1
        with builtin_open(folder + "/open", "w") as out: out.write(str(handles))
    def get_size(h): return len(disk)
    def pread(h, buf, offset, flags): buf[:] = disk[offset : offset + len(buf)]
    def pwrite(h, buf, offset, flags):
        wait_while("gate")
        disk[offset : offset + len(buf)] = buf
    def flush(h, flags): pass
"""


class ConnectionsOfOurOwn(unittest.TestCase):
    """Background work needs a connection below. It is none more than the layers below take."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.folder = pathlib.Path(directory.name)
        self.disk = self.folder / "disk"
        self.disk.write_bytes(bytes(4 * MIB))
        cache_dir = f"cache-dir={self.folder}/cache"
        self.backgrounds = ((), ("cache-write-delay=50ms",), (cache_dir, "cache-flush=local"))

    def write_in_steps(self, handle):
        """Writes, with time for the background between them; what a flush says is the verdict."""
        for number in range(4):
            handle.pwrite(bytes([number + 1]) * 64 * KIB, number * 256 * KIB)
            time.sleep(0.1)
        handle.flush()

    def test_a_plugin_that_serves_one_connection_at_a_time_has_one_handle(self):
        """Two at once: nbdkit's ext2 filter, for one, destroys its file system then."""
        script = self.folder / "plugin.py"
        script.write_text(textwrap.dedent(_ONE_CONNECTION))
        for parameters in self.backgrounds:
            with self.subTest(parameters=parameters):
                stack = ("--filter=cache", "python", script, f"folder={self.folder}", *parameters)
                for _ in range(2):
                    with Nbdkit(*stack) as server:
                        self.write_in_steps(server.connect())
                        self.assertEqual(server.terminate(), 0)
                self.assertEqual((self.folder / "most").read_text(), "1")

    def test_a_client_waits_for_our_own_connection(self):
        """What a killed server has left makes the next one open the plugin without a client."""
        script = self.folder / "plugin.py"
        script.write_text(textwrap.dedent(_ONE_CONNECTION))
        stack = ("--filter=cache", "python", script, f"folder={self.folder}",
                 f"cache-dir={self.folder}/cache", "cache-flush=local")  # fmt: skip
        gate, slow, refuse, waiting = (
            self.folder / name for name in ("gate", "slow", "refuse", "waiting")
        )
        gate.touch()
        with Nbdkit(*stack) as server:
            handle = server.connect()
            handle.pwrite(b"x" * 64 * KIB, 0)
            handle.flush()
            server.kill()
        gate.unlink()
        waiting.unlink(missing_ok=True)
        slow.touch()
        refuse.touch()
        with Nbdkit(*stack) as server:
            refuse.unlink()
            data.wait_until(waiting.exists, 30, "a connection of the server's own")
            client = threading.Thread(target=lambda: server.connect().pread(512, 0))
            client.start()
            client.join(0.2)
            self.assertTrue(client.is_alive(), "the client did not wait")
            slow.unlink()
            client.join(30)
            self.assertFalse(client.is_alive())
            self.assertEqual((self.folder / "most").read_text(), "1")
            self.assertEqual(server.terminate(), 0)

    def test_a_connection_is_closed_below_where_the_server_stops_before_its_end(self):
        """nbdkit closes none that is open when it is told to stop; its ext2 filter leaves its file
        system damaged then."""
        script = self.folder / "plugin.py"
        script.write_text(textwrap.dedent(_ONE_CONNECTION))
        for filters in (("cache",), ("zeroblock",), ("md5",), ("readahead", "cache", "md5")):
            with self.subTest(filters=filters):
                (self.folder / "open").unlink(missing_ok=True)
                stack = [f"--filter={name}" for name in filters]
                with Nbdkit(*stack, "python", script, f"folder={self.folder}") as server:
                    server.connect().pwrite(b"x" * 64 * KIB, 0)
                    server.process.send_signal(signal.SIGTERM)
                    server.disconnect()
                    self.assertEqual(server.wait(30), 0)
                self.assertEqual((self.folder / "open").read_text(), "0")

    def test_the_filter_limit_below_refuses_no_client(self):
        for parameters in self.backgrounds:
            with self.subTest(parameters=parameters):
                stack = ("--filter=cache", "--filter=limit", "file", self.disk, *parameters)
                for _ in range(2):
                    with Nbdkit(*stack) as server:
                        self.write_in_steps(server.connect())
                        self.assertEqual(server.terminate(), 0)

    def test_the_filter_exitlast_below_ends_the_server_after_the_last_client(self):
        """Not before the first: our own connection, closed, was the last of all; nor never."""
        for parameters in self.backgrounds:
            with self.subTest(parameters=parameters):
                with Nbdkit("--filter=cache", "file", self.disk, *parameters) as server:
                    self.write_in_steps(server.connect())
                    data.wait_until(lambda: self.disk.read_bytes()[768 * KIB] == 4, 30, "written")
                stack = ("--filter=cache", "--filter=exitlast", "file", self.disk, *parameters)
                with Nbdkit(*stack) as server:
                    handle = server.connect()
                    self.write_in_steps(handle)
                    self.assertIsNone(server.returncode)
                    server.disconnect()
                    self.assertEqual(server.wait(30), 0)


class LongQuestions(unittest.TestCase):
    def test_a_question_about_nearly_4_gib_ends_no_server(self):
        """nbdkit 1.32 aborts over an answer that is longer than 2^32 - 1 bytes where just so many
        were asked for; no layer of ours answers more than was asked."""
        for filter_name in ("cache", "cacheextents", "zeroblock", "md5", "readahead"):
            with self.subTest(filter=filter_name):
                with Nbdkit(f"--filter={filter_name}", "memory", "16G") as server:
                    handle = server.connect()
                    for length in (2**32 - 1, 2**32 - 512, 2**32 - 64 * KIB):
                        with contextlib.suppress(nbd.Error):  # an odd length may be refused
                            handle.block_status(length, 0, lambda *_: 0)
                    self.assertEqual(handle.pread(1, 0), b"\0")


class Surroundings(unittest.TestCase):
    def test_background_work_over_the_s3_plugin_logs_no_error(self):
        """The plugin asked for the name of an export that no client has opened, and nbdkit said so
        in the log of each regular start."""
        with tempfile.TemporaryDirectory() as directory:
            stack = ("--filter=cache", "s3", "bucket=v", "size=4M", f"endpoint-url=file://{directory}",
                     f"cache-dir={directory}/cache", "cache-flush=local")  # fmt: skip
            for life in ("first", "second"):
                with self.subTest(life=life), Nbdkit(*stack) as server:
                    handle = server.connect()
                    handle.pwrite(b"x" * 4096, 0)
                    handle.flush()
                    self.assertEqual(server.terminate(), 0)
                    self.assertNotIn("error", server.log())

    def test_a_limit_on_the_size_of_files_ends_no_server(self):
        """RLIMIT_FSIZE: a signal that ends the process, where nobody ignores it. What the cache's
        file cannot hold passes through."""
        limited = ("prlimit", f"--fsize={2 * MIB}:{2 * MIB}")
        with Nbdkit("--filter=cache", "memory", "16M", launcher=limited) as server:
            handle = server.connect()
            for block in range(8):
                handle.pwrite(bytes([block + 1]) * MIB, block * MIB)
            for block in range(8):
                self.assertEqual(handle.pread(MIB, block * MIB), bytes([block + 1]) * MIB)
            self.assertEqual(server.terminate(), 0)

    def test_an_empty_tmpdir_counts_as_none(self):
        with Nbdkit("--filter=cache", "memory", "1M", environment={"TMPDIR": ""}) as server:
            server.connect().pwrite(b"x", 0)

    def test_a_cache_dir_on_a_file_system_that_states_no_size(self):
        """A tmpfs without a bound, as ramfs: no bound by default, which nobody had given; a part of it cannot be asked for."""
        with tempfile.TemporaryDirectory() as directory:
            launcher = in_small_file_system(directory, 0)
            arguments = ("--filter=cache", "memory", "1M", f"cache-dir={directory}/cache")
            with Nbdkit(*arguments, launcher=launcher) as server:
                server.connect().pwrite(b"x" * 4096, 0)
            with self.assertRaisesRegex(Exception, "cache-max-size=50%: .* does not state its size"):
                Nbdkit(*arguments, "cache-max-size=50%", launcher=launcher)


if __name__ == "__main__":
    unittest.main()
