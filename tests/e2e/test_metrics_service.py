"""A disk that is a service of systemd's is measured: its unit gives it a directory where metrics are."""

import os
import unittest

from e2e import test_service
from support import data
from support.command import run_command
from support.metrics_command import value


class AService(unittest.TestCase):
    def test_its_metrics_are_in_the_default_place(self):
        """With no more than metrics=NAME in its file; root's commands find them there."""
        life = test_service.Life("test_disk_of_the_example")
        life.setUp()
        self.addCleanup(life.doCleanups)
        # As systemd does it, with `run` in place of /run.
        run = life.scratch / "run"
        self.assertEqual(test_service.setting("nbdstack@.service", "Environment"), "XDG_RUNTIME_DIR=/run")
        directory = run / test_service.setting("nbdstack@.service", "RuntimeDirectory").replace("%i", "my-disk")
        directory.mkdir(parents=True)
        directory.chmod(int(test_service.setting("nbdstack@.service", "RuntimeDirectoryMode"), 8))
        if os.geteuid() == 0:
            os.chown(directory, 65534, 65534)
        life.environment["XDG_RUNTIME_DIR"] = str(run)
        life.configure("my-disk", "--filter=cache\nmemory\n16M\nmetrics=my-disk\n")
        with life.service("my-disk") as client:
            client.pwrite(b"x" * 4096, 0)

            def written():
                done = run_command("nbdstack-metrics", environment={"XDG_RUNTIME_DIR": run})
                return value(done.stdout, "nbdstack_request_bytes_total", stack="my-disk", op="write")

            data.wait_until(lambda: written() == 4096, 30, "the write counted")
        self.assertEqual([path.name for path in directory.iterdir()], ["cache.lock"])


if __name__ == "__main__":
    unittest.main()
