"""Running nbdstack-metrics, and reading what it shows.

    with MetricsCommand(directory) as command:      # nbdstack-metrics --listen=0 directory
        text = command.get("/metrics").text
        assert value(text, "nbdstack_up", layer="s3") == 1
"""

import http.client
import re
import socket
import subprocess
import tempfile
import urllib.parse
from dataclasses import dataclass

from support import data
from support.command import our_command
from support.nbdkit import NbdkitError

_SERIES = re.compile(r'^(\w+)(?:\{(.*)\})? (\S+)$', re.M)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def series(text, name):
    """[(labels, value)] of all series of this name in an exposition."""
    return [
        (dict(_LABEL.findall(labels)), float(number))
        for found, labels, number in _SERIES.findall(text)
        if found == name
    ]


def value(text, name, **labels):
    """The sum of the series that have these labels, None if there is none."""
    values = [number for has, number in series(text, name) if labels.items() <= has.items()]
    return sum(values) if values else None


def check_by_promtool(text):
    """What Prometheus' own checker says against the text; an empty string if nothing."""
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr if done.returncode != 0 else ""


@dataclass(frozen=True)
class Answer:
    """An answer of HTTP."""

    status: int
    headers: dict
    text: str


class UnixConnection(http.client.HTTPConnection):
    """To a Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self):
        """As the base class does."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self._path)


class MetricsCommand:
    """nbdstack-metrics while it serves. Without `launcher` it listens on `listen`; with one, its
    words begin the command, and the socket is its business."""

    def __init__(self, *words, listen="0", launcher=(), pass_fds=()):
        options = [] if launcher else [f"--listen={listen}"]
        command = [*launcher, our_command("nbdstack-metrics"), *options, *map(str, words)]
        self._log = tempfile.NamedTemporaryFile(mode="r")
        with open(self._log.name, "w") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, pass_fds=pass_fds
            )
        try:
            data.wait_until(self._is_listening, 30, "nbdstack-metrics listening")
        except BaseException:
            self.stop()
            raise
        self.place = re.search(r"listening on (.*)", self.log())[1]

    def _is_listening(self):
        if self.process.poll() is not None:
            raise NbdkitError(f"nbdstack-metrics ended: {self.log()}")
        return "listening on" in self.log()

    def log(self):
        """What it printed so far."""
        with open(self._log.name) as log:
            return log.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def connection(self):
        """A connection that sends nothing yet."""
        if self.place.startswith("/"):
            return UnixConnection(self.place)
        return http.client.HTTPConnection(urllib.parse.urlsplit(self.place).netloc, timeout=30)

    def get(self, path="/metrics", method="GET", body=None):
        """The answer to one request."""
        connection = self.connection()
        try:
            connection.request(method, path, body=body)
            response = connection.getresponse()
            headers = {name.lower(): text for name, text in response.getheaders()}
            return Answer(response.status, headers, response.read().decode())
        finally:
            connection.close()

    def terminate(self):
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self.process.wait(30)

    def stop(self):
        """Ends it. Safe to call twice."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._log.close()
