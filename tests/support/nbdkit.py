"""Starting nbdkit: ours (build/nbdkit, or $NBDSTACK_NBDKIT) or the system's.

    with Nbdkit("--filter=cache", "memory", "64M") as server:
        handle = server.connect()
        handle.pwrite(b"hello", 0)

The server runs in the foreground on a Unix socket in a temporary directory of its own, with its
standard error in a file: server.log().
"""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.parse

import nbd

from support import data

ROOT = pathlib.Path(__file__).resolve().parents[2]


class NbdkitError(Exception):
    """nbdkit did not do what was asked; the message carries its standard error."""


def our_nbdkit():
    """The wrapper that finds this project's filters and plugins by their short names."""
    path = os.environ.get("NBDSTACK_NBDKIT", str(ROOT / "build" / "nbdkit"))
    if not os.access(path, os.X_OK):
        raise NbdkitError(f"{path}: not there; build first, or set NBDSTACK_NBDKIT")
    return path


def system_nbdkit():
    """Debian's nbdkit."""
    search = os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin"
    path = shutil.which("nbdkit", path=search)
    if not path:
        raise NbdkitError("nbdkit: not found; apt-get install nbdkit")
    return path


def nbdkit_version():
    """That of Debian's nbdkit: (1, 32, 5)."""
    config = subprocess.run(
        [system_nbdkit(), "--dump-config"], check=True, capture_output=True, text=True
    ).stdout
    return tuple(map(int, re.search(r"^version=([\d.]+)", config, re.MULTILINE)[1].split(".")))


class Nbdkit:
    """One server, started by the constructor and ended by stop() or the end of a with block.

    arguments    nbdkit's own, after -f -U SOCKET -P PIDFILE
    binary       ours unless given, e.g. system_nbdkit()
    verbose      adds -v
    environment  variables to set (None as a value removes one)
    input_text   what the server reads on standard input (for secret-key=-)
    pass_fds     descriptors it inherits (for secret-key=-FD)
    tmpdir       its TMPDIR; the server's own directory unless given
    launcher     words before the command, e.g. a tool that makes a namespace and execs the rest
    """

    def __init__(
        self, *arguments, binary=None, verbose=False, environment=None, input_text=None,
        pass_fds=(), tmpdir=None, launcher=(), start_timeout_s=30,
    ):  # fmt: skip
        binary = binary or our_nbdkit()
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="nbdkit-"))
        self.socket_path = self.directory / "socket"
        self._log_path, self._pid_file = self.directory / "log", self.directory / "pid"
        self.process, self._handles = None, []
        variables = {"TMPDIR": str(tmpdir or self.directory)} | (environment or {})
        listening = ["-f", "-U", self.socket_path, "-P", self._pid_file]
        command = [*launcher, *_command(binary, verbose, [*listening, *arguments])]
        try:
            with open(self._log_path, "wb") as log:
                self.process = subprocess.Popen(
                    command, stderr=log, stdout=log, env=environment_with(variables),
                    pass_fds=pass_fds,
                    stdin=subprocess.DEVNULL if input_text is None else subprocess.PIPE,
                )  # fmt: skip
            if input_text is not None:
                self.process.stdin.write(input_text.encode())
                self.process.stdin.close()
            self._wait_until_listening(command, start_timeout_s)
        except BaseException:
            self.stop()
            raise

    def _wait_until_listening(self, command, timeout_s):
        # nbdkit writes its pid file when the socket listens: no probe connection to confuse it.
        try:
            data.wait_until(
                lambda: self._pid_file.exists() or self.process.poll() is not None,
                timeout_s,
                "nbdkit listening",
            )
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {self.log()[-4000:]}") from None
        if not self._pid_file.exists():
            raise NbdkitError(
                f"nbdkit ended with {self.process.returncode}: {command}\n{self.log()}"
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def pid(self):
        """The server's process."""
        return self.process.pid

    @property
    def returncode(self):
        """Its exit code (negative: the signal that ended it), None while it runs."""
        return self.process.poll()

    def uri(self, export=""):
        """The NBD URI of an export, for nbdcopy, nbdinfo and qemu-img."""
        socket_path = urllib.parse.quote(str(self.socket_path))
        return f"nbd+unix:///{urllib.parse.quote(export)}?socket={socket_path}"

    def connect(self, export="", contexts=("base:allocation",)):
        """A connected libnbd handle. Errors of the server reach the caller as nbd.Error, unchecked
        by libnbd beforehand. Closed by disconnect() or stop()."""
        handle = nbd.NBD()
        handle.set_export_name(export)
        for context in contexts:
            handle.add_meta_context(context)
        handle.connect_unix(str(self.socket_path))
        self._handles.append(handle)
        return handle

    def disconnect(self):
        """Says NBD_CMD_DISC on every handle from connect() that is still usable."""
        for handle in self._handles:
            with contextlib.suppress(nbd.Error):
                handle.shutdown()
        self._handles.clear()

    def log(self):
        """What the server printed so far."""
        return self._log_path.read_text(errors="replace")

    def errors(self):
        """The lines of the log that a monitor takes for errors."""
        return [line for line in self.log().splitlines() if "error: " in line]

    def terminate(self, timeout_s=60):
        """Disconnects, sends SIGTERM and returns the exit code. Raises when it takes too long."""
        self.disconnect()
        self.process.terminate()
        return self.wait(timeout_s)

    def kill(self):
        """SIGKILL: a crash. Handles stay, broken, as a client would see it."""
        self.process.kill()
        return self.process.wait()

    def wait(self, timeout_s=60):
        """The exit code, once the server has ended."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise NbdkitError(f"nbdkit still runs after {timeout_s} s:\n{self.log()}") from None

    def stop(self):
        """Ends the server however it can and removes its directory. Safe to call twice."""
        # Hang up without a word: after a failed test a request may be stuck, and saying good-bye
        # would wait for it.
        for handle in self._handles:
            _hang_up(handle)
        self._handles.clear()
        if self.process and self.process.poll() is None:
            try:
                self.terminate(timeout_s=10)
            except NbdkitError:
                self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


def run_expecting_failure(*arguments, binary=None, environment=None, input_text=None, timeout_s=30):
    """Runs an nbdkit that must refuse to start; (exit code, standard error). NbdkitError if it
    serves instead, or if a signal ended it: a crash is not a refusal."""
    with tempfile.TemporaryDirectory(prefix="nbdkit-") as directory:
        pid_file = pathlib.Path(directory) / "pid"
        socket_path = pathlib.Path(directory) / "socket"
        listening = ["-f", "-U", socket_path, "-P", pid_file]
        command = _command(binary or our_nbdkit(), False, [*listening, *arguments])
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
            stdin=subprocess.PIPE, env=environment_with(environment or {}),
        )  # fmt: skip
        try:
            _, errors = process.communicate(input_text, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            _, errors = process.communicate()
            raise NbdkitError(f"started instead of refusing: {command}\n{errors}") from None
        if process.returncode <= 0:
            raise NbdkitError(f"ended with {process.returncode}: {command}\n{errors}")
        return process.returncode, errors


def _hang_up(handle):
    """Breaks a handle's connection (libnbd's Python binding has no close())."""
    with contextlib.suppress(nbd.Error, OSError):
        with socket.socket(fileno=os.dup(handle.aio_get_fd())) as connection:
            connection.shutdown(socket.SHUT_RDWR)


def _command(binary, verbose, arguments):
    words = [binary, *(["-v"] if verbose else []), *arguments]
    return [str(word) for word in words]


def environment_with(changes):
    """This process's, with variables changed (None as a value removes one)."""
    merged = os.environ | changes
    return {name: str(value) for name, value in merged.items() if value is not None}
