"""Other people's servers, started by a test: in the foreground, in a directory of their own, and
gone with the test whatever ends it.

    daemons = Daemons({"nginx": "nginx"})
    daemons.spawn("nginx", "nginx", "-c", ...)
    daemons.wait_for("nginx", lambda: ...)
    ...
    daemons.stop()
"""

import http.client
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

from support import data

_START_TIMEOUT_S = 120  # Swift loads for seconds, on a busy machine for many


class DaemonError(Exception):
    """A server did not start; the message carries the end of what it printed."""


class StartedWhole:
    """Servers that are one service, as a context. Where start() fails, what did start is stopped."""

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        """All of it serves from now on."""
        try:
            self.start_all()
        except BaseException:
            self.stop()
            raise

    def start_all(self):
        """One after the other, until the last of them serves."""
        raise NotImplementedError

    def stop(self):
        """Ends all of it. Safe to call twice."""
        raise NotImplementedError


class Daemons:
    """Processes by name. `packages`: the Debian package of each tool that must be there."""

    def __init__(self, packages):
        search = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
        missing = {package for tool, package in packages.items() if not _found(tool, search)}
        if missing:
            raise DaemonError(
                f"missing: apt-get install --no-install-recommends {' '.join(sorted(missing))}"
            )
        self._environment = os.environ | {"PATH": search}
        self._processes = {}
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="daemons-"))
        self.directory.chmod(0o755)  # some change to a user of their own

    def run(self, *command, **environment):
        """A command that must succeed within a minute."""
        done = subprocess.run(
            [str(word) for word in command], capture_output=True, text=True, timeout=60,
            stdin=subprocess.DEVNULL, env=self._environment | environment, check=False,
            cwd=self.directory,
        )  # fmt: skip
        if done.returncode != 0:
            raise DaemonError(f"{command[0]}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def spawn(self, name, *command, **environment):
        """Starts a server. It dies with us: with the thread that calls this, to be exact."""
        words = ["setpriv", "--pdeathsig", "KILL", *(str(word) for word in command)]
        with open(self._log_path(name), "ab") as output:
            self._processes[name] = subprocess.Popen(
                words, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                env=self._environment | environment, cwd=self.directory,
            )  # fmt: skip

    def wait_for(self, name, condition, timeout_s=_START_TIMEOUT_S):
        """Until the condition holds; DaemonError when it does not, or the process has ended."""

        def holds():
            code = self._processes[name].poll()
            if code is not None:
                raise DaemonError(f"{name} ended with {code}:\n{self.log(name)}")
            return condition()

        try:
            data.wait_until(holds, timeout_s, f"{name} answering")
        except TimeoutError as error:
            raise DaemonError(f"{error}\n{self.log(name)}") from None

    def wait_for_http(self, name, port):
        """Until something answers in HTTP, whatever it says."""
        self.wait_for(name, lambda: answers_http(port))

    def log(self, name, lines=25):
        """The last lines of what it printed."""
        text = self._log_path(name).read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def send(self, name, number):
        """Sends it a signal."""
        self._processes[name].send_signal(number)

    def end(self, name, number=signal.SIGKILL):
        """Ends one, and waits for that."""
        process = self._processes.pop(name, None)
        if process:
            process.send_signal(number)
            process.wait()

    def stop(self):
        """Ends all of them and removes the directory. Safe to call twice."""
        for name in list(self._processes):
            self.end(name)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _log_path(self, name):
        return self.directory / f"{name}.out"


def _found(tool, search):
    return shutil.which(tool, path=search) is not None


def answers_http(port):
    """Whether there is an HTTP server at the port of this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        connection.getresponse().read()
        return True
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
