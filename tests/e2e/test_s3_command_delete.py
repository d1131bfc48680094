"""nbdstack-s3 delete: it asks first, and removes the volume and nothing else."""

import os
import pty
import subprocess
import threading
import unittest

from e2e.s3_command_case import CONTENT, KIB, SIZE, OnADirectory, OnAService, VerbsCase
from servers import faults
from servers.faulty_http import FaultyProxy
from support import data
from support.nbdkit import run_expecting_failure
from support.s3_command import our_s3_command


class Delete:
    """The same on every store."""

    def test_delete_asks_first(self):
        """`delete` asks first."""
        self.fill()
        done = self.run_verb("delete", input_text="vm\n", code=1)
        self.assertIn("--yes", done.stderr)
        self.assertEqual(self.answer("no")[0], 1)
        self.assertEqual(self.read(SIZE), CONTENT)
        code, shown = self.answer("vm")
        self.assertEqual(code, 0, shown)
        self.assertIn("Type its name, vm", shown)
        self.assertEqual(self.store.keys(), [])

    def answer(self, line):
        """Types `line` on a terminal where delete asks; its exit code and what it showed."""
        ours, terminal = pty.openpty()
        process = subprocess.Popen(
            [our_s3_command(), "delete", *self.words()],
            stdin=terminal, stdout=terminal, stderr=terminal,
        )  # fmt: skip
        os.close(terminal)
        shown = b""
        try:
            while b"to go on: " not in shown:
                shown += os.read(ours, 1000)
            os.write(ours, line.encode() + b"\n")
            while piece := os.read(ours, 1000):
                shown += piece
        except OSError:
            pass  # how a terminal says that nobody is left who writes to it
        finally:
            os.close(ours)
        return process.wait(60), shown.decode()

    def test_delete_leaves_what_is_not_the_volumes(self):
        """`delete` removes all of the volume, and nothing else."""
        self.fill()
        self.run_verb("create", size="1M", key="vm2")
        others = sorted(key for key in self.store.keys() if not key.startswith("vm/"))
        self.run_verb("delete", "--yes")
        self.assertEqual(sorted(self.store.keys()), others)
        self.run_verb("show", code=1)
        self.run_verb("create", size="1M")

    def test_delete_under_a_running_server_is_refused(self):
        """`delete` is refused while a server has the volume."""
        self.fill()
        server = self.serve()
        done = self.run_verb("delete", "--yes", code=1)
        self.assertIn(f"pid {server.pid}", done.stderr)
        self.assertIn("own=force", done.stderr)
        self.assertEqual(server.connect().pread(SIZE, 0), CONTENT)
        self.run_verb("delete", "--yes", own="force")
        self.assertEqual(self.store.block_keys(), [])


class DeleteOnADirectory(Delete, OnADirectory, VerbsCase):
    """A local one."""


class DeleteOnAService(Delete, OnAService, VerbsCase):
    """Ceph's gateway."""

    def test_a_delete_that_was_killed_is_finished_by_the_next(self):
        """A volume whose `delete` was killed does not open, and the next `delete` finishes it."""
        small = 4 * KIB
        content = data.tagged(2, 0, 2500 * small)
        self.run_verb("create", size=len(content), object_size=small)
        self.write(content)
        killed = threading.Event()
        with FaultyProxy(self.store.server.endpoint) as proxy:
            process, removals = None, []

            def behaviour(request):
                # The lease's own trial of the service removes an object, too.
                if request.method == "POST" and b"nbdstack-probe" not in request.body:
                    removals.append(request)
                if len(removals) == 2 and not killed.is_set():
                    process.kill()
                    killed.set()
                    return faults.drop_before()
                return None

            proxy.behaviour = behaviour
            words = self.words(endpoint_url=proxy.endpoint, connections=1)
            process = subprocess.Popen([our_s3_command(), "delete", "--yes", *words])
            self.assertEqual(process.wait(120), -9)
            self.assertTrue(killed.is_set())
        left = len(self.store.block_keys())
        self.assertGreater(left, 0)
        self.assertLess(left, 2500)
        for more in {}, {"size": len(content), "object_size": small}:
            _, errors = run_expecting_failure(*self.store.volume(key="vm", **more))
            self.assertIn("nbdstack-volume-being-deleted", errors)
        self.assertEqual(self.shown()["layout"], "half-deleted")
        self.run_verb("create", size="1M", code=1)
        self.run_verb("delete", "--yes")
        self.assertEqual(self.store.keys(), [])


if __name__ == "__main__":
    unittest.main()
