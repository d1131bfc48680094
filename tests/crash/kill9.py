#!/usr/bin/python3
"""Kills a server with a cache at random moments, starts it again, and looks at every sector.

    tests/crash/kill9.py                      100 rounds of ours with cache-dir, build/nbdkit
    tests/crash/kill9.py --rounds 1000 --seed 7
    tests/crash/kill9.py --cache encrypted    ours with cache-dir and cache-encrypt
    tests/crash/kill9.py --cache temporary    ours without cache-dir: FLUSH must store below
    tests/crash/kill9.py --cache peer         nbdkit's own filter, bounded: shows that this can fail

A round starts the server over the cache directory and the disk of the round before, reads the whole
disk and asks the oracle (support/sectors.py) whether every sector is one it may be; then it sends
random writes, zeros, trims, flushes and reads, 16 in flight over two connections, until SIGKILL
ends the server. Some servers are killed while they start. The parameters (where FLUSH stores, the
bounds, the delay of the write-back) change from round to round, because a directory must serve
under all of them; every tenth round ends with a flush below instead, and looks at the disk itself.

What a round does is drawn from the seed and its number; when the server dies in it, by the clock.
Exit code 1 and a message with the seed when a sector is wrong.
"""

import argparse
import dataclasses
import os
import pathlib
import random
import re
import signal
import sys
import tempfile
import threading
import time

import nbd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import nbdkit  # noqa: E402
from support.sectors import (  # noqa: E402
    SECTOR_BYTES,
    SectorModel,
    WrongSector,
    random_range,
    stamped,
)

KIB, MIB = 1 << 10, 1 << 20
SIZE, BLOCK = 4 * MIB, 64 * KIB
IN_FLIGHT, CONNECTIONS = 8, 2
MIX = {"write": 60, "zero": 6, "trim": 4, "flush": 5, "read": 12}
FUA_SHARE = 0.05
STALL_S = 30
WITH_DIRECTORY = ("directory", "encrypted")
CACHES = (*WITH_DIRECTORY, "temporary", "peer")


class RoundFailed(AssertionError):
    """A wrong sector, or a server that failed a request or did not start; says how to repeat it."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a round does."""

    parameters: list  # of the server
    kill_after_s: float  # of traffic, or None: flush and look at the disk below
    kill_start_after_s: float  # None: let it start

    @classmethod
    def of_round(cls, rng, number, cache):
        """Drawn from `rng`; the server of rounds 10, 20, ... is not killed."""
        peaceful = number % 10 == 0
        flush = "below" if peaceful or rng.random() < 0.5 else "local"
        parameters = [f"cache-max-size={rng.choice(['1M', '2M', '64M'])}"]
        if cache in WITH_DIRECTORY:
            parameters += [f"cache-flush={flush}"]
        if cache != "peer":
            parameters += rng.choice(
                [[], ["cache-write-delay=20ms"], ["cache-max-dirty=512K"], ["cache-policy=s3fifo"]]
                if cache in WITH_DIRECTORY
                else [[]]
            )
        parameters += rng.choice([[], ["cache-on-read=true"]])
        # A slow layer below, so that what is flushed to the directory is not below a moment later.
        parameters += rng.choice([[], ["wdelay=20ms"], ["wdelay=300ms"]])
        # Most deaths soon after a start, when the fewest flushes have come.
        kill_after_s = None if peaceful else rng.choice([0.02, 0.1, 0.3]) * rng.random()
        # The start of an encrypted one is the making of its key, and little else.
        early = cache == "directory" and not peaceful and rng.random() < 0.15
        return cls(parameters, kill_after_s, 0.002 + 0.06 * rng.random() if early else None)


@dataclasses.dataclass
class Totals:
    """What all rounds together have seen."""

    killed: int = 0
    killed_at_start: int = 0
    answered: int = 0
    flushes: int = 0
    choice: int = 0
    newest: int = 0

    def __str__(self):
        return (
            f"{self.killed} servers killed, {self.killed_at_start} more while starting; "
            f"{self.answered} requests answered, {self.flushes} of them flushes; of {self.choice} "
            f"sectors that could be old or new, {self.newest} came back as the newest"
        )


class Traffic:
    """Random requests until the server is gone or the time is up."""

    def __init__(self, model, rng, handles, first_sequence, totals):
        self._model, self._rng, self._handles = model, rng, handles
        self.sequence, self._totals = first_sequence, totals
        self._pending = {}  # (handle index, cookie) -> (kind, sequence, first, count, fua, buffer)

    def run(self, is_over):
        """Sends and collects until `is_over()` or every connection is dead."""
        heard = time.monotonic()
        while not is_over():
            for index, handle in enumerate(self._handles):
                load = sum(1 for at, _ in self._pending if at == index)
                for _ in range(IN_FLIGHT - load):
                    self._send(index, handle)
            if self.collect():
                heard = time.monotonic()
            elif time.monotonic() - heard > STALL_S:
                raise RoundFailed(f"no answer for {STALL_S} s")
            if any(handle.aio_is_dead() or handle.aio_is_closed() for handle in self._handles):
                return

    def drain(self):
        """Waits for the answers to everything sent."""
        deadline = time.monotonic() + STALL_S
        while self._pending:
            self.collect()
            if time.monotonic() > deadline:
                raise RoundFailed(f"no answer for {STALL_S} s to {list(self._pending.values())}")

    def _send(self, index, handle):
        rng, model = self._rng, self._model
        kind = rng.choices(list(MIX), list(MIX.values()))[0]
        most = 2048 if kind in ("zero", "trim") else 256  # runs of blocks that need no storage
        first, count = random_range(rng, len(model), most, BLOCK // SECTOR_BYTES)
        if kind != "flush" and (model.is_changing(first, count) or self._is_read(first, count)):
            return
        self.sequence += 1
        fua = kind != "read" and kind != "flush" and rng.random() < FUA_SHARE
        flags, offset, size = fua * nbd.CMD_FLAG_FUA, first * SECTOR_BYTES, count * SECTOR_BYTES
        buffer, mark = None, model.flush_sent()
        try:
            if kind == "write":
                buffer = nbd.Buffer.from_bytearray(stamped(first, count, self.sequence))
                cookie = handle.aio_pwrite(buffer, offset, flags=flags)
            elif kind == "zero":
                cookie = handle.aio_zero(size, offset, flags=flags)
            elif kind == "trim":
                cookie = handle.aio_trim(size, offset, flags=flags)
            elif kind == "read":
                buffer = nbd.Buffer(size)
                cookie = handle.aio_pread(buffer, offset)
            else:
                cookie = handle.aio_flush()
        except nbd.Error:
            # The connection broke while it was being sent: perhaps it arrived.
            cookie = None
        if kind in ("write", "zero", "trim"):
            model.sent(self.sequence, kind, first, count)
        if cookie is not None:
            request = (kind, self.sequence, first, count, mark if kind == "flush" else fua, buffer)
            self._pending[index, cookie] = request

    def _is_read(self, first, count):
        """Whether any of these sectors is being read: its content would not be known."""
        return any(
            kind == "read" and at < first + count and first < at + length
            for kind, _, at, length, _, _ in self._pending.values()
        )

    def collect(self):
        """Waits a moment for answers and takes them in; whether there were any."""
        answers = 0
        for index, handle in enumerate(self._handles):
            try:
                handle.poll(1)
            except nbd.Error:
                pass  # the server is gone; what it answered before counts
            while (cookie := _completed(handle)) > 0:
                request = self._pending.pop((index, cookie))
                try:
                    handle.aio_command_completed(cookie)
                except nbd.Error as error:
                    if handle.aio_is_dead() or handle.aio_is_closed():
                        continue  # never answered
                    raise RoundFailed(f"{request[:5]} failed: {error.errno}") from None
                answers += 1
                self._answered(*request)
        return answers

    def _answered(self, kind, sequence, first, count, mark_or_fua, buffer):
        self._totals.answered += 1
        if kind == "flush":
            self._totals.flushes += 1
            self._model.flushed(mark_or_fua)
        elif kind == "read":
            self._model.check_read(first, buffer.to_bytearray())
        else:
            self._model.succeeded(sequence, first, count, mark_or_fua)


def _completed(handle):
    """The cookie of an answered request, or 0."""
    try:
        return handle.aio_peek_command_completed()
    except nbd.Error:
        return 0  # nothing in flight


class Harness:
    """The disk, the cache directory and the oracle over many rounds."""

    def __init__(self, folder, seed, cache="directory", binary=None):
        self._seed, self._cache, self._binary = seed, cache, binary
        self._disk, self._directory = folder / "disk", folder / "cache"
        self._disk.touch()
        os.truncate(self._disk, SIZE)
        if cache == "peer":
            self._binary = nbdkit.system_nbdkit()
        self._model, self._sequence = SectorModel(SIZE // SECTOR_BYTES), 0
        self._history = []  # the parameters of the rounds so far
        self.totals = Totals()

    def run(self, rounds):
        """That many rounds, numbered from 1. RoundFailed names the seed and the round."""
        for number in range(1, rounds + 1):
            rng = random.Random(f"{self._seed} {number}")
            plan = Plan.of_round(rng, number, self._cache)
            self._history.append(" ".join(plan.parameters))
            try:
                self._round(plan, rng)
            except (WrongSector, RoundFailed, nbdkit.NbdkitError, nbd.Error) as error:
                # What is wrong at the start of a round was done in the one before.
                before = f"; before it {self._history[-2]}" if number > 1 else ""
                raise RoundFailed(
                    f"seed {self._seed}, round {number}, {self._history[-1]}{before}: {error}"
                ) from None

    def _round(self, plan, rng):
        command = ["--filter=cache", "--filter=delay", "file", self._disk, *plan.parameters]
        if self._cache in WITH_DIRECTORY:
            command.append(f"cache-dir={self._directory}")
        if self._cache == "encrypted":
            command.append("cache-encrypt=secret")
        if plan.kill_start_after_s is not None:
            self._start_and_kill(command, plan.kill_start_after_s)
        with nbdkit.Nbdkit(*command, binary=self._binary) as server:
            try:
                handles = [server.connect(contexts=()) for _ in range(CONNECTIONS)]
                choice, newest = self._model.settle(_whole_disk(handles[0]))
                self.totals.choice += choice
                self.totals.newest += newest
                traffic = Traffic(self._model, rng, handles, self._sequence, self.totals)
                if plan.kill_after_s is None:
                    self._end_in_peace(traffic, handles[0])
                else:
                    self._end_by_death(traffic, server, plan.kill_after_s)
            except (WrongSector, RoundFailed, nbd.Error) as error:
                raise RoundFailed(f"{error}\n{server.log()}") from None
            finally:
                self._sequence += 1 << 20

    def _start_and_kill(self, command, after_s):
        # In the foreground: otherwise it ends before the server has, which still holds the lock.
        killer = ["timeout", "--foreground", "--signal=KILL", f"{after_s:.3f}"]
        try:
            with nbdkit.Nbdkit(*command, binary=self._binary, launcher=killer) as server:
                server.wait()
        except nbdkit.NbdkitError as error:
            if not re.match("nbdkit ended with (124|137):", str(error)):  # it refused to start
                raise
        self.totals.killed_at_start += 1

    def _end_by_death(self, traffic, server, after_s):
        killer = threading.Timer(after_s, os.kill, (server.pid, signal.SIGKILL))
        killer.start()
        try:
            traffic.run(is_over=lambda: False)
        finally:
            killer.join()
        if server.wait() != -signal.SIGKILL:
            raise RoundFailed("the server ended by itself")
        self.totals.killed += 1

    def _end_in_peace(self, traffic, handle):
        """Some traffic, a flush, and then the disk below must hold everything."""
        end = time.monotonic() + 0.1
        traffic.run(is_over=lambda: time.monotonic() > end)
        traffic.drain()
        mark = self._model.flush_sent()
        handle.flush()
        self._model.flushed(mark)
        self._model.check_stored(self._disk.read_bytes())


def _whole_disk(handle):
    return b"".join(bytes(handle.pread(MIB, offset)) for offset in range(0, SIZE, MIB))


def main():
    """The program."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--cache", choices=CACHES, default="directory")
    parser.add_argument("--nbdkit", help="ours; default: $NBDSTACK_NBDKIT or build/nbdkit")
    parser.add_argument("--peer", action="store_const", const="peer", dest="cache")
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.rounds} rounds, cache: {options.cache}", flush=True)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kill9-", dir="/var/tmp") as folder:
        harness = Harness(pathlib.Path(folder), options.seed, options.cache, options.nbdkit)
        try:
            harness.run(options.rounds)
        except RoundFailed as failure:
            print(f"FAILED: {failure}")
            return 1
        finally:
            print(f"{harness.totals}; {time.monotonic() - start:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
