"""`cmake --install`: what it puts where, and that nothing of it depends on where it was built."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from support.nbdkit import ROOT, environment_with, our_nbdkit, system_nbdkit

FILTERS = ("cache", "cacheextents", "md5", "readahead", "zeroblock")
PLUGINS = ("s3",)
COMMANDS = ("nbdstack-cache", "nbdstack-md5-verify", "nbdstack-metrics", "nbdstack-s3", "nbdstack-top")
SERVER_PREFIX = "/usr"


def build_directory():
    """Where the build lies that these tests are of."""
    return pathlib.Path(our_nbdkit()).resolve().parent


def nbdkit_config(name):
    """What Debian's nbdkit says of itself under that name."""
    config = subprocess.run(
        [system_nbdkit(), "--dump-config"], check=True, capture_output=True, text=True
    ).stdout
    return re.search(rf"^{name}=(.*)$", config, re.MULTILINE)[1]


def install(prefix, destdir=None):
    """Installs this build there, stripped, as the README does it."""
    subprocess.run(
        ["cmake", "--install", build_directory(), "--strip", "--prefix", prefix],
        check=True, capture_output=True, env=environment_with({"DESTDIR": destdir}),
    )  # fmt: skip


def files_below(directory):
    """The paths of all files there, relative to it."""
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def expected_files():
    """What is installed below nbdkit's own prefix."""
    modules = str(pathlib.Path(nbdkit_config("filterdir")).parent.relative_to(SERVER_PREFIX))
    expected = {f"{modules}/filters/nbdkit-{name}-filter.so" for name in FILTERS}
    expected |= {f"{modules}/plugins/nbdkit-{name}-plugin.so" for name in PLUGINS}
    expected |= {f"bin/{command}" for command in (*COMMANDS, "nbdstack-serve")}
    for page in (ROOT / "man").glob("*.pod"):
        section = 7 if page.stem in ("nbdstack", "nbdstack-guide", "nbdstack-s3-config") else 1
        expected.add(f"share/man/man{section}/{page.stem}.{section}")
    documents = ["README.md", "CHANGELOG.md", "SECURITY.md", "LICENSE"]
    documents += [f"docs/{name}" for name in files_below(ROOT / "docs")]
    documents += [f"examples/{path.name}" for path in (ROOT / "systemd").glob("*.conf")]
    expected |= {f"share/doc/nbdstack/{name}" for name in documents}
    units = [path for path in (ROOT / "systemd").glob("*") if path.suffix in (".service", ".socket")]
    return expected | {f"lib/systemd/system/{unit.name}" for unit in units}


def files_that_name(directory, words):
    """Those files below it in which one of the words occurs."""
    return [
        name for name in sorted(files_below(directory))
        if any(word.encode() in (directory / name).read_bytes() for word in words)
    ]  # fmt: skip


class Install(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="install-")
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name).resolve()

    def test_below_the_prefix_of_nbdkit(self):
        """By the short names that plain nbdkit looks for; DESTDIR stands before the prefix."""
        install(SERVER_PREFIX, destdir=str(self.directory))
        self.assertEqual(files_below(self.directory / "usr"), expected_files())
        self.assertEqual(os.listdir(self.directory), ["usr"])

    def test_below_another_prefix(self):
        """With the wrapper, because nbdkit does not look there. Nothing that is installed names the
        trees that it was built in, and it goes on working in another place."""
        prefix, moved = self.directory / "prefix", self.directory / "moved"
        install(prefix)
        self.assertEqual(files_below(prefix), expected_files() | {"bin/nbdkit"})
        self.assertEqual(files_that_name(prefix, [str(ROOT), str(build_directory())]), [])
        self.assertIn("bin/nbdkit", files_that_name(prefix, [nbdkit_config("binary")]))  # control
        prefix.rename(moved)
        shown = self.nbdkit(moved, "--help", "--filter=cache", "--filter=delay", "s3")
        self.assertEqual(shown.returncode, 0, shown.stderr)
        self.assertRegex(shown.stdout, r"filter: cache \(nbdstack ")
        self.assertRegex(shown.stdout, r"filter: delay \(")
        self.assertRegex(shown.stdout, r"plugin: .*\(nbdstack ")
        for command in COMMANDS:
            subprocess.run([moved / "bin" / command, "--version"], check=True, capture_output=True)

    def test_a_module_that_is_missing_is_refused(self):
        """Instead of nbdkit's own of that name."""
        install(self.directory)
        (module,) = self.directory.rglob("nbdkit-cache-filter.so")
        module.unlink()
        refused = self.nbdkit(self.directory, "--filter=cache", "null")
        self.assertEqual(refused.returncode, 1)
        self.assertIn(f"{module} is missing; install nbdstack again", refused.stderr)

    def nbdkit(self, prefix, *words):
        """Runs the wrapper of that installation to its end."""
        return subprocess.run(
            [prefix / "bin" / "nbdkit", *words], capture_output=True, text=True, check=False,
            timeout=60, env=environment_with({"LC_ALL": "C"}),
        )  # fmt: skip


class FilesOfPackages(unittest.TestCase):
    """A file that belongs to a package is not replaced: its next upgrade would undo that. Only the
    guard runs here, which stands before all that installs."""

    def guard(self, destdir=None, programs=None):
        """Runs it as `cmake --install BUILD --prefix /usr` does."""
        return subprocess.run(
            ["cmake", f"-DCMAKE_INSTALL_PREFIX={SERVER_PREFIX}", "-P", "install_guard.cmake"],
            cwd=build_directory(), capture_output=True, text=True, check=False,
            env=environment_with(
                {"DESTDIR": destdir, "PATH": f"{programs or '/nowhere'}:{os.environ['PATH']}"}
            ),
        )  # fmt: skip

    def test_they_stay(self):
        """nbdkit is a package here; with DESTDIR its files are not touched."""
        self.assertTrue(shutil.which("dpkg-query"))
        refused = self.guard()
        self.assertNotEqual(refused.returncode, 0)
        said = " ".join(refused.stderr.split())
        self.assertIn("Nothing has been installed.", said)
        self.assertIn("nbdkit-cache-filter.so belongs to a Debian package", said)
        self.assertEqual(self.guard(destdir="/somewhere").returncode, 0)

    def test_a_file_that_the_administrator_has_diverted_is_replaced(self):
        """dpkg then says so, and the package's next upgrade goes to the other place."""
        with tempfile.TemporaryDirectory() as name:
            fake = pathlib.Path(name) / "dpkg-query"
            for said, refused in (("local diversion from: $2", False), ("nbdkit: $2", True)):
                fake.write_text(f'#!/bin/sh\necho "{said}"\n')
                fake.chmod(0o755)
                self.assertEqual(self.guard(programs=name).returncode != 0, refused, said)

    def test_the_guard_comes_first(self):
        """Before the first file."""
        script = (build_directory() / "cmake_install.cmake").read_text()
        self.assertLess(script.index("install_guard.cmake"), script.index("file(INSTALL"))
        self.assertLess(script.index("install_guard.cmake"), script.index("/cmake_install.cmake"))


class DebianPackage(unittest.TestCase):
    """debian/ agrees with what is installed, and with the nbdkit of this machine. Whether a package is
    installed, upgraded and removed as it should: tests/distributions/packages."""

    def test_it_diverts_what_nbdkit_brings(self):
        """Each file that the packages of nbdkit have as well, and no other; on removal the same ones."""
        listed = subprocess.run(
            ["dpkg-query", "--listfiles", "nbdkit"], check=True, capture_output=True, text=True
        ).stdout.splitlines()
        ours = {f"{SERVER_PREFIX}/{name}" for name in expected_files()}
        ours = {f"{name}.gz" if "/share/man/" in name else name for name in ours}  # by debhelper
        shared = ours & set(listed)
        self.assertIn(f"{nbdkit_config('filterdir')}/nbdkit-cache-filter.so", shared)
        for script in ("preinst", "postrm"):
            self.assertEqual(self.diverted(script), shared, script)

    def diverted(self, script):
        """The files that this script of the package's calls dpkg-divert for."""
        with tempfile.TemporaryDirectory() as name:
            log, fake = pathlib.Path(name) / "log", pathlib.Path(name) / "dpkg-divert"
            fake.write_text(f'#!/bin/sh\nfor file; do :; done\necho "$file" >>{log}\n')
            fake.chmod(0o755)
            for command in ("zgrep", "mv"):  # as if every file were ours
                (pathlib.Path(name) / command).symlink_to("/bin/true")
            text = (ROOT / "debian" / f"nbdstack.{script}").read_text()
            triplet = pathlib.Path(nbdkit_config("libdir")).name
            word = {"preinst": "install", "postrm": "remove"}[script]
            subprocess.run(
                ["sh", "-s", word], input=text.replace("#DEB_HOST_MULTIARCH#", triplet), text=True,
                check=True, env=environment_with({"PATH": f"{name}:{os.environ['PATH']}"}),
            )  # fmt: skip
            return set(log.read_text().split())

    def test_it_needs_what_quickstart_installs(self):
        """For the build. g++ is there for every package, certificates are needed to run."""
        packages = subprocess.run(
            ["sh", "-c", '. scripts/packages.sh; echo "$BUILD_PACKAGES"'],
            check=True, capture_output=True, text=True, cwd=ROOT,
        ).stdout.split()  # fmt: skip
        control = (ROOT / "debian" / "control").read_text()
        needs = re.search(r"^Build-Depends: (.*?)^\S", control, re.MULTILINE | re.DOTALL)[1]
        needs = {word.split()[0] for word in needs.split(",")}
        expected = set(packages) - {"g++", "ca-certificates"} | {"debhelper-compat", "libnbd-bin"}
        self.assertEqual(needs, expected)

    def test_its_version_is_that_of_the_project(self):
        """CMakeLists.txt and debian/changelog."""
        project = re.search(r"VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text().split("project")[1])
        changelog = (ROOT / "debian" / "changelog").read_text()
        self.assertEqual(re.match(r"nbdstack \((.*?)\)", changelog)[1], project[1])


if __name__ == "__main__":
    unittest.main()
