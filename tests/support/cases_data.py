"""Known failures that lose data or invent it. Each docstring names the failure."""

import os
import subprocess

import nbd

from support import data
from support.cases import (
    BLOCK,
    KIB,
    MIB,
    CannotRun,
    Outcome,
    Scratch,
    case,
    pump,
    slow_reads,
    wait_for_file,
    wrong_blocks,
)
from support.small_file_system import CannotMount, in_small_file_system


@case("A")
def dirty_blocks_dropped(side):
    """cache-max-size in writeback mode drops dirty blocks: 64 MiB written through 4 MiB, FLUSH"""
    size = 64 * MIB
    written = data.tagged(1, 0, size)
    blocks = size // BLOCK
    lost = {}
    for mode in ("writeback", "unsafe"):
        with Scratch() as scratch:
            disk = scratch / "disk"
            disk.touch()
            os.truncate(disk, size)
            with side.nbdkit(
                "--filter=cache", "file", disk, f"cache={mode}", "cache-max-size=4M",
                "cache-min-block-size=64K",
            ) as server:  # fmt: skip
                handle = server.connect()
                for offset in range(0, size, MIB):
                    handle.pwrite(written[offset : offset + MIB], offset)
                handle.flush()
                if mode == "writeback":  # what FLUSH promised: stored below
                    found = disk.read_bytes()
                else:  # unsafe promises only that the client sees its own writes
                    found = b"".join(handle.pread(MIB, i) for i in range(0, size, MIB))
            lost[mode] = wrong_blocks(found, written)
    return Outcome(
        f"{lost['writeback']} of {blocks} blocks lost; unsafe: {lost['unsafe']}",
        not any(lost.values()),
    )


@case("B")
def dirty_data_reported_as_hole(side):
    """Extents come from the plugin alone: nbdcopy skips data that only the cache has"""
    size = 64 * KIB
    with Scratch() as scratch, side.nbdkit("--filter=cache", "memory", "1M") as server:
        handle = server.connect()
        handle.pwrite(b"D" * size, 0)
        copy = scratch / "copy"
        subprocess.run(["nbdcopy", server.uri(), copy], check=True, capture_output=True)
        copied = copy.read_bytes().count(b"D")
    return Outcome(f"nbdcopy copied {copied} of {size} written bytes", copied == size)


@case("C")
def exports_share_a_cache(side):
    """One cache for all exports of a server: export b is answered with a's bytes"""
    known = ["cache-exports=each"] if side.is_ours else []
    with side.nbdkit(
        "--filter=cache", "eval", "cache-on-read=true", "open=echo $3", "get_size=echo 1M",
        "pread=head -c $3 /dev/zero | tr '\\0' $2", "thread_model=echo parallel", *known,
    ) as server:  # fmt: skip
        for_a = server.connect("a").pread(BLOCK, 0)
        for_b = server.connect("b").pread(BLOCK, 0)
    if for_a.count(b"a") != BLOCK:
        return Outcome(f"export a itself returned {bytes(for_a[:8])!r}", False)
    leaked = for_b.count(b"a")
    return Outcome(f"export b returned {leaked} of {BLOCK} bytes of a's", not leaked)


@case("G")
def failed_write_stays_readable(side):
    """A writethrough or FUA write of a cached block that fails below stays in the cache, clean:
    later reads return data that is stored nowhere, even after a FLUSH that succeeds"""
    figures, wrong = [], 0
    for mode, flags in (("writethrough", 0), ("writeback", nbd.CMD_FLAG_FUA)):
        with Scratch() as scratch:
            disk, fail = scratch / "disk", scratch / "fail"
            disk.write_bytes(bytes(MIB))
            with side.nbdkit(
                "--filter=cache", "--filter=error", "file", disk, f"cache={mode}",
                "error-pwrite=EIO", "error-pwrite-rate=100%", f"error-file={fail}",
            ) as server:  # fmt: skip
                handle = server.connect()
                handle.pwrite(b"O" * BLOCK, 0, flags)  # now cached, clean
                fail.touch()
                refused = False
                try:
                    handle.pwrite(b"N" * BLOCK, 0, flags)
                except nbd.Error:
                    refused = True
                fail.unlink()
                handle.flush()
                seen, stored = handle.pread(BLOCK, 0), disk.read_bytes()[:BLOCK]
        phantom = sum(a != b for a, b in zip(seen, stored))
        wrong += phantom + (not refused)
        label = "FUA" if flags else mode
        figures.append(f"{label}: {phantom} phantom bytes" + ("" if refused else ", no error"))
    return Outcome("; ".join(figures), not wrong)


@case("K")
def fill_overwrites_write(side):
    """An acknowledged write during a slow cold read of its block is overwritten by the read's fill
    (in nbdkit: cow-on-read of the cow filter)"""
    filters = ["--filter=cache", "cache-on-read=true"]
    if not side.is_ours:
        filters = ["--filter=cow", "cow-on-read=true"]
    with Scratch() as scratch, side.nbdkit(filters[0], *slow_reads(scratch), filters[1]) as server:
        reader, writer = server.connect(), server.connect()
        reader.aio_pread(nbd.Buffer(BLOCK), 0)
        wait_for_file(scratch / "started")
        write = writer.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(b"N" * BLOCK)), 0)

        def acknowledged():
            return writer.aio_command_completed(write)

        # Whether the write is done before the read is the filter's choice: both are right.
        early = pump(writer, acknowledged, 1)
        (scratch / "release").touch()
        if not (early or pump(writer, acknowledged, 30)):
            return Outcome("the write was never answered", False)
        if not pump(reader, lambda: reader.aio_in_flight() == 0, 30):
            return Outcome("the read was never answered", False)
        kept = writer.pread(BLOCK, 0).count(b"N")
    figure = "write kept" if kept == BLOCK else f"write lost: {BLOCK - kept} bytes"
    return Outcome(figure, kept == BLOCK)


@case("L")
def no_flush_over_plugin_without(side):
    """Over a plugin without flush, flush is not offered, and written data never reaches it"""
    with Scratch() as scratch:
        disk = scratch / "disk"
        disk.write_bytes(bytes(MIB))
        with side.nbdkit(
            "--filter=cache", "eval", "get_size=echo 1M", "can_write=exit 0",
            f"pread=dd if={disk} iflag=skip_bytes,count_bytes skip=$4 count=$3 bs=64K status=none",
            f"pwrite=dd of={disk} oflag=seek_bytes seek=$4 bs=64K conv=notrunc iflag=fullblock "
            "status=none",
        ) as server:  # fmt: skip
            handle = server.connect()
            handle.pwrite(b"N" * BLOCK, 0)
            offered = handle.can_flush()
            if offered:
                handle.flush()
            after_flush = disk.read_bytes().count(b"N")
            server.terminate()
        missing = BLOCK - disk.read_bytes().count(b"N")
    offer = f"flush offered, {after_flush} bytes stored by it" if offered else "flush not offered"
    return Outcome(
        f"{offer}; {missing} of {BLOCK} bytes never stored",
        offered and after_flush == BLOCK and not missing,
    )


@case("M")
def full_cache_disk(side):
    """The cache file's disk is full: the client's reads fail with ENOSPC"""
    calls = range(16 * MIB // BLOCK)
    with Scratch() as scratch:
        try:
            mount = in_small_file_system(scratch, "2M")
        except CannotMount as error:
            raise CannotRun(str(error)) from None
        with side.nbdkit(
            "--filter=cache", "memory", "32M", "cache-on-read=true", launcher=mount, tmpdir=scratch
        ) as server:
            handle = server.connect()
            content = data.tagged(1, 0, BLOCK)
            read = [_errno(lambda i=i: handle.pread(BLOCK, i * BLOCK), bytes(BLOCK)) for i in calls]
            write = [_errno(lambda i=i: handle.pwrite(content, i * BLOCK)) for i in calls]
            flush = _errno(handle.flush)
            again = [_errno(lambda i=i: handle.pread(BLOCK, i * BLOCK), content) for i in calls]
    codes_of = {"reads": read, "writes": write, "flushes": [flush], "reads after": again}
    parts = [
        f"{len(codes) - codes.count(None)} of {len(codes)} {what} failed"
        + "".join(f" ({name})" for name in sorted({code for code in codes if code}))
        for what, codes in codes_of.items()
    ]
    return Outcome("; ".join(parts), all(set(codes) == {None} for codes in codes_of.values()))


def _errno(action, expected=None):
    """The name of the error that `action` ends with, or None. Other bytes than expected are one."""
    try:
        found = action()
    except nbd.Error as error:
        return error.errno
    return "wrong data" if expected is not None and found != expected else None
