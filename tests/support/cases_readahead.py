"""Known failures of nbdkit's readahead and cacheextents filters: each docstring names one."""

import time

import nbd

from support import data
from support.cases import (
    BLOCK,
    MIB,
    Outcome,
    Scratch,
    case,
    logged_requests,
    parallel_reads,
    seconds,
)


@case("I")
def failing_prefetch_crashes(side):
    """A prefetch that fails crashes the server (nbdkit's readahead over the cache filter)"""
    with Scratch() as scratch:
        log, fail = scratch / "log", scratch / "fail"
        with side.nbdkit(
            "--filter=readahead", "--filter=log", "--filter=cache", "--filter=error", "memory",
            "64M", f"logfile={log}", "error-pread=EIO", "error-pread-rate=100%",
            f"error-file={fail}",
        ) as server:  # fmt: skip
            handle = server.connect()
            for i in range(16):
                handle.pread(BLOCK, i * BLOCK)
            before = len(logged_requests(log, "Cache"))
            fail.touch()
            try:
                # Past what is prefetched by now; the failing read itself starts the prefetch.
                for i in range(16, 256):
                    handle.pread(BLOCK, i * BLOCK)
            except nbd.Error:
                pass
            data.wait_until(
                lambda: server.returncode is not None
                or log.read_text().count("...Cache") >= len(logged_requests(log, "Cache")) > before,
                30, "a prefetch while reads fail",
            )  # fmt: skip
            time.sleep(0.5)  # a crash may be on its way
            if server.returncode is not None:
                return Outcome(f"server ended by signal {-server.returncode}", False)
            fail.unlink()
            server.connect().pread(BLOCK, 32 * MIB)
    return Outcome("server serves on", True)


@case("J")
def readahead_gains_nothing(side):
    """readahead over the cache filter gains nothing: 128 sequential reads of 64 KiB over a 20 ms
    plugin, without and with it; and reads at depth 16, of the plugin alone and through both"""

    def read_s(count, depth, *filters):
        with side.nbdkit(*filters, "--filter=delay", "memory", "64M", "rdelay=20ms") as server:
            handle = server.connect()
            offsets = [i * BLOCK for i in range(count)]
            batches = [offsets[i : i + depth] for i in range(0, count, depth)]
            return seconds(lambda: [parallel_reads(handle, batch, BLOCK) for batch in batches])

    stack = ["--filter=readahead", "--filter=cache"]
    without, both = read_s(128, 1, "--filter=cache"), read_s(128, 1, *stack)
    mib = 256 * BLOCK / MIB
    plain, stacked = mib / read_s(256, 16), mib / read_s(256, 16, *stack)
    figure = (
        f"{without:.1f} s without, {both:.1f} s with; depth 16: {plain:.0f} MiB/s becomes "
        f"{stacked:.1f}"
    )
    gains, keeps_pace = both < 0.7 * without, stacked > plain / 2
    return Outcome(figure, gains and keeps_pace)


@case("O")
def extents_of_another_export(side):
    """cacheextents remembers one reply for the process: an export is told another one's holes"""
    known = ["cacheextents-exports=each"] if side.is_ours else []
    with side.nbdkit(
        "--filter=cacheextents", "eval", *known, "open=echo $3", "get_size=echo 1M",
        "pread=head -c $3 /dev/zero | tr '\\0' $2", "can_extents=exit 0",
        'extents=if [ "$2" = a ]; then echo "$4 $3 hole,zero"; else echo "$4 $3"; fi',
    ) as server:  # fmt: skip
        holes = {}
        for export in ("a", "b"):
            handle = server.connect(export)
            reply = []
            handle.block_status(MIB, 0, lambda _, offset, entries, err: reply.extend(entries))
            holes[export] = sum(n for n, flags in zip(reply[::2], reply[1::2]) if flags & 1)
    return Outcome(f"{holes['b'] // 1024} of 1024 KiB of data reported as a hole", not holes["b"])


@case("P")
def streams_reset_each_other(side):
    """One readahead window for all clients: two interleaved streams of 256 KiB, read 4 KiB at a
    time, reset each other"""
    windows, requests = {}, {}
    for streams in (1, 2):
        with Scratch() as scratch:
            log = scratch / "log"
            with side.nbdkit(
                "--filter=readahead", "--filter=log", "memory", "1G", f"logfile={log}"
            ) as server:
                handles = [server.connect() for _ in range(streams)]
                for i in range(64):
                    for number, handle in enumerate(handles):
                        handle.pread(4096, number * 512 * MIB + i * 4096)
                data.wait_until(lambda: logged_requests(log, "Cache"), 30, "a prefetch")
            asked = logged_requests(log, "Cache")
            windows[streams] = max(count for _, count in asked) // 1024
            requests[streams] = len(asked) // streams
    figure = (
        f"largest window {windows[1]} KiB for one stream, {windows[2]} KiB for two in turn; "
        f"{requests[1]} and {requests[2]} requests to prefetch for each"
    )
    # Windows that are worth something, also where two readers take turns, and not one a read.
    return Outcome(figure, min(windows.values()) >= 128 and max(requests.values()) < 64 / 2)
