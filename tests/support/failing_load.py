"""Random requests of which any may fail, judged sector by sector.

    load = FailingLoad(SectorModel(sectors), seed=7, block_sectors=32)
    load.run(server.connect, threads=8, requests=400)
    load.failures                                  # [(what, errno)]
    load.model.check_stored(handle.pread(...))

Every change that was acknowledged must be there afterwards, one that failed may be, each sector for
itself: old or new, and nothing else. Requests that touch a common sector are not in flight
together, unless both read. Made for a disk whose acknowledged changes are stored.
"""

import random
import threading
import time

import nbd

from support.sectors import SECTOR_BYTES, random_range, stamped

MIX = {"write": 45, "read": 35, "zero": 10, "trim": 10}


class FailingLoad:
    """Threads with a connection each, over one model."""

    def __init__(self, model, seed, block_sectors, most_sectors=None):
        self.model = model
        self.failures = []  # (request, name of the error) of the last run
        self.answered = 0
        self.longest_s = 0.0  # of all runs
        self._seed, self._sequence = seed, 0
        self._block_sectors, self._most = block_sectors, most_sectors or 3 * block_sectors
        self._lock = threading.Lock()  # for all of the above and below
        self._reading = set()  # (first, count, thread)
        self._wrong = None

    def run(self, connect, threads, requests):
        """Sends so many requests in all. Raises what is wrong with an answer."""
        self.failures, numbers = [], iter(range(requests))
        workers = [
            threading.Thread(target=self._work, args=(connect(), numbers)) for _ in range(threads)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if self._wrong:
            raise self._wrong

    def _work(self, handle, numbers):
        try:
            while self._wrong is None:
                with self._lock:
                    if next(numbers, None) is None:
                        return
                    request = self._begin()
                start = time.monotonic()
                content, failure = self._send(handle, *request)
                with self._lock:
                    self.longest_s = max(self.longest_s, time.monotonic() - start)
                    self._finish(*request, content, failure)
        except BaseException as error:
            self._wrong = self._wrong or error

    def _begin(self):
        """(kind, sequence, first, count) of a request that collides with no other."""
        self._sequence += 1
        rng = random.Random(f"{self._seed} {self._sequence}")
        kind = rng.choices(list(MIX), list(MIX.values()))[0]
        while True:
            first, count = random_range(rng, len(self.model), self._most, self._block_sectors)
            if not self.model.is_changing(first, count) and not (
                kind != "read" and self._is_read(first, count)
            ):
                break
        if kind == "read":
            self._reading.add((first, count, self._sequence))
        else:
            self.model.sent(self._sequence, kind, first, count)
        return kind, self._sequence, first, count

    def _is_read(self, first, count):
        return any(at < first + count and first < at + n for at, n, _ in self._reading)

    @staticmethod
    def _send(handle, kind, sequence, first, count):
        """(what was read, the error's name or None)."""
        offset, size = first * SECTOR_BYTES, count * SECTOR_BYTES
        try:
            if kind == "read":
                return handle.pread(size, offset), None
            if kind == "write":
                handle.pwrite(stamped(first, count, sequence), offset)
            elif kind == "zero":
                handle.zero(size, offset)
            else:
                handle.trim(size, offset)
        except nbd.Error as error:
            return None, error.errno
        return None, None

    def _finish(self, kind, sequence, first, count, content, failure):
        self.answered += 1
        if failure:
            self.failures.append((f"{kind} of {count} sectors at {first}", failure))
        if kind == "read":
            self._reading.remove((first, count, sequence))
            if not failure:
                self.model.check_read(first, content)
        elif failure:
            self.model.failed(first, count)
        else:
            self.model.succeeded(sequence, first, count, fua=True)
