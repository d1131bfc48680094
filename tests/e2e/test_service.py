"""The units of systemd/, and the command that they run, without systemd as the first process: the
units are checked offline, and the service's own command is started by systemd-socket-activate."""

import contextlib
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import unittest

import nbd

from servers.memory_s3 import MemoryS3
from support import data
from support.nbdkit import ROOT, environment_with, our_nbdkit

UNITS = ROOT / "systemd"
LAUNCHER = UNITS / "nbdstack-serve"
# What `systemd-analyze security` finds, of 100; 13 today. A service without a sandbox has 96.
MOST_EXPOSURE = 15
MIB = 1 << 20


def settings(unit):
    """[(name, value)] of a unit's settings, in their order."""
    return re.findall(r"^(\w+)=(.*)$", (UNITS / unit).read_text(), re.MULTILINE)


def setting(unit, name):
    """The value of a setting that the unit has once."""
    (value,) = (value for found, value in settings(unit) if found == name)
    return value


def nobody_with_nothing():
    """Words that run a command as the service runs: as a user who owns nothing, without capabilities.
    Only root can."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid=65534", "--clear-groups", "--bounding-set=-all", "--no-new-privs"]


class Units(unittest.TestCase):
    """As an administrator's own checks judge them."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="units-")
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)
        for unit in UNITS.glob("nbdstack@.*"):
            # Where it is installed to, systemd finds the command.
            text = unit.read_text().replace("ExecStart=nbdstack", f"ExecStart={UNITS}/nbdstack")
            (self.directory / unit.name).write_text(text)

    def analyze(self, *words):
        """Runs systemd-analyze; its exit code and output."""
        done = subprocess.run(
            ["systemd-analyze", *words], capture_output=True, text=True, check=False, timeout=60
        )
        return done.returncode, done.stdout + done.stderr

    def verify(self):
        """Checks both units."""
        units = sorted(str(unit) for unit in self.directory.iterdir())
        self.assertEqual(len(units), 2)
        return self.analyze("verify", "--man=no", *units)

    def test_verify(self):
        """They have no fault; one that is put in is found."""
        self.assertEqual(self.verify(), (0, ""))
        service = self.directory / "nbdstack@.service"
        service.write_text(service.read_text().replace("Type=notify", "Type=notifi"))
        self.assertIn("notifi", self.verify()[1])

    def test_security(self):
        """The sandbox is as tight as it was; one setting less is noticed."""
        words = ["security", "--offline=true", "--no-pager", f"--threshold={MOST_EXPOSURE}"]
        service = self.directory / "nbdstack@.service"
        code, told = self.analyze(*words, str(service))
        self.assertEqual(code, 0, told)
        service.write_text(service.read_text().replace("CapabilityBoundingSet=\n", ""))
        self.assertNotEqual(self.analyze(*words, str(service))[0], 0)

    def test_manual_shows_the_example(self):
        """nbdstack-serve(1) has the example's words."""
        page = (ROOT / "man" / "nbdstack-serve.pod").read_text()
        example = (UNITS / "example.conf").read_text()
        words = [line for line in example.splitlines() if line and not line.startswith("#")]
        self.assertIn("".join(f" {word}\n" for word in words), page)


class ServiceCase(unittest.TestCase):
    """What systemd gives the service, in a directory: its configuration, state and credentials, a
    socket to tell the manager of its progress, and one to serve at."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="service-", dir="/var/tmp")
        self.addCleanup(scratch.cleanup)
        self.scratch = pathlib.Path(scratch.name)
        self.scratch.chmod(0o755)
        for name in ("etc", "state", "credentials", "bin"):
            (self.scratch / name).mkdir()
        # systemd looks for the commands here.
        (self.scratch / "bin/nbdstack-serve").symlink_to(LAUNCHER)
        (self.scratch / "bin/nbdkit").symlink_to(our_nbdkit())
        self.environment = {
            "CONFIGURATION_DIRECTORY": str(self.scratch / "etc"),
            "STATE_DIRECTORY": str(self.scratch / "state"),
            "CREDENTIALS_DIRECTORY": str(self.scratch / "credentials"),
            "NOTIFY_SOCKET": str(self.scratch / "notify"),
            "PATH": f"{self.scratch / 'bin'}:{os.environ['PATH']}",
            "HOME": "/",
        }
        self.log_path = self.scratch / "log"

    def configure(self, name, text):
        """Writes NAME.conf."""
        (self.scratch / "etc" / f"{name}.conf").write_text(text)

    def command(self, name):
        """The unit's command for the instance `name`."""
        return setting("nbdstack@.service", "ExecStart").replace("%i", name).split()


class Life(ServiceCase):
    def setUp(self):
        super().setUp()
        self.s3 = MemoryS3({"my-disks": {}})
        self.s3.start()
        self.addCleanup(self.s3.stop)
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.manager.close)
        self.manager.bind(self.environment["NOTIFY_SOCKET"])
        self.manager.settimeout(60)
        os.chmod(self.environment["NOTIFY_SOCKET"], 0o777)
        for name in ("access-key", "secret-key"):
            (self.scratch / "credentials" / name).write_text(f"of {name}\n")
        if os.geteuid() == 0:
            for path in [self.scratch / "state", *(self.scratch / "credentials").iterdir()]:
                os.chown(path, 65534, 65534)
                path.chmod(0o700 if path.is_dir() else 0o400)
            os.chown(self.scratch / "credentials", 65534, 65534)

    @contextlib.contextmanager
    def service(self, name):
        """The service behind its socket, which its first client starts. Stopped as systemd does, and
        expected to end with 0."""
        at = self.scratch / "socket"
        given = [f"--setenv={key}={value}" for key, value in self.environment.items()]
        activate = ["systemd-socket-activate", f"--listen={at}", *given, *nobody_with_nothing()]
        with open(self.log_path, "wb") as log:
            process = subprocess.Popen(
                [*activate, *self.command(name)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=environment_with(self.environment),
            )  # fmt: skip
        self.process = process
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        data.wait_until(at.exists, 60, "a socket")
        if os.geteuid() == 0:
            os.chmod(at, 0o777)
        client = nbd.NBD()
        client.connect_unix(str(at))
        yield client
        client.shutdown()
        process.terminate()
        self.assertEqual(process.wait(60), 0, self.log_path.read_text())
        at.unlink()

    def told(self, word):
        """Waits until the service manager is told it."""
        while word not in self.manager.recv(1000):
            pass

    def test_disk_of_the_example(self):
        """Started by its first client, told to be ready, written, stopped, started again and read:
        with its credentials, its cache in the state directory, and no rights."""
        example = (UNITS / "example.conf").read_text()
        self.configure("my-disk", f"{example}endpoint-url={self.s3.endpoint}\nsize=16M")
        written = data.tagged(1, 0, 4 * MIB)
        with self.service("my-disk") as client:
            self.told(b"READY=1")
            client.pwrite(written, MIB)
            shown = pathlib.Path("/proc", str(self.process.pid), "cmdline").read_text()
            self.assertIn(f"\0secret-key=+{self.scratch}/credentials/secret-key\0", shown)
            self.assertNotIn("of secret-key", shown)
        self.told(b"STOPPING=1")
        self.assertTrue((self.scratch / "state/cache").is_dir())
        self.configure("my-disk", f"{example}endpoint-url={self.s3.endpoint}")
        with self.service("my-disk") as client:
            self.told(b"READY=1")
            self.assertEqual(client.pread(4 * MIB, MIB), written)


class Launcher(ServiceCase):
    """nbdstack-serve, with a stand-in for nbdkit that shows its words."""

    def setUp(self):
        super().setUp()
        nbdkit = self.scratch / "bin/nbdkit"
        nbdkit.unlink()
        nbdkit.write_text('#!/bin/sh\nprintf "<%s>\\n" "$@"\n')
        nbdkit.chmod(0o755)
        self.environment["LISTEN_FDS"] = "1"

    def serve(self, name="disk"):
        """Runs it; its exit code, output and messages."""
        done = subprocess.run(
            self.command(name), capture_output=True, text=True, check=False, timeout=60,
            env=environment_with(self.environment), executable=shutil.which(LAUNCHER),
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    def test_words(self):
        """They arrive as they stand in the file, but for blanks around them and the variables."""
        state = self.environment["STATE_DIRECTORY"]
        self.configure(
            "disk",
            "# what this is\n\n  --filter=cache \t\ns3\nkey=a b=c 'd' \"e\" \\ * $(id) $HOME `id` #f\n"
            "bucket=ä\ncache-dir=${STATE_DIRECTORY}/x${STATE_DIRECTORY}",
        )
        self.assertEqual(
            self.serve(),
            (
                0,
                "<--filter=cache>\n<s3>\n<key=a b=c 'd' \"e\" \\ * $(id) $HOME `id` #f>\n"
                f"<bucket=ä>\n<cache-dir={state}/x{state}>\n",
                "",
            ),
        )

    def test_lines_that_are_refused(self):
        """With the file and the number of the line, before anything is started."""
        del self.environment["CREDENTIALS_DIRECTORY"]
        refusals = {
            "bucket = x": "one word in a line",
            "bucket= x": "one word in a line",
            "--filter cache": "one word in a line",
            "bucket=x\r": "carriage return",
            "access-key=+${CREDENTIALS_DIRECTORY}/a": "LoadCredential=",
            "cache-dir=${HOME}/a": "only ${CREDENTIALS_DIRECTORY}",
        }
        for line, words in refusals.items():
            with self.subTest(line):
                self.configure("disk", f"s3\n{line}\n")
                code, out, told = self.serve()
                self.assertEqual((code, out), (1, ""))
                self.assertIn(f"{self.scratch}/etc/disk.conf:2: ", told)
                self.assertIn(words, told)

    def test_starts_that_are_refused(self):
        """With what to do."""
        self.configure("none", "memory\n1M\n")
        self.configure("disk", "s3\n")
        for name, words in (
            ("none", "no layer of nbdstack"),
            ("other", "there is no "),
            ("../etc/disk", "is not the name"),
            ("--no", "usage: "),
        ):
            with self.subTest(name):
                code, out, told = self.serve(name)
                self.assertEqual((code, out), (1, ""))
                self.assertIn(words, told)
        del self.environment["LISTEN_FDS"]
        self.assertIn("nbdstack@disk.socket", self.serve()[2])

    def test_help(self):
        """It only helps."""
        code, out, _ = self.serve("--help")
        self.assertEqual(code, 0)
        self.assertIn("usage: nbdstack-serve NAME", out)


if __name__ == "__main__":
    unittest.main()
