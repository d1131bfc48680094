"""A volume at the other end of a slow line, written from one end to the other and read again, in a
network namespace of its own: what test_slow_lines.py and bench/slow-lines start.

    python3 -m e2e.slow_line_load '{"rate_mbit_s": 1, "round_trip_ms": 200, "write_mib": 4}'

Prints one line of JSON, the last of its output: see main().
"""

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time

import nbd

from servers.memory_s3 import MemoryS3, StoredObject
from servers.slow_line import SlowLine
from support import data
from support.nbdkit import Nbdkit

MIB = 1 << 20
READS_AT_A_TIME = 16


class Rival:
    """Another flow through the line, from this end to the other, as fast as TCP lets it be."""

    def __init__(self, line):
        self.carried_bytes = 0
        self._sockets = []
        listener = socket.create_server((line.server_address, 0))
        self._sockets.append(socket.create_connection((line.far_address, listener.getsockname()[1])))
        self._sockets.append(listener.accept()[0])
        for work in (self._send, self._receive):
            threading.Thread(target=work, daemon=True).start()

    def _send(self):
        with contextlib.suppress(OSError):
            while True:
                self._sockets[0].sendall(bytes(16384))

    def _receive(self):
        with contextlib.suppress(OSError):
            while received := len(self._sockets[1].recv(65536)):
                self.carried_bytes += received

    def stop(self):
        """Ends it at once."""
        for each in self._sockets:
            each.shutdown(socket.SHUT_RDWR)


class LeaseWatch:
    """When the lease's object was replaced, as the service sees it."""

    def __init__(self, s3):
        self._s3, self._stopped, self._seen = s3, threading.Event(), []
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        last = None
        while not self._stopped.wait(0.1):
            with self._s3.lock:
                found = self._s3.buckets["disk"].get("nbdstack-lease.json")
            if found and found.body != last:
                last = found.body
                self._seen.append(time.monotonic())

    def stop(self):
        """(how often it was renewed, the longest time between two in seconds)"""
        self._stopped.set()
        times = [*self._seen, time.monotonic()]
        gaps = [after - before for before, after in zip(times, times[1:])]
        return len(self._seen) - 1, max(gaps)


def write(handle, content):
    """All of it and a flush: how long that took, and what failed."""
    begin = time.monotonic()
    errors = []
    for offset in range(0, len(content), MIB):
        handle.pwrite(content[offset : offset + MIB], offset)
    try:
        handle.flush()
    except nbd.Error as error:
        errors.append(str(error))
    return time.monotonic() - begin, errors


def read(handle, count):
    """All of it, many reads at a time: the bytes, how long that took, and what failed."""
    begin = time.monotonic()
    buffers = {offset: nbd.Buffer(MIB) for offset in range(0, count, MIB)}
    errors = []

    def done(offset, error):
        if error.value:
            errors.append(f"read at {offset}: errno {error.value}")
        return 1

    for offset, buffer in buffers.items():
        while handle.aio_in_flight() >= READS_AT_A_TIME:
            handle.poll(-1)
        handle.aio_pread(buffer, offset, completion=lambda error, o=offset: done(o, error))
    while handle.aio_in_flight():
        handle.poll(-1)
    took_s = time.monotonic() - begin  # before the copies
    return b"".join(bytes(each.to_bytearray()) for each in buffers.values()), took_s, errors


def bare(kind, mib, line, s3):
    """How long sixteen connections of libcurl alone take for as many objects."""
    if kind == "get":
        with s3.lock:
            for number in range(mib):
                s3.buckets["disk"][str(number)] = StoredObject(bytes(MIB))
    begin = time.monotonic()
    url = f"http://{line.far_address}:{s3.port}/disk"
    words = [kind, url, mib, MIB, mib, READS_AT_A_TIME]
    subprocess.run([os.environ["NBDSTACK_BARE_LOOP"], *map(str, words)], check=True)
    return time.monotonic() - begin


def main_bare(wanted):
    """The same for main()'s `bare`, which is no test but a measure of one."""
    mib = wanted.get("write_mib", 0) + wanted.get("read_mib", 0)
    line = SlowLine(wanted["rate_mbit_s"] * 1e6, wanted["round_trip_ms"] / 1e3)
    with line, MemoryS3({"disk": {}}, address=line.server_address) as s3:
        share = mib * MIB / bare(wanted["bare"], mib, line, s3) / line.data_bytes_s()
    what = "write_share" if wanted["bare"] == "put" else "read_share"
    return {what: share, "errors": [], "is_whole": True, "log": "", "longest_gap_s": 0}


def main(wanted):
    """
    wanted    rate_mbit_s, round_trip_ms; queue_s; write_mib; read_mib; rival (true: another flow
              shares the line); congestion (TCP's algorithm: cubic, Linux's default); parameters (of the
              plugin)
    bare      put or get: as many objects by libcurl alone, with nothing else of what is above but the
              line (the program is $NBDSTACK_BARE_LOOP)
    printed   write_share, read_share: of what the line carries in full packets (with a rival, of
              the half of that); rival_share; errors; is_whole: what was written is what the service
              has and what is read; renewals, longest_gap_s: of the lease; log
    """
    line = SlowLine(
        wanted["rate_mbit_s"] * 1e6, wanted["round_trip_ms"] / 1e3, wanted.get("queue_s", 0.4),
        wanted.get("congestion", "cubic"),
    )  # fmt: skip
    result = {"errors": [], "is_whole": True}
    size = max(wanted.get("write_mib", 0), wanted.get("read_mib", 0)) * MIB
    chance = random.Random(1)
    content = b"".join(chance.randbytes(MIB) for _ in range(size // MIB))
    with line, MemoryS3({"disk": {}}, address=line.server_address) as s3:
        parameters = s3.parameters("disk") | wanted.get("parameters", {})
        near = [f"{name}={value}" for name, value in parameters.items()]
        far = [*near, f"endpoint-url=http://{line.far_address}:{s3.port}", f"size={size}"]
        if wanted.get("read_mib"):
            with Nbdkit("s3", *near, f"size={size}") as server:
                write(server.connect(), content)
        if wanted.get("write_mib"):
            filters = ["--filter=cache", "s3", f"cache-max-size={2 * size}"]
        else:
            filters = ["s3"]
        rival = Rival(line) if wanted.get("rival") else None
        with Nbdkit(*filters, *far, start_timeout_s=120) as server:
            handle = server.connect()
            watch = LeaseWatch(s3)
            share = line.data_bytes_s() / (2 if rival else 1)
            before, begin = rival and rival.carried_bytes, time.monotonic()
            if wanted.get("write_mib"):
                took_s, result["errors"] = write(handle, content)
                result["write_share"] = size / took_s / share
            if wanted.get("read_mib"):
                seen, took_s, errors = read(handle, size)
                result["errors"] += errors
                result["read_share"] = size / took_s / share
                result["is_whole"] = seen == content
            if rival:
                carried = rival.carried_bytes - before
                result["rival_share"] = carried / (time.monotonic() - begin) / share
                rival.stop()
            result["renewals"], result["longest_gap_s"] = watch.stop()
            result["log"] = server.log()
            server.kill()
        if wanted.get("write_mib"):
            with Nbdkit("s3", *near, "readonly=true") as server:
                handle = server.connect()
                result["is_whole"] &= data.sha256(content) == data.export_sha256(handle)
    result["lost"] = line.lost
    print(json.dumps(result))


if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    if "bare" in arguments:
        print(json.dumps(main_bare(arguments)))
    else:
        main(arguments)
