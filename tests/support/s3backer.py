"""s3backer, mounted: Debian's program over FUSE, with its disk as a file.

    with S3backer(s3, "bucket", size=1 << 20, options=["--compress"]) as disk:
        disk.pwrite(b"hello", 0)
        disk.fsync()

It needs root, /dev/fuse and the packages s3backer and fuse3, and says so where they are missing.
"""

import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile

from support import data


class S3backerError(Exception):
    """s3backer did not do what was asked; the message carries what it printed."""


def require():
    """Raises what is missing: a test that is skipped silently tests nothing."""
    if os.geteuid() != 0:
        raise S3backerError("s3backer mounts its disk with FUSE: run these tests as root")
    if not os.path.exists("/dev/fuse"):
        raise S3backerError("/dev/fuse: not there; a container must be given it")
    tools = {"s3backer": "s3backer", "fusermount3": "fuse3"}
    missing = sorted(package for tool, package in tools.items() if not shutil.which(tool))
    if missing:
        raise S3backerError(f"apt-get install {' '.join(missing)}")


class S3backer:
    """One mount, from the constructor to close().

    s3       a RadosGateway, or what has its endpoint, access_key, secret_key and region
    bucket   "bucket", or "bucket/sub"
    size     None: as block 0 says
    options  more of s3backer's own, such as "--compress"; "--password=..." among them
    """

    def __init__(self, s3, bucket, size=None, block_size=None, options=()):
        require()
        self._directory = pathlib.Path(tempfile.mkdtemp(prefix="s3backer-"))
        self._mount = self._directory / "mount"
        self._mount.mkdir()
        self._log_path = self._directory / "log"
        self._process = self._fd = None
        try:
            self._start(s3, bucket, size, block_size, options)
            self._fd = os.open(self._mount / "file", os.O_RDWR)
        except BaseException:
            self.abandon()
            raise

    def _start(self, s3, bucket, size, block_size, options):
        # Caches off, except what the kernel and its few blocks of write-back keep: what is read is
        # what lies in the bucket.
        command = [
            "s3backer", "-f", f"--baseURL={s3.endpoint}/",
            "--authVersion=aws4", f"--accessId={s3.access_key}", f"--accessKey={s3.secret_key}",
            "--md5CacheSize=0", "--md5CacheTime=0", "--minWriteDelay=0", "--blockCacheSize=16",
            "--blockCacheWriteDelay=0", "--readAhead=0", "--timeout=10", "--maxRetryPause=1000",
            "--quiet", "--directIO",
        ]  # fmt: skip
        if size is not None:
            command.append(f"--size={size}")
        if block_size is not None:
            command.append(f"--blockSize={block_size}")
        command += [*options, bucket, str(self._mount)]
        with open(self._log_path, "wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        data.wait_until(
            lambda: (self._mount / "file").exists() or self._process.poll() is not None,
            30,
            "s3backer's file",
        )
        if self._process.poll() is not None:
            raise S3backerError(f"ended with {self._process.returncode}: {self.log()}")

    def log(self):
        """What it printed."""
        return self._log_path.read_text(errors="replace")

    @property
    def size(self):
        """The size of the disk."""
        return os.fstat(self._fd).st_size

    def pread(self, count, offset):
        """All of `count` bytes."""
        parts = []
        while count:
            part = os.pread(self._fd, count, offset)
            if not part:
                raise S3backerError(f"nothing at {offset}\n{self.log()}")
            parts.append(part)
            count, offset = count - len(part), offset + len(part)
        return b"".join(parts)

    def pwrite(self, content, offset):
        """All of `content`."""
        view = memoryview(content)
        while view:
            done = os.pwrite(self._fd, view, offset)
            view, offset = view[done:], offset + done

    def fsync(self):
        """Until it is stored."""
        os.fsync(self._fd)

    def close(self):
        """Unmounts; everything is written and the mount token removed when this returns."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        done = subprocess.run(
            ["fusermount3", "-u", self._mount], capture_output=True, text=True, check=False
        )
        try:
            if done.returncode != 0:
                raise S3backerError(f"not unmounted: {done.stderr}")
            if self._process.wait(30) != 0:
                raise S3backerError(f"ended with {self._process.returncode}: {self.log()}")
        except subprocess.TimeoutExpired:
            raise S3backerError(f"still runs 30 s after it was unmounted: {self.log()}") from None
        finally:
            self.abandon()

    def abandon(self):
        """SIGKILL, as in a crash, and everything of it on this machine removed. Safe to call
        twice."""
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = None
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(["fusermount3", "-u", "-z", self._mount], check=False, **quiet)
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.close()
        else:
            self.abandon()


def expect_refusal(*arguments, **settings):
    """Mounts what must not be mounted; what s3backer printed."""
    try:
        S3backer(*arguments, **settings).abandon()
    except S3backerError as refusal:
        return str(refusal)
    raise AssertionError("s3backer mounted what it should have refused")
