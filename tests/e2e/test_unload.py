"""A stop while a client is connected leaves no thread behind that would run code of a library which
nbdkit has unloaded: nbdkit never destroys the layers of such a client."""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from e2e.stores import LocalStore
from support.nbdkit import Nbdkit

SOURCE = pathlib.Path(__file__).resolve().parents[1] / "support" / "late_threads.c"
FILTERS = ("readahead", "cache", "cacheextents", "zeroblock", "md5")
SIZE = 8 << 20


class Unload(unittest.TestCase):
    def setUp(self):
        directory = pathlib.Path(tempfile.mkdtemp(prefix="late-"))
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        self.late = directory / "late_threads.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", self.late, SOURCE, "-ldl"], check=True)

    def stop_with_a_client(self, *words):
        """Stops a server whose client, after requests of many blocks, leaves just then; the exit code."""
        with Nbdkit(*words, environment={"LD_PRELOAD": str(self.late)}) as server:
            handle = server.connect()
            handle.pwrite(os.urandom(SIZE), 0)
            handle.pread(SIZE, 0)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.05)  # the signal comes first; if it does not, the test sees less
            handle.shutdown()
            return server.wait()

    def test_each_filter_and_all_together(self):
        """md5's hashing threads were left, woken for a job that its caller had done alone."""
        extra = {"md5": ["md5-cache-time=0"], "cache": ["cache-on-read=true"]}
        for stack in [(name,) for name in FILTERS] + [FILTERS]:
            with self.subTest(stack=stack):
                words = [word for name in stack for word in extra.get(name, [])]
                filters = [f"--filter={name}" for name in stack]
                self.assertEqual(self.stop_with_a_client(*filters, "memory", str(SIZE), *words), 0)

    def test_the_plugin(self):
        """Its volume has threads, and so has its lease."""
        store = LocalStore()
        self.addCleanup(store.close)
        volume = store.volume(size=SIZE, object_size=1 << 16)
        self.assertEqual(self.stop_with_a_client(*volume, f"metrics={store.directory}/vm1"), 0)
