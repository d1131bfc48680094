"""Starting and ending nbdkit: a test that fails must fail for its own reason and leave nothing."""

import os
import pathlib
import stat
import tempfile
import unittest

import nbd

from support.nbdkit import Nbdkit, NbdkitError, run_expecting_failure, system_nbdkit


class Starting(unittest.TestCase):
    def test_refusal_is_told_with_the_servers_message(self):
        with self.assertRaisesRegex(NbdkitError, "could not parse size"):
            Nbdkit("memory", "1X", binary=system_nbdkit())

    def test_expected_refusal_returns_code_and_message(self):
        code, errors = run_expecting_failure("memory", "1X", binary=system_nbdkit())
        self.assertEqual(code, 1)
        self.assertIn("could not parse size", errors)

    def test_server_that_starts_is_no_refusal(self):
        with self.assertRaisesRegex(NbdkitError, "started instead"):
            run_expecting_failure("memory", "1M", binary=system_nbdkit(), timeout_s=1)

    def test_crash_is_no_refusal(self):
        with tempfile.TemporaryDirectory() as directory:
            crashing = pathlib.Path(directory) / "nbdkit"
            crashing.write_text("#!/bin/sh\nkill -SEGV $$\n")
            crashing.chmod(stat.S_IRWXU)
            with self.assertRaisesRegex(NbdkitError, "ended with -11"):
                run_expecting_failure("memory", "1M", binary=crashing)

    def test_missing_build_is_told(self):
        os.environ["NBDSTACK_NBDKIT"] = "/nonexistent/nbdkit"
        self.addCleanup(os.environ.pop, "NBDSTACK_NBDKIT")
        with self.assertRaisesRegex(NbdkitError, "build first"):
            Nbdkit("memory", "1M")


class Ending(unittest.TestCase):
    def test_terminate_returns_the_exit_code(self):
        with Nbdkit("memory", "1M", binary=system_nbdkit(), verbose=True) as server:
            server.connect().pwrite(b"x", 0)
            self.assertIsNone(server.returncode)
            self.assertEqual(server.terminate(), 0)
            self.assertIn("debug:", server.log())

    def test_kill_is_seen_by_the_client_as_a_broken_connection(self):
        with Nbdkit("memory", "1M", binary=system_nbdkit()) as server:
            handle = server.connect()
            self.assertEqual(server.kill(), -9)
            with self.assertRaises(nbd.Error):
                handle.pread(1, 0)

    def test_stuck_request_does_not_hang_the_teardown(self):
        with Nbdkit(
            "--filter=delay", "memory", "1M", "rdelay=600", binary=system_nbdkit()
        ) as server:
            handle = server.connect()
            handle.aio_pread(nbd.Buffer(1), 0)
            handle.poll(100)
        self.assertIsNotNone(server.returncode)

    def test_nothing_is_left_on_disk(self):
        with Nbdkit("memory", "1M", binary=system_nbdkit()) as server:
            directory = server.directory
            self.assertTrue(directory.exists())
        self.assertFalse(directory.exists())


if __name__ == "__main__":
    unittest.main()
