"""Starts several servers at the same moment: each is a shell that waits at a pipe, and all of them
go when the last writer has closed it.

    servers, refusals = race([words, words])
"""

import contextlib
import os
import pathlib
import tempfile

from support import data
from support.nbdkit import Nbdkit, NbdkitError

# Opens the pipe, says that it is ready, waits for the end of the pipe, and becomes the server.
_WAIT = 'exec 9<"$0"; : >"$1"; read -r _ <&9; exec 9<&-; shift; exec "$@"'
_READY_S = 30


class _StartLine:
    def __init__(self, directory, count):
        self._pipe = directory / "pipe"
        os.mkfifo(self._pipe)
        self._ready = [directory / f"ready-{number}" for number in range(count)]
        # For reading and writing: opening waits for nobody, and nobody sees the end yet.
        self._held = os.open(self._pipe, os.O_RDWR)

    def launcher(self, number):
        """Words before a command that hold it back."""
        return ["/bin/sh", "-c", _WAIT, str(self._pipe), str(self._ready[number])]

    def start(self):
        """Lets all go, when all are there."""
        try:
            data.wait_until(self._all_are_ready, _READY_S, "all at the start")
        finally:
            os.close(self._held)

    def _all_are_ready(self):
        return all(path.exists() for path in self._ready)


class _Contender(Nbdkit):
    """A server that is started without waiting for it."""

    def _wait_until_listening(self, command, timeout_s):
        self._started = (command, timeout_s)

    def wait_until_listening(self):
        """What the constructor does otherwise; NbdkitError with what it printed if it ended."""
        super()._wait_until_listening(*self._started)


def race(commands, **settings):
    """Starts nbdkit with each of these argument lists, all at once. The servers that serve, and
    what those printed that do not. They end with the thread that calls this: nbdkit wants so."""
    servers, refusals = [], []
    with tempfile.TemporaryDirectory(prefix="race-") as directory, contextlib.ExitStack() as undo:
        line = _StartLine(pathlib.Path(directory), len(commands))
        contenders = []
        for number, words in enumerate(commands):
            contenders.append(_Contender(*words, launcher=line.launcher(number), **settings))
            undo.callback(contenders[-1].stop)
        line.start()
        for contender in contenders:
            try:
                contender.wait_until_listening()
                servers.append(contender)
            except NbdkitError as refusal:
                refusals.append(str(refusal))
                contender.stop()
        undo.pop_all()
    return servers, refusals
