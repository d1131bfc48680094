"""A real file system on the whole stack: what a user puts on the disk is there after a restart."""

import hashlib
import os
import pathlib
import subprocess
import tarfile
import tempfile
import unittest

from e2e.mounted_disk import BlockDevice, mounted, require_root_and_tools, run
from e2e.stores import GatewayStore, LocalStore, gateway
from support.nbdkit import Nbdkit

MIB = 1 << 20
ARCHIVE_BYTES = 40 * MIB  # of this machine's own files: many, of all sizes
TRANSACTIONS = 300


def make_archive(path):
    """A tar of the first ARCHIVE_BYTES of files below /usr/include and /usr/share/doc."""
    left = ARCHIVE_BYTES
    with tarfile.open(path, "w") as archive:
        for root in ("/usr/include", "/usr/share/doc", "/usr/lib/python3"):
            for directory, folders, names in os.walk(root):
                folders.sort()
                for name in sorted(names):
                    file = pathlib.Path(directory, name)
                    if left > 0 and file.is_file() and not file.is_symlink():
                        archive.add(file, recursive=False)
                        left -= file.stat().st_size
    if left > ARCHIVE_BYTES // 2:
        raise AssertionError("this machine has too few files below /usr for a fair test")


def checksums(root):
    """Relative path -> SHA-256 of every regular file."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def commit_transactions(database):
    """TRANSACTIONS commits of sqlite3's, each waiting for the disk."""
    lines = ["PRAGMA synchronous=FULL;", "CREATE TABLE t (number INTEGER, text BLOB);"]
    for number in range(TRANSACTIONS):
        lines.append(f"BEGIN; INSERT INTO t VALUES ({number}, randomblob(3000)); COMMIT;")
    subprocess.run(
        ["sqlite3", str(database)], input="\n".join(lines), text=True, check=True, timeout=300,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip


class FileSystem:
    """Mixed into a TestCase that sets `store`."""

    def setUp(self):
        require_root_and_tools()
        scratch = tempfile.TemporaryDirectory(prefix="fs-test-")
        self.addCleanup(scratch.cleanup)
        self.archive = pathlib.Path(scratch.name) / "archive.tar"
        make_archive(self.archive)
        self.store = self.make_store()
        self.addCleanup(self.store.close)

    def serve(self, *more, **parameters):
        """The whole stack, with a cache far smaller than what is written."""
        filters = ["--filter=cache", "--filter=md5"]
        return Nbdkit(
            *filters, *self.store.volume(**parameters), "cache-max-size=16M", "cache-on-read=true",
            *more,
        )  # fmt: skip

    def fill(self, mount_point):
        """Unpacks, removes a part, commits transactions; the checksums of what is there then."""
        run("tar", "-xf", self.archive, "-C", mount_point)
        run("rm", "-rf", mount_point / "usr/include/linux")
        commit_transactions(mount_point / "database")
        return checksums(mount_point)

    def check_contents(self, device, expected):
        """The file system is clean, and nothing in it has changed."""
        run("fsck.ext4", "-f", "-n", device)
        with mounted(device) as mount_point:
            found = checksums(mount_point)
            # Names alone: unittest's comparison of thousands of lines takes for ever.
            differing = sorted(dict(found.items() ^ expected.items()))
            self.assertFalse(len(differing), f"files differ, such as {differing[:3]}")
            count = run("sqlite3", mount_point / "database", "SELECT count(*) FROM t;")
            self.assertEqual(int(count), TRANSACTIONS)
            answer = run("sqlite3", mount_point / "database", "PRAGMA integrity_check;")
            self.assertEqual(answer.strip(), "ok")

    def test_files_are_the_same_after_a_restart(self):
        """Files of a real file system are the same after a restart."""
        with self.serve(size="256M", object_size="256K") as server:
            with BlockDevice(server) as disk:
                run("mkfs.ext4", "-q", "-F", disk.device)
                with mounted(disk.device) as mount_point:
                    expected = self.fill(mount_point)
            self.assertEqual(server.terminate(), 0, server.log())
        self.assertGreater(len(expected), 100)
        with self.serve() as server, BlockDevice(server) as disk:
            self.check_contents(disk.device, expected)

    def test_committed_data_survive_a_crash_of_the_server(self):
        """What sync(1) has committed survives a kill of the server."""
        with self.serve(size="256M", object_size="256K") as server:
            with BlockDevice(server) as disk:
                run("mkfs.ext4", "-q", "-F", disk.device)
                with mounted(disk.device) as mount_point:
                    expected = self.fill(mount_point)
                    run("sync", "-f", mount_point)
                    server.kill()  # what the unmount still writes meets errors
        with self.serve() as server, BlockDevice(server) as disk:
            with mounted(disk.device):  # replays the journal
                pass
            self.check_contents(disk.device, expected)


class LocalFileSystem(FileSystem, unittest.TestCase):
    make_store = LocalStore


class GatewayFileSystem(FileSystem, unittest.TestCase):
    @staticmethod
    def make_store():
        return GatewayStore(gateway())


if __name__ == "__main__":
    unittest.main()
