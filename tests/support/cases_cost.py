"""Known failures that cost time or space. Each docstring names the failure.

Times are judged by order of magnitude, against what the layer below needs for the same requests one
after another.
"""

import threading
import time

import nbd

from support.cases import (
    BLOCK,
    KIB,
    MIB,
    TIB,
    Outcome,
    Scratch,
    cache_bytes,
    case,
    logged_requests,
    parallel_reads,
    pump,
    seconds,
    slow_reads,
    wait_for_file,
)
from support.nbdkit import NbdkitError


@case("D")
def lock_across_reads(side):
    """One lock held across plugin reads: 16 parallel cold reads over a 200 ms plugin"""
    with side.nbdkit("--filter=cache", "--filter=delay", "memory", "16M", "rdelay=200ms") as server:
        handle = server.connect()
        took = seconds(lambda: parallel_reads(handle, [i * MIB for i in range(16)], BLOCK))
    return Outcome(f"{took:.1f} s", took < 16 * 0.2 / 2)


@case("E")
def hit_waits_for_miss(side):
    """A hit waits for somebody else's miss: a cached block read during a 2 s cold read"""
    with Scratch() as scratch, side.nbdkit("--filter=cache", *slow_reads(scratch)) as server:
        missing, hitting = server.connect(), server.connect()
        hitting.pwrite(b"H" * BLOCK, 0)
        missing.aio_pread(nbd.Buffer(BLOCK), 8 * BLOCK)
        wait_for_file(scratch / "started")
        release = threading.Timer(2, (scratch / "release").touch)
        release.start()
        start = time.monotonic()
        buffer = nbd.Buffer(BLOCK)
        hit = hitting.aio_pread(buffer, 0)
        pump(hitting, lambda: hitting.aio_command_completed(hit), 30)
        took = time.monotonic() - start
        before = not (scratch / "release").exists()
        release.join()
        pump(missing, lambda: missing.aio_in_flight() == 0, 30)
        right = buffer.to_bytearray() == b"H" * BLOCK
    return Outcome(f"{took:.1f} s behind a 2 s read", before and right)


@case("F")
def block_by_block_below(side):
    """NBD_CMD_CACHE of 4 MiB goes down 64 KiB at a time, FLUSH one dirty block after the other
    (64 separate blocks), over a 50 ms plugin"""
    with Scratch() as scratch:
        log = scratch / "log"
        with side.nbdkit(
            "--filter=cache", "--filter=log", "--filter=delay", "memory", "64M", f"logfile={log}",
            "rdelay=50ms", "wdelay=50ms",
        ) as server:  # fmt: skip
            handle = server.connect()
            cache_s = seconds(lambda: handle.cache(4 * MIB, 32 * MIB))
            requests = len(logged_requests(log, "Read"))
            handle.pread(4 * MIB, 32 * MIB)
            reads_again = len(logged_requests(log, "Read")) > requests
            for i in range(64):
                handle.pwrite(b"D" * BLOCK, 2 * i * BLOCK)
            flush_s = seconds(handle.flush)
            written = sum(count for _, count in logged_requests(log, "Write"))
    quick = max(cache_s, flush_s) < 64 * 0.05 / 2
    return Outcome(
        f"CACHE {cache_s:.1f} s in {requests} requests{' and nothing cached' * reads_again}; "
        f"FLUSH {flush_s:.1f} s",
        quick and not reads_again and written >= 64 * BLOCK,
    )


@case("H")
def size_is_no_bound(side):
    """cache-max-size=16M is no bound: 512 MiB read in requests of 32 MiB with cache-on-read"""
    limit, request = 16 * MIB, 32 * MIB
    with side.nbdkit(
        "--filter=cache", "pattern", "512M", "cache-on-read=true", "cache-max-size=16M"
    ) as server:
        handle, most = server.connect(), 0
        for offset in range(0, 512 * MIB, request):
            handle.pread(request, offset)
            most = max(most, cache_bytes(server))
    # One request in flight may come on top; a filter that caches nothing proves nothing.
    return Outcome(f"grew to {most // MIB} MiB", 0 < most <= limit + request)


@case("N")
def zeros_and_large_disks(side):
    """Zeros are stored; a FLUSH with nothing dirty scans all of 4 TiB; 64 TiB do not start"""
    with side.nbdkit("--filter=cache", "memory", "1G") as server:
        handle = server.connect()
        for offset in range(0, 512 * MIB, 32 * MIB):
            handle.zero(32 * MIB, offset)
        stored = cache_bytes(server)
    with side.nbdkit("--filter=cache", "memory", "4T", "cache-min-block-size=4K") as server:
        flush_s = seconds(server.connect().flush)
    large = _write_at_the_end_of_64_tib(side)
    return Outcome(
        f"512 MiB of zeros take {stored // MIB} MiB; empty FLUSH {flush_s:.2f} s; 64 TiB: {large}",
        stored < 512 * MIB // 10 and flush_s < 0.5 and large == "works",
    )


def _write_at_the_end_of_64_tib(side):
    """"works", or the reason why not."""
    content, last = b"Z" * (4 * KIB), 64 * TIB - 4 * KIB
    try:
        with side.nbdkit("--filter=cache", "memory", "64T") as server:
            try:
                handle = server.connect()
                handle.pwrite(content, last)
                return "works" if handle.pread(len(content), last) == content else "wrong data"
            except nbd.Error as error:
                return _reason(f"{error}\n{server.log()}")
    except NbdkitError as error:
        return _reason(str(error))


def _reason(text):
    """The last line of a log that names an error, or the last line."""
    lines = [line for line in text.splitlines() if "error:" in line]
    return (lines or text.splitlines())[-1].rpartition("error: ")[2]
