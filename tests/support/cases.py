"""What the cases of known_failures.py share: the sides compared, outcomes, things to measure."""

import os
import pathlib
import tempfile
import time
from dataclasses import dataclass

import nbd

from support import data
from support.nbdkit import Nbdkit

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
BLOCK = 64 * KIB

CASES = {}  # letter -> function(side) -> Outcome; the docstring names the failure


@dataclass(frozen=True)
class Outcome:
    """What was measured, and whether it is right; None where there is nothing to judge."""

    figure: str
    ok: bool | None


class CannotRun(Exception):
    """The case needs something that this machine or user does not have."""


@dataclass(frozen=True)
class Side:
    """One of the systems compared: the peer's nbdkit with its own filters, or ours."""

    name: str
    binary: str
    is_ours: bool

    def nbdkit(self, *arguments, **options):
        """A server of this side."""
        return Nbdkit(*arguments, binary=self.binary, **options)


def case(letter):
    """Enters a function into CASES."""

    def enter(function):
        CASES[letter] = function
        return function

    return enter


class Scratch(tempfile.TemporaryDirectory):
    """A temporary directory as a pathlib.Path."""

    def __enter__(self):
        return pathlib.Path(super().__enter__())


def seconds(action):
    """How long `action` takes."""
    start = time.monotonic()
    action()
    return time.monotonic() - start


def pump(handle, condition, timeout_s):
    """Runs a handle's asynchronous requests until `condition` or the timeout; which it was."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        handle.poll(max(1, min(20, int(left * 1000))))
    return True


def parallel_reads(handle, offsets, count):
    """One read of `count` bytes at each offset, all in flight at once; waits for all."""
    buffers = [nbd.Buffer(count) for _ in offsets]
    cookies = {handle.aio_pread(b, offset) for b, offset in zip(buffers, offsets)}
    while cookies:
        cookies -= {cookie for cookie in cookies if handle.aio_command_completed(cookie)}
        if cookies:
            handle.poll(1000)


def wrong_blocks(found, expected):
    """How many BLOCKs of `found` differ from `expected`."""
    starts = range(0, len(expected), BLOCK)
    return sum(found[i : i + BLOCK] != expected[i : i + BLOCK] for i in starts)


def cache_bytes(server):
    """Disk space of all temporary files that a server holds open under its TMPDIR."""
    space = {}
    for link in pathlib.Path(f"/proc/{server.pid}/fd").iterdir():
        try:
            target, status = os.readlink(link), link.stat()
        except OSError:
            continue  # closed meanwhile
        if target.startswith(f"{server.directory}/") and not target.endswith("/log"):
            space[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(space.values())


def logged_requests(log, kind):
    """Offset and count of each request of a `kind` ("Read", "Cache") in a log filter's file."""
    found = []
    for line in pathlib.Path(log).read_text().splitlines():
        words = line.split()
        if kind in words and words[-1] == "...":
            fields = dict(word.split("=", 1) for word in words if "=" in word)
            if "count" in fields:
                found.append((int(fields["offset"], 0), int(fields["count"], 0)))
    return found


def wait_for_file(path):
    """Until an eval plugin's script says, by a file, that it is where the test wants it."""
    data.wait_until(path.exists, 30, f"{path.name}: the layer below was not called")


def slow_reads(scratch, fill="O"):
    """Arguments of a plugin of 1 MiB that reads as `fill`; a read touches scratch/started and
    waits until scratch/release exists. Zeros and writes succeed and are forgotten."""
    return [
        "eval", "thread_model=echo parallel", "get_size=echo 1M", "can_write=exit 0",
        f"pread=touch {scratch}/started; while [ ! -e {scratch}/release ]; do sleep 0.02; done; "
        f"head -c $3 /dev/zero | tr '\\0' {fill}",
        "pwrite=cat >/dev/null", "can_flush=exit 0", "flush=exit 0",
    ]  # fmt: skip
