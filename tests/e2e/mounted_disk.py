"""A served disk as a block device of this machine: nbdfuse makes it a file, a loop device of that
file a disk. Needs root, and undoes everything whatever happens."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile

from support import data

_TOOLS = {
    "nbdfuse": "libnbd-bin",
    "fusermount3": "fuse3",
    "losetup": "mount",
    "mount": "mount",
    "mkfs.ext4": "e2fsprogs",
    "fsck.ext4": "e2fsprogs",
    "sqlite3": "sqlite3",
}


def require_root_and_tools():
    """Raises what is missing: a test that is skipped silently tests nothing."""
    if os.geteuid() != 0:
        raise AssertionError("a loop device and a mount need root: run these tests as root")
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    missing = {package for tool, package in _TOOLS.items() if not shutil.which(tool, path=path)}
    if missing:
        raise AssertionError(f"apt-get install {' '.join(sorted(missing))}")
    for device in ("/dev/fuse", "/dev/loop-control"):
        if not os.path.exists(device):
            raise AssertionError(f"{device}: not there; a container must be given it")


def run(*command, timeout_s=300):
    """A program that must succeed; its standard output."""
    words = [str(word) for word in command]
    path = {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=timeout_s, check=False,
            env=os.environ | path, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise AssertionError(f"{words}: not done within {timeout_s} s") from None
    if done.returncode != 0:
        raise AssertionError(f"{words} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
    return done.stdout


class BlockDevice:
    """A server's disk as `device` ("/dev/loop3"), from the constructor to close()."""

    def __init__(self, server):
        self._undo = contextlib.ExitStack()
        try:
            self._directory = pathlib.Path(tempfile.mkdtemp(prefix="disk-"))
            self._undo.callback(self._remove_directory)
            self._start_nbdfuse(server)
            self.device = run("losetup", "--find", "--show", self._directory / "nbd").strip()
            self._undo.callback(self._detach)
        except BaseException:
            self._undo.close()
            raise

    def _start_nbdfuse(self, server):
        self._log = open(self._directory.with_suffix(".log"), "w+b")
        self._undo.callback(self._log.close)
        os.unlink(self._log.name)
        command = ["nbdfuse", str(self._directory), server.uri()]
        process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        self._undo.callback(self._end_nbdfuse, process)
        data.wait_until(
            lambda: (self._directory / "nbd").exists() or process.poll() is not None,
            30,
            "nbdfuse's file",
        )
        if process.poll() is not None:
            self._log.seek(0)
            raise AssertionError(f"nbdfuse ended: {self._log.read().decode(errors='replace')}")

    def _end_nbdfuse(self, process):
        # -z: also with somebody in it, after a failure.
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(["fusermount3", "-u", "-z", self._directory], check=False, **quiet)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _detach(self):
        run("losetup", "--detach", self.device)

    def _remove_directory(self):
        with contextlib.suppress(OSError):
            self._directory.rmdir()

    def close(self):
        """Detaches the loop device and ends nbdfuse, which says NBD_CMD_DISC. Safe twice."""
        self._undo.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@contextlib.contextmanager
def mounted(device):
    """The device's file system as a directory."""
    with tempfile.TemporaryDirectory(prefix="mount-") as directory:
        run("mount", "-t", "ext4", device, directory)
        try:
            yield pathlib.Path(directory)
        except BaseException:
            subprocess.run(["umount", "--lazy", directory], check=False)
            raise
        run("umount", directory)
