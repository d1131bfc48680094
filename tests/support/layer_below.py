"""A layer below the cache that tests look into and interfere with: nbdkit's Python plugin, a file.

    below = LayerBelow(scratch / "below", 16 << 20)
    with Nbdkit("--filter=cache", *below.arguments) as server:
        below.fail("pwrite")
        ...
        below.heal("pwrite")
        below.requests("pwrite")

Requests are served in parallel, and each is noted before anything is done about it. The disk is the
file `disk`, whose content outlives the server however it ends. How the layer behaves is looked up
for each request, in files of its folder, so that a test switches it while the server runs.
"""

import os
import textwrap
import typing

from support import data

# Kinds of requests, by the names of nbdkit's callbacks.
KINDS = ("pread", "pwrite", "zero", "trim", "flush")

_PLUGIN = """
    import contextlib, ctypes, errno, os, threading, time
    import nbdkit

    API_VERSION = 2
    builtin_open = open
    PUNCH_HOLE_KEEP_SIZE, LONGEST_HOLD_S = 3, 20
    libc = ctypes.CDLL(None, use_errno=True)
    settings = {"folder": None, "preferred": "4096", "multi_conn": "1"}
    lock, in_flight = threading.Lock(), {}
    disk = log = None

    def config(key, value):
        if key not in settings:
            raise RuntimeError("unknown parameter '%s'" % key)
        settings[key] = value

    def config_complete():
        global disk, log
        disk = os.open(path("disk"), os.O_RDWR)
        log = os.open(path("requests"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def path(name): return os.path.join(settings["folder"], name)
    def thread_model(): return nbdkit.THREAD_MODEL_PARALLEL
    def open(readonly): return 1
    def get_size(h): return os.fstat(disk).st_size
    def export_description(h):
        if not os.path.exists(path("identity")):
            return ""
        with builtin_open(path("identity")) as identity:
            return identity.read()
    def block_size(h): return (1, int(settings["preferred"]), 0xffffffff)
    def can_multi_conn(h): return settings["multi_conn"] == "1"
    def can_fua(h): return nbdkit.FUA_NATIVE
    def can_fast_zero(h): return True

    @contextlib.contextmanager
    def request(kind, count=0, offset=0, flags=0):
        with lock:
            in_flight[kind] = in_flight.get(kind, 0) + 1
            os.write(log, b"%s %d %d %d %d %f\\n" % (kind.encode(), offset, count, flags,
                                                    in_flight[kind], time.monotonic()))
        try:
            if os.path.exists(path("delay-" + kind)):
                with builtin_open(path("delay-" + kind)) as delay:
                    time.sleep(float(delay.read()))
            end = time.monotonic() + LONGEST_HOLD_S
            while os.path.exists(path("hold-" + kind)):
                if time.monotonic() > end:
                    refuse(errno.EIO, "the test has not called release()")
                time.sleep(0.005)
            if os.path.exists(path("fail-" + kind)):
                refuse(errno.EIO, "the test says no")
            yield
        finally:
            with lock:
                in_flight[kind] -= 1

    def refuse(code, why):
        nbdkit.set_error(code)
        raise RuntimeError(why)

    def pread(h, buffer, offset, flags):
        with request("pread", len(buffer), offset, flags):
            os.preadv(disk, [buffer], offset)

    def pwrite(h, buffer, offset, flags):
        with request("pwrite", len(buffer), offset, flags):
            os.pwrite(disk, buffer, offset)

    def zero(h, count, offset, flags):
        with request("zero", count, offset, flags):
            if flags & nbdkit.FLAG_FAST_ZERO and os.path.exists(path("slow-zero")):
                refuse(errno.ENOTSUP, "no faster than writing")
            punch(offset, count)

    def trim(h, count, offset, flags):
        with request("trim", count, offset, flags):
            punch(offset, count)

    def punch(offset, count):
        start, length = ctypes.c_int64(offset), ctypes.c_int64(count)
        if libc.fallocate(disk, PUNCH_HOLE_KEEP_SIZE, start, length):
            refuse(ctypes.get_errno(), "fallocate")

    def flush(h, flags):
        with request("flush"):
            pass
"""


class Request(typing.NamedTuple):
    """One request that reached the layer."""

    kind: str
    offset: int
    count: int
    flags: int  # nbdkit's: MAY_TRIM, FUA, FAST_ZERO
    in_flight: int  # of its kind, with itself
    time_s: float  # monotonic

    @property
    def range(self):
        """(offset, count)"""
        return self.offset, self.count


# nbdkit's flags, as Request.flags has them.
MAY_TRIM, FUA, FAST_ZERO = 1, 2, 4


class LayerBelow:
    """The layer, as its folder; one server of it at a time.

    folder     made here, unless it exists: then the layer is what it was before
    size       of the disk in bytes
    content    what it begins with; zeros behind that
    parameters of the plugin: preferred=SIZE, its preferred block size; multi_conn=0
    """

    def __init__(self, folder, size, *parameters, content=b""):
        self.folder, self.disk = folder, folder / "disk"
        self._log = folder / "requests"
        folder.mkdir(exist_ok=True)
        if not self.disk.exists():
            self.disk.write_bytes(content)
            os.truncate(self.disk, size)
        script = folder / "plugin.py"
        script.write_text(textwrap.dedent(_PLUGIN))
        self.arguments = ["python", script, f"folder={folder}", *parameters]

    def tell(self, term, since=None, right="held", disk="volume-1", unchanged=None):
        """From now on the layer says that it is this disk, in this term of its writers, and
        whether the server may write it (common/block/disk_identity.hpp)."""
        new = self.folder / "new-identity"
        new.write_text(
            f"nbdstack-disk id={disk} size={self.disk.stat().st_size} term={term} "
            f"since={term if since is None else since} "
            + ("" if unchanged is None else f"unchanged={unchanged} ")
            + f"right={right}"
        )
        new.rename(self.folder / "identity")

    def requests(self, *kinds):
        """What has reached the layer since forget_requests(), all kinds unless some are named."""
        if not self._log.exists():
            return []
        found = []
        for line in self._log.read_text().splitlines():
            kind, *numbers, time_s = line.split()
            if not kinds or kind in kinds:
                found.append(Request(kind, *map(int, numbers), float(time_s)))
        return found

    def forget_requests(self):
        """requests() starts anew."""
        if self._log.exists():
            os.truncate(self._log, 0)

    def stored(self, offset, count):
        """What the disk contains, whatever a cache says."""
        with open(self.disk, "rb") as disk:
            disk.seek(offset)
            return disk.read(count)

    def change(self, offset, content):
        """Changes the disk behind everybody's back."""
        with open(self.disk, "r+b") as disk:
            disk.seek(offset)
            disk.write(content)

    def wait_until_stored(self, offset, content, timeout_s=30):
        """Until the disk contains this."""
        data.wait_until(
            lambda: self.stored(offset, len(content)) == content,
            timeout_s,
            f"{len(content)} bytes at {offset:#x} written below",
        )

    def fail(self, *kinds):
        """Requests of these kinds (all, unless some are named) fail with EIO until heal()."""
        self._switch_on("fail", kinds)

    def heal(self, *kinds):
        """Ends fail()."""
        self._switch_off("fail", kinds)

    def hold(self, *kinds):
        """Requests of these kinds wait, once noted, until release(). They fail with EIO when that
        takes longer than 20 s: what waits for them without being allowed to fails, not hangs."""
        self._switch_on("hold", kinds)

    def release(self, *kinds):
        """Ends hold()."""
        self._switch_off("hold", kinds)

    def delay(self, kind, delay_s):
        """Requests of this kind take that long from now on."""
        new = self.folder / "new-delay"
        new.write_text(str(delay_s))
        new.rename(self.folder / f"delay-{kind}")

    def refuse_fast_zeros(self):
        """From now on zeros that have to be fast are refused with ENOTSUP."""
        (self.folder / "slow-zero").touch()

    def _switch_on(self, what, kinds):
        for kind in kinds or KINDS:
            (self.folder / f"{what}-{kind}").touch()

    def _switch_off(self, what, kinds):
        for kind in kinds or KINDS:
            (self.folder / f"{what}-{kind}").unlink(missing_ok=True)
