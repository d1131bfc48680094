"""Serving a disk whose faults a test controls: a script for nbdkit's Python plugin."""

import pathlib
import tempfile

from support.nbdkit import Nbdkit


class FaultyDisk:
    """A script under a server of the test's choice, and the switches of its faults.

    The script is given `control`, a folder that it and the test share: there set() leaves files
    named for a fault that hold its amount, and the script leaves what it has to tell.
    """

    def __init__(self, test, script):
        directory = tempfile.TemporaryDirectory(prefix="faulty-disk-")
        test.addCleanup(directory.cleanup)
        self.control = pathlib.Path(directory.name)
        self.script = self.control / "disk.py"
        self.script.write_text(script)
        self._test = test

    def serve(self, *arguments, filters=("--filter=md5",)):
        """A server of this disk; -v, for what the filter says."""
        server = Nbdkit(
            *filters, "python", self.script, f"control={self.control}", *arguments, verbose=True
        )
        self._test.addCleanup(server.stop)
        return server

    def set(self, fault, amount):
        """Switches a fault on, or with 0 off."""
        (self.control / fault).write_text(str(amount))
