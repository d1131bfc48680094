"""s3rver, a small S3 server on Node.js, and the fork of it that 20 Minutes keeps, from npm: files in
a directory. Their versions stand in npm/package.json, and their dependencies' in the lock beside it.

    with S3rver(FORK) as s3:
        s3.client().create_bucket("disk")

The packages are installed into the build directory when first needed, without running anything that
comes with them. s3rver encrypts what tells the next page of a listing with DES, which Node.js
since version 17 has among OpenSSL's old algorithms only.
"""

import fcntl
import filecmp
import pathlib
import shutil
import subprocess

from servers.daemons import DaemonError, Daemons, StartedWhole
from servers.s3_service import S3Service
from support import data
from support.nbdkit import our_nbdkit

ORIGINAL, FORK = "s3rver", "s3rver-20minutes"
_PACKAGES = {"node": "nodejs", "npm": "npm", "setpriv": "util-linux"}
_WANTED = pathlib.Path(__file__).parent / "npm"
_FILES = ("package.json", "package-lock.json")
_INSTALL_TIMEOUT_S = 600


def _installed_packages():
    """The directory that has node_modules/."""
    directory = pathlib.Path(our_nbdkit()).resolve().parent / "npm"
    directory.mkdir(exist_ok=True)
    with open(directory / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = directory / "installed"
        if not (done.exists() and filecmp.cmp(_WANTED / _FILES[1], done, shallow=False)):
            done.unlink(missing_ok=True)
            for name in _FILES:
                shutil.copy(_WANTED / name, directory / name)
            words = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            installed = subprocess.run(
                words, cwd=directory, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                timeout=_INSTALL_TIMEOUT_S, check=False,
            )  # fmt: skip
            if installed.returncode != 0:
                raise DaemonError(f"{' '.join(words)}:\n{installed.stdout}{installed.stderr}")
            shutil.copy(_WANTED / _FILES[1], done)
    return directory


class S3rver(StartedWhole, S3Service):
    """The service, from start() to stop(). `package`: ORIGINAL or FORK."""

    def __init__(self, package):
        self._package, self._port = package, data.free_port()
        self._daemons = Daemons(_PACKAGES)
        super().__init__(f"http://127.0.0.1:{self._port}", "S3RVER", "S3RVER")

    def start_all(self):
        module = _installed_packages() / "node_modules" / self._package / "lib" / "s3rver.js"
        options = (
            f"{{address: '127.0.0.1', port: {self._port}, silent: true, vhostBuckets: false, "
            f"directory: {str(self._daemons.directory / 'objects')!r}}}"
        )
        (self._daemons.directory / "objects").mkdir()
        program = f"new (require({str(module)!r}))({options}).run()"
        self._daemons.spawn("s3rver", "node", "--openssl-legacy-provider", "-e", program)
        self._daemons.wait_for_http("s3rver", self._port)

    def stop(self):
        """Ends it. Safe to call twice."""
        self._daemons.stop()
