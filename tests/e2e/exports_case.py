"""What tests of clients under several export names share: disks whose names and identities a test
chooses."""

import pathlib
import textwrap
import unittest

import nbd

from e2e.test_zeroblock import scratch_of
from support.nbdkit import Nbdkit

FILTERS = ("cache", "zeroblock", "cacheextents", "md5")

# Disks that are files of a folder. disks/NAME is what the export NAME opens, or else disks/default;
# FILE.identity, if there, is what the layer tells of it.
_PLUGIN = """
    import ctypes, os
    import nbdkit
    API_VERSION = 2
    libc = ctypes.CDLL(None, use_errno=True)
    folder = None
    def config(key, value):
        global folder
        folder = value
    def thread_model(): return nbdkit.THREAD_MODEL_PARALLEL
    def open(readonly):
        name = nbdkit.export_name() or "default"
        if not os.path.exists(os.path.join(folder, name)): name = "default"
        path = os.path.realpath(os.path.join(folder, name))
        return (os.open(path, os.O_RDWR), path)
    def close(h): os.close(h[0])
    def export_description(h):
        try:
            with builtin_open(h[1] + ".identity") as told: return told.read().strip()
        except FileNotFoundError: return ""
    def get_size(h): return os.fstat(h[0]).st_size
    def can_multi_conn(h): return True
    def can_flush(h): return True
    def can_zero(h): return True
    def can_extents(h): return True
    def pread(h, buf, offset, flags):
        buf[:] = os.pread(h[0], len(buf), offset)
    def pwrite(h, buf, offset, flags): os.pwrite(h[0], buf, offset)
    def flush(h, flags): pass
    def zero(h, count, offset, flags):
        if libc.fallocate(h[0], 3, ctypes.c_long(offset), ctypes.c_long(count)):
            raise OSError(ctypes.get_errno(), "fallocate")
    def extents(h, count, offset, flags):
        found, end = [], offset + count
        while offset < end:
            try: start = os.lseek(h[0], offset, os.SEEK_DATA)
            except OSError: start = end
            if start > offset:
                found.append((offset, min(start, end) - offset, 3))
                offset = start
            if offset < end:
                stop = min(os.lseek(h[0], offset, os.SEEK_HOLE), end)
                found.append((offset, stop - offset, 0))
                offset = stop
        return found
"""


class Disks:
    """The plugin above: files in a folder, under the names that a test gives them."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(exist_ok=True)
        script = self.folder / "plugin.py"
        script.write_text("builtin_open = open\n" + textwrap.dedent(_PLUGIN))
        self.arguments = ("python", script, f"folder={self.folder}")

    def make(self, name, content):
        """A disk that is shown as `name`."""
        (self.folder / name).write_bytes(content)
        return self.folder / name

    def tell(self, name, **fields):
        """What the layer tells of the disk from now on; of an open one, too."""
        values = {"size": (self.folder / name).stat().st_size, "right": "held"} | fields
        order = [key for key in ("id", "size", "term", "since", "unchanged", "right") if key in values]
        text = "nbdstack-disk " + " ".join(f"{key}={values[key]}" for key in order)
        new = self.folder / f"{name}.identity.new"
        new.write_text(text)
        new.rename(self.folder / f"{name}.identity")


class ExportsCase(unittest.TestCase):
    def setUp(self):
        self.disks = Disks(scratch_of(self) / "disks")

    def serve(self, *words, **options):
        """A server until the test ends."""
        server = Nbdkit(*words, **options)
        self.addCleanup(server.stop)
        return server

    def stack(self, *filters, **options):
        """The filters over the plugin."""
        words = [f"--filter={name}" for name in filters]
        return self.serve(*words, *self.disks.arguments, **options)

    def assert_refused(self, server, export, because):
        """A client that asks for this export, and the log's reason."""
        with self.assertRaises(nbd.Error):
            server.connect(export)
        self.assertIn(because, server.log())
