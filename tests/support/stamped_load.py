"""Writes from several connections to sectors of their own, that go on while a server does not
answer: for servers that are stopped, cut off, or told that somebody else writes now.

    load = StampedLoad(server, SectorModel(sectors), sectors, first_sequence=1, seed=7)
    run_for([load], 2)
    finish(load)
    load.outcomes                 # what became of each write

Each sector carries its number and the sequence of the request that wrote it (sectors.py). A
connection writes to stripes of its own, and a stripe has one request in flight.
"""

import random
import time

import nbd

from support.sectors import SECTOR_BYTES, stamped

STRIPE_SECTORS = 128
STALL_S = 60


class StampedLoad:
    """The load on one server. `model` is a SectorModel that is told of everything; None for a load
    that must leave no trace."""

    def __init__(self, server, model, sectors, first_sequence, seed, connections=4, depth=4):
        self.model, self.sequence = model, first_sequence
        self.is_sending = True
        self.acknowledged = 0
        self.pending = {}  # (connection, cookie) -> (sequence, first, count, buffer)
        self.outcomes = []  # (sequence, first, count, name of the error or None)
        self._rng, self._depth = random.Random(seed), depth
        self._stripes = sectors // STRIPE_SECTORS
        self._busy = set()
        self._handles = [server.connect() for _ in range(connections)]

    def pump(self):
        """Sends what there is room for, and takes in what has been answered. Does not wait."""
        for index, handle in enumerate(self._handles):
            if self.is_sending:
                in_flight = sum(1 for at, _ in self.pending if at == index)
                for _ in range(self._depth - in_flight):
                    self._send(index, handle)
            handle.poll(0)
            while self.pending and (cookie := _completed(handle)) > 0:
                self._take_answer(index, handle, cookie)

    def _send(self, index, handle):
        stripe = self._rng.randrange(self._stripes // len(self._handles))
        stripe = stripe * len(self._handles) + index
        if stripe in self._busy:
            return
        self._busy.add(stripe)
        count = self._rng.choice([1, 8, 37, STRIPE_SECTORS])
        first = stripe * STRIPE_SECTORS + self._rng.randrange(STRIPE_SECTORS - count + 1)
        self.sequence += 1
        buffer = nbd.Buffer.from_bytearray(bytearray(stamped(first, count, self.sequence)))
        if self.model:
            self.model.sent(self.sequence, "write", first, count)
        cookie = handle.aio_pwrite(buffer, first * SECTOR_BYTES)
        self.pending[index, cookie] = (self.sequence, first, count, buffer)

    def _take_answer(self, index, handle, cookie):
        sequence, first, count, _ = self.pending.pop((index, cookie))
        self._busy.discard(first // STRIPE_SECTORS)
        failure = None
        try:
            handle.aio_command_completed(cookie)
            self.acknowledged += 1
        except nbd.Error as error:
            failure = error.errno
        self.outcomes.append((sequence, first, count, failure))
        if self.model and failure is None:
            # What the plugin acknowledges is stored.
            self.model.succeeded(sequence, first, count, fua=True)
        elif self.model:
            self.model.failed(first, count)


def run_all(loads, is_over):
    """Lets all of them work until `is_over()`."""
    deadline = time.monotonic() + STALL_S
    while not is_over():
        for load in loads:
            load.pump()
        if time.monotonic() > deadline:
            in_flight = [len(load.pending) for load in loads]
            raise TimeoutError(f"not within {STALL_S} s; in flight: {in_flight}")
        time.sleep(0.001)


def run_for(loads, seconds):
    """Lets all of them work for a while."""
    end = time.monotonic() + seconds
    run_all(loads, lambda: time.monotonic() > end)


def finish(load):
    """Sends no more, and waits for all answers."""
    load.is_sending = False
    run_all([load], lambda: not load.pending)


def _completed(handle):
    """The cookie of an answered request, or 0."""
    try:
        return handle.aio_peek_command_completed()
    except nbd.Error:
        return 0  # nothing in flight
