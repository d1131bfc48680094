"""What ./quickstart and ./check do before they build: their help, and packages that are missing; and
what tests/distributions/run and packages do before they make a system."""

import os
import pathlib
import shutil
import stat
import subprocess
import tempfile
import unittest

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_SCRIPTS = ("quickstart", "check")
# What would change the machine, or takes long. Each writes down that it was called, and fails.
_WATCHED = ("apt-get", "sudo", "cmake")


class Scripts(unittest.TestCase):
    """The scripts in a directory of their own, with programs of the test before the system's."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)
        self.programs = self.directory / "programs"
        self.programs.mkdir()
        self.calls = self.directory / "calls"
        self.calls.touch()
        shutil.copytree(_ROOT / "scripts", self.directory / "scripts")
        for name in _SCRIPTS:
            shutil.copy(_ROOT / name, self.directory)
        for name in _WATCHED:
            self.program(name, f'echo {name} "$@" >>"{self.calls}"; exit 9')
        self.program("id", "echo 1000")

    def program(self, name, text):
        """A shell script of this name, which the scripts find first."""
        file = self.programs / name
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(stat.S_IRWXU)

    def packages_are(self, state):
        """What dpkg says about every package."""
        self.program("dpkg-query", f"printf {state}")

    def run_script(self, name, *words, environment=None):
        return subprocess.run(
            [self.directory / name, *words], capture_output=True, text=True, timeout=60,
            check=False, stdin=subprocess.DEVNULL,
            env=os.environ | {"PATH": f"{self.programs}:{os.environ['PATH']}"} | (environment or {}),
        )  # fmt: skip

    def test_help_only_helps(self):
        """Whether or not packages are missing, nothing is installed or built."""
        self.packages_are("not-installed")
        for name, text in (("quickstart", "serves a 10 GiB disk"), ("check", "runs every test")):
            for word in ("--help", "-h"):
                with self.subTest(f"{name} {word}"):
                    done = self.run_script(name, word)
                    self.assertEqual((done.returncode, done.stderr), (0, ""))
                    self.assertIn(text, done.stdout)
                    self.assertNotIn("#", done.stdout)
                    self.assertNotIn("pipefail", done.stdout)
        self.assertEqual(self.calls.read_text(), "")

    def test_other_users_are_told_what_root_must_run(self):
        """sudo is not tried: it may be configured or not, and would ask for a password."""
        self.packages_are("not-installed")
        for name in _SCRIPTS:
            with self.subTest(name):
                done = self.run_script(name)
                self.assertEqual(done.returncode, 1)
                self.assertIn("only root can install them. Run once, as root:", done.stderr)
                self.assertRegex(done.stderr, "apt-get install .* ninja-build .*nbdkit-plugin-dev")
        self.assertEqual(self.calls.read_text(), "")

    def test_nobody_needs_root_when_all_is_there(self):
        self.packages_are("installed")
        for name in _SCRIPTS:
            with self.subTest(name):
                self.assertNotEqual(self.run_script(name).returncode, 0)
        self.assertEqual(self.calls.read_text().split("\n")[:2],
                         ["cmake --preset release -DNBDSTACK_TESTS=OFF",
                          "cmake --preset release -DNBDSTACK_TESTS=ON"])  # fmt: skip

    def test_a_system_is_made_only_when_all_is_known(self):
        """tests/distributions/run and packages end with a message, and have made nothing."""
        self.program("debootstrap", f'echo debootstrap "$@" >>"{self.calls}"; exit 9')
        temporary = self.directory / "temporary"
        temporary.mkdir()
        for name in ("run", "packages"):
            script = _ROOT / "tests" / "distributions" / name
            for words, message in (
                ([], "error: name a release: bookworm or trixie"),
                (["jessie"], "error: name a release: bookworm or trixie"),
                (["--root"], "error: --root needs a directory"),
                (["trixie"], "error: only root can make a system in a directory"),
            ):
                with self.subTest(f"{name} {words}"):
                    done = self.run_script(script, *words, environment={"TMPDIR": str(temporary)})
                    self.assertEqual((done.returncode, done.stdout), (1, ""))
                    self.assertIn(message, done.stderr)
            self.assertIn("bookworm|trixie", self.run_script(script, "--help").stdout)
        self.assertEqual((self.calls.read_text(), list(temporary.iterdir())), ("", []))


if __name__ == "__main__":
    unittest.main()
