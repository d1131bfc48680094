"""Starts that fail late, after the plugin has taken what it needs: whoever started the server is told,
in words and by its exit status, nobody waits for a server that is not there, and the lease is given
back."""

import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from e2e.leases import lease_record
from e2e.stores import LocalStore
from support.data import wait_until
from support.nbdkit import Nbdkit, environment_with, our_nbdkit, system_nbdkit

SIZE = 1 << 20
HANGS_S = 60
AT_ONCE_S = 20  # far below the 35 s that a lease is waited for


class Started:
    """What became of a command line of nbdkit's: its status and what it said."""

    def __init__(self, *words, binary=None, environment=None):
        done = subprocess.run(
            [binary or our_nbdkit(), *map(str, words)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            timeout=HANGS_S,
            check=False,
            text=True,
            env=environment_with(environment or {}),
        )
        self.status, self.said, self.printed = done.returncode, done.stderr, done.stdout


class FailedStartsCase(unittest.TestCase):
    """Over a volume in a directory, with the default lease-time of 30 s."""

    def setUp(self):
        self.store = LocalStore()
        self.addCleanup(self.store.close)
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="start-"))
        self.addCleanup(shutil.rmtree, self.directory, True)
        self.socket = self.directory / "socket"
        with Nbdkit(*self.volume()):
            pass

    def volume(self, **parameters):
        """Words of nbdkit's."""
        return self.store.volume(**({"size": SIZE} | parameters))


class FailedStarts(FailedStartsCase):
    """The process ends by itself."""

    def expect_given_back(self):
        """The next server does not wait."""
        self.assertEqual(lease_record(self.store)["state"], "released")
        start = time.monotonic()
        with Nbdkit(*self.volume()) as server:
            self.assertLess(time.monotonic() - start, AT_ONCE_S)
            server.connect().pwrite(b"x" * 512, 0)

    def cache_of_another_disk(self):
        """A cache-dir that is refused: what it is of is known only when the disk can be asked."""
        directory = self.directory / "cache"
        words = ["--filter=cache", "memory", "2M", f"cache-dir={directory}"]
        with Nbdkit(*words) as server:
            server.connect().pwrite(b"x" * 512, 0)
        return ["--filter=cache", *self.volume(), f"cache-dir={directory}"]

    def digests_of_another_disk(self):
        """The same with an md5-file."""
        digests = f"md5-file={self.directory}/digests"
        with Nbdkit("--filter=md5", *self.volume(key="another"), digests) as server:
            server.connect().pwrite(b"x" * 512, 0)
        return ["--filter=md5", *self.volume(), digests]

    def test_a_filter_that_does_not_get_ready(self):
        """After the plugin has: a directory that cannot be made."""
        words = ["--filter=cache", *self.volume(), "cache-dir=/nonexistent/a/b"]
        for listening in (["-f", "-U", self.socket], ["-U", self.socket]):
            started = Started(*listening, *words)
            self.assertEqual(started.status, 1)
            self.assertIn("/nonexistent/a/b", started.said)
            self.expect_given_back()

    def test_an_address_that_is_taken(self):
        """nbdkit itself ends before it forks."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            for options in (["-f"], []):
                started = Started(*options, "-i", "127.0.0.1", "-p", port, *self.volume())
                self.assertEqual(started.status, 1)
                self.expect_given_back()

    def test_a_pid_file_that_cannot_be_written(self):
        """nbdkit itself ends in the background, where it can tell nobody."""
        words = ["-U", self.socket, "-P", "/nonexistent/pid", *self.volume()]
        started = Started(*words)
        self.assertEqual(started.status, 1)
        self.assertIn("the server ended before it served", started.said)
        self.expect_given_back()
        self.socket.unlink(missing_ok=True)
        self.assertEqual(Started("-f", *words).status, 1)
        self.expect_given_back()

    def test_a_layer_that_fails_in_the_background(self):
        """It is told on the terminal, and by the status."""
        for words, said in (
            (self.cache_of_another_disk(), "is the cache of something else"),
            (self.digests_of_another_disk(), "start a server with a file of its own"),
        ):
            for options in ([], ["-f"], ["-v"]):
                with self.subTest(said=said, options=options):
                    self.socket.unlink(missing_ok=True)
                    started = Started(*options, "-U", self.socket, *words)
                    self.assertEqual(started.status, 1)
                    self.assertIn(said, started.said)
                    self.expect_given_back()

    def test_a_layer_that_fails_beside_a_command(self):
        """The command does not wait for ever, whenever it comes."""
        words = self.cache_of_another_disk()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        for listening in (["-U", "-"], ["-i", "127.0.0.1", "-p", port]):
            for command in ('nbdinfo "$uri"', 'sleep 1; nbdinfo "$uri"', "true"):
                with self.subTest(listening=listening[0], command=command):
                    started = Started(*listening, *words, "--run", f"timeout 30 sh -c '{command}'")
                    self.assertIn("is the cache of something else", started.said)
                    if command != "true":
                        self.assertEqual(started.status, 1, started.said)
                    self.expect_given_back()

    def test_a_command_that_fails(self):
        """Its status is the server's, and what it wrote is stored."""
        command = "nbdsh -u \"$uri\" -c 'h.pwrite(b\"y\" * 512, 512)' -c 'h.flush()'; exit 42"
        started = Started("-U", "-", *self.volume(), "--run", f"PATH=/usr/bin:/bin; {command}")
        self.assertEqual(started.status, 42, started.said)
        self.expect_given_back()
        with Nbdkit(*self.volume()) as server:
            self.assertEqual(server.connect().pread(512, 512), b"y" * 512)

    def test_a_start_in_the_background_that_succeeds(self):
        """It returns when the server serves, which keeps its lease."""
        pid_file = self.directory / "pid"
        started = Started("-U", self.socket, "-P", pid_file, "--filter=cache", *self.volume())
        self.assertEqual((started.status, started.said), (0, ""))
        pid = int(pid_file.read_text())
        self.addCleanup(_kill, pid)
        record = lease_record(self.store)
        self.assertEqual((record["state"], record["pid"]), ("held", pid))
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: lease_record(self.store)["state"] == "released", 30, "an orderly end")


class KilledStarts(FailedStartsCase):
    """A server that is killed after it has taken the lease and before it serves: nobody waits for
    what is known to have ended on this machine."""

    def setUp(self):
        super().setUp()
        # nbdkit waits for somebody who reads its pid, after the fork and before after_fork().
        self.pid_file = self.directory / "pid"
        os.mkfifo(self.pid_file)

    def start(self, *options):
        """A start that goes no further; its processes are a group of their own."""
        words = [*options, "-U", self.socket, "-P", self.pid_file, *self.volume()]
        started = subprocess.Popen(
            [our_nbdkit(), *map(str, words)], start_new_session=True, stderr=subprocess.DEVNULL
        )
        self.addCleanup(started.wait)
        self.addCleanup(_kill_group, started.pid)
        before = lease_record(self.store)["owner"]
        wait_until(lambda: lease_record(self.store)["owner"] != before, 30, "a lease that is taken")
        return started

    def expect_not_waited_for(self):
        """The next server starts at once, and says whom it takes the lease from."""
        self.assertEqual(lease_record(self.store)["state"], "held")
        start = time.monotonic()
        with Nbdkit(*self.volume()) as server:
            self.assertLess(time.monotonic() - start, AT_ONCE_S)
            self.assertIn("has ended without giving it back", server.log())
            server.connect().pwrite(b"x" * 512, 0)

    def test_in_the_foreground(self):
        started = self.start("-f")
        started.kill()
        started.wait()
        self.expect_not_waited_for()

    def test_in_the_background(self):
        """Both processes."""
        started = self.start()
        servers = wait_until(lambda: _children(started.pid), 30, "a process in the background")
        _kill_group(started.pid)
        started.wait()
        for pid in servers:
            wait_until(lambda pid=pid: not _runs(pid), 30, "its end")
        self.expect_not_waited_for()

    def test_the_process_in_the_background_alone(self):
        """The one that has started it says so, and ends."""
        started = self.start()
        (server,) = wait_until(lambda: _children(started.pid), 30, "a process in the background")
        os.kill(server, signal.SIGKILL)
        self.assertEqual(started.wait(HANGS_S), 1)
        self.expect_not_waited_for()

    def test_the_one_that_has_started_it_alone(self):
        """Two servers, of which one has lost the lease before it served anybody."""
        started = self.start()
        (server,) = wait_until(lambda: _children(started.pid), 30, "a process in the background")
        started.kill()
        started.wait()
        with Nbdkit(*self.volume()) as winner:
            winner.connect().pwrite(b"x" * 512, 0)
            self.pid_file.read_text()  # the other goes on
            wait_until(lambda: not _runs(server), 30, "its end")
            self.assertEqual(lease_record(self.store)["pid"], winner.pid)
            winner.connect().flush()


@unittest.skipUnless(os.geteuid() == 0, "only root may change its user")
class AnotherUser(unittest.TestCase):
    """nbdkit -u: what a layer makes while it is root must be the server's."""

    user = "nobody"

    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="user-"))
        self.addCleanup(shutil.rmtree, self.directory, True)
        self.directory.chmod(0o755)
        self.uid = pwd.getpwnam(self.user).pw_uid

    def own(self, name):
        """A directory of the user's."""
        path = self.directory / name
        path.mkdir()
        os.chown(path, self.uid, -1)
        return path

    def user_disk(self):
        """A file of the user's, to serve."""
        disk = self.own("disks") / "disk"
        with open(disk, "wb") as image:
            image.truncate(1 << 20)
        os.chown(disk, self.uid, -1)
        return disk

    def write_and_read(self, *words, binary=None):
        """A server that works."""
        client = (
            'h.pwrite(b"x" * 4096, 0); h.flush(); '
            'assert h.pread(4096, 0) == b"x" * 4096; print("served")'
        )
        command = f"PATH=/usr/bin:/bin; nbdsh -u \"$uri\" -c '{client}'"
        user = [] if "-u" in words else ["-u", self.user]
        started = Started(*user, "-U", "-", *words, "--run", command, binary=binary)
        self.assertEqual((started.status, started.said), (0, ""))
        self.assertEqual(started.printed, "served\n")

    def expect_owned(self, path):
        """With all that lies in it."""
        for each in (path, *path.rglob("*")):
            self.assertEqual(each.stat().st_uid, self.uid, each)

    def test_a_cache_directory(self):
        """In a directory of the user's, in two lives."""
        parent, disk = self.own("var"), self.user_disk()
        for _ in range(2):
            self.write_and_read("--filter=cache", "file", disk, f"cache-dir={parent}/cache")
            self.expect_owned(parent)

    def test_a_new_cache_directory_beside_roots(self):
        """In a directory that only root may write to, such as /var/cache."""
        disk = self.user_disk()
        for _ in range(2):
            self.write_and_read("--filter=cache", "file", disk, f"cache-dir={self.directory}/cache")
            self.expect_owned(self.directory / "cache")
        os.chown(self.directory / "cache", 0, -1)
        started = Started(
            "-u", self.user, "-U", "-", "--filter=cache", "file", disk,
            f"cache-dir={self.directory}/cache", "--run", "true",
        )  # fmt: skip
        self.assertEqual(started.status, 1)  # it is not taken from its owner

    def test_a_user_named_behind_the_plugin(self):
        """nbdkit reads options there, too. (build/nbdkit would put it before the plugin.)"""
        parent, disk = self.own("var"), self.user_disk()
        module = pathlib.Path(our_nbdkit()).parent / "filters/cache/nbdkit-cache-filter.so"
        words = [f"--filter={module}", "file", disk, f"cache-dir={parent}/cache", "-u", self.user]
        for _ in range(2):
            self.write_and_read(*words, binary=system_nbdkit())
            self.expect_owned(parent)

    def test_an_md5_file(self):
        """It is opened once, and may be root's."""
        parent, disk = self.own("var"), self.user_disk()
        for _ in range(2):
            self.write_and_read("--filter=md5", "file", disk, f"md5-file={parent}/file")

    def test_a_volume_in_a_directory(self):
        """Which is created, written, renewed and opened again."""
        store = self.own("store")
        for _ in range(2):
            self.write_and_read("s3", "bucket=v", "size=1M", f"endpoint-url=file://{store}")
            self.expect_owned(store)

    def test_an_md5_file_beside_roots(self):
        """In a directory that only root may write to."""
        disk = self.user_disk()
        for _ in range(2):
            self.write_and_read("--filter=md5", "file", disk, f"md5-file={self.directory}/file")

    def test_what_the_user_may_not_do_ends_the_start(self):
        """With the name of the user and of the parameter, before anything is forked."""
        words = ["-u", self.user, "-U", self.directory / "socket"]
        volume = ["s3", "bucket=v", "size=1M"]
        roots = self.directory / "roots"
        roots.mkdir(mode=0o700)
        with Nbdkit(*volume, "key=a", f"endpoint-url=file://{roots}"):
            pass  # a volume of root's
        roots.chmod(0o755)
        closed = self.directory / "closed"
        closed.mkdir(mode=0o700)
        cases = {
            "endpoint-url": [*volume, f"endpoint-url=file://{self.directory}/roots"],
            "endpoint-url ": ["s3", "bucket=v", "volumes=true", f"endpoint-url=file://{roots}"],
            "cache-dir": ["--filter=cache", "memory", "1M", f"cache-dir={closed}/cache"],
            "TMPDIR": ["--filter=cache", "memory", "1M"],
        }
        for name, layers in cases.items():
            with self.subTest(name):
                started = Started(*words, *layers, environment={"TMPDIR": str(closed)})
                self.assertEqual(started.status, 1)
                self.assertIn(f"{name.strip()}: ", started.said)
                self.assertIn(f"-u {self.user}", started.said)

    def test_a_directory_that_is_not_there(self):
        """Its parent is not made: a path that was mistyped would be. The message names the parameter."""
        none = self.directory / "none"
        cases = {
            "endpoint-url": ["s3", "bucket=v", "size=1M", f"endpoint-url=file://{none}"],
            "cache-dir": ["--filter=cache", "memory", "1M", f"cache-dir={none}/cache"],
            "md5-file": ["--filter=md5", "memory", "1M", f"md5-file={none}/file"],
            "TMPDIR": ["--filter=cache", "memory", "1M"],
        }
        for name, layers in cases.items():
            with self.subTest(name):
                started = Started(
                    "-u", self.user, "-U", self.directory / "socket", *layers,
                    environment={"TMPDIR": str(none)},
                )  # fmt: skip
                self.assertEqual(started.status, 1)
                self.assertRegex(started.said, f"{name}: .*{none}")
                self.assertFalse(none.exists())


def _kill_group(pid):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _children(pid):
    """The processes that this one has started."""
    return [
        int(word)
        for tasks in pathlib.Path(f"/proc/{pid}/task").glob("*/children")
        for word in tasks.read_text().split()
    ]


def _runs(pid):
    """Also of a process that is nobody's child."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] != "Z"
    return False


def _kill(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    unittest.main()
