"""Which versions of nbdkit the build accepts, tried with servers that only tell a version."""

import pathlib
import subprocess
import tempfile
import unittest

from support.nbdkit import ROOT


def check(server, header):
    """Runs cmake/Nbdkit.cmake alone; the CompletedProcess with its words in one line."""
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        program = directory / "nbdkit"
        program.write_text(f"#!/bin/sh\necho version={server}\n")
        program.chmod(0o755)
        (directory / "nbdkit-filter.h").touch()
        define = f'#define NBDKIT_VERSION_STRING "{header}"\n'
        (directory / "nbdkit-version.h").write_text(define)
        done = subprocess.run(
            ["cmake", f"-DNBDKIT_EXECUTABLE={program}", f"-DNBDKIT_INCLUDE_DIR={directory}",
             "-P", ROOT / "cmake" / "Nbdkit.cmake"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    done.stderr = " ".join(done.stderr.split())
    return done


class NbdkitCheck(unittest.TestCase):
    """The header's version and the server's."""

    def test_versions_from_1_30_are_accepted(self):
        for version in ("1.30.0", "1.32.5", "1.42.3", "1.48.1", "2.0.0"):
            with self.subTest(version):
                done = check(version, version)
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_older_versions_are_refused(self):
        for version in ("1.9.9", "1.28.4"):
            with self.subTest(version):
                done = check(version, version)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(f"nbdkit {version} was found, but nbdstack needs 1.30", done.stderr)

    def test_a_server_of_another_version_than_its_header_is_refused(self):
        done = check("1.42.4", "1.42.3")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("is version 1.42.4, but its headers", done.stderr)


if __name__ == "__main__":
    unittest.main()
