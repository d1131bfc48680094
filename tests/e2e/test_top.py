"""nbdstack-top shows what stacks do: as text where there is no terminal, and as a view where there is
one, which it leaves as it was."""

import fcntl
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
import threading
import unittest

from servers.memory_s3 import MemoryS3
from support import data
from support.command import our_command, run_command
from support.nbdkit import Nbdkit

ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"


class View:
    """nbdstack-top on a terminal of its own, of `columns` x 24."""

    def __init__(self, *words, columns=80):
        self.text = ""
        self._terminal, end = pty.openpty()
        self.resize(columns)
        self.modes = termios.tcgetattr(end)
        self._end = end  # kept open, to see the state that is left
        self.process = subprocess.Popen(
            [our_command("nbdstack-top"), *map(str, words)], stdin=end, stdout=end, stderr=end,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip

    def resize(self, columns):
        """The window's new width."""
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def press(self, key):
        """As a user does."""
        os.write(self._terminal, key.encode())

    def read(self):
        """What it has drawn so far."""
        while select.select([self._terminal], [], [], 0.05)[0]:
            self.text += os.read(self._terminal, 65536).decode()
        return self.text

    def wait_for(self, pattern):
        """Until it has drawn this; the match."""
        data.wait_until(lambda: re.search(pattern, self.read()), 30, f"{pattern} on the screen")
        return re.search(pattern, self.text)

    def wait(self):
        """The exit code, and the modes of the terminal after it."""
        data.wait_until(lambda: (self.read(), self.process.poll() is not None)[1], 30, "its end")
        self.read()
        return self.process.returncode, termios.tcgetattr(self._end)

    def close(self):
        """Ends it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._terminal)
        os.close(self._end)


class Top(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="top-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)

    def serve(self, *words, stack="vm1"):
        server = Nbdkit(*words, f"metrics={self.directory / stack}")
        self.addCleanup(server.stop)
        data.wait_until(lambda: list((self.directory / stack).glob("*.prom")), 30, "metrics")
        return server

    def load(self, server):
        """Reads and writes until the test ends."""
        handle = server.connect()
        stopped = threading.Event()

        def work():
            while not stopped.is_set():
                handle.pwrite(b"x" * 4096, 0)
                handle.pread(65536, 0)

        thread = threading.Thread(target=work)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(stopped.set)

    def view(self, *words, **more):
        view = View(*words, self.directory, **more)
        self.addCleanup(view.close)
        return view

    def test_one_look_at_a_busy_stack(self):
        """Names all that is to be seen, in lines that fit 60 columns."""
        with MemoryS3({"disk": {}}) as s3:
            words = [f"{name}={value}" for name, value in s3.parameters("disk").items()]
            server = self.serve("--filter=cache", "--filter=md5", "s3", *words, "size=64M", "cache-max-size=8M")
            self.load(server)
            done = run_command("nbdstack-top", "--once", self.directory)
            self.assertEqual(done.returncode, 0, done.stderr)
            text = done.stdout
            self.assertRegex(text, r"^nbdstack-top  \d\d:\d\d:\d\d  1 stack\n\nvm1 \(cache, md5, s3\)\n")
            for what in (
                r"reads +[\d.]+/s +[\d.]+ MiB/s  mean +[\d.]+ \w+  p99 +[\d.]+ \w+\n",
                r"writes +[\d.]+/s +[\d.]+ [KM]iB/s  mean",
                r"cache +hits [\d.]+ %, [\d.]+ \w+ of 8.0 MiB\n",
                r"dirty +[\d.]+ ",
                r"below +[\d.]+ \w+/s read, [\d.]+ \w+/s written\n",
                r"s3 +put [\d.]+/s, get [\d.]+/s, free [\d.]+/s, retry [\d.]+/s\n",
                r"cost +\$0\.\d+ so far, \$[\d.]+ a month at this rate\n",
            ):
                self.assertRegex(text, what)
            self.assertLessEqual(max(map(len, text.splitlines())), 60)

    def test_without_a_terminal_it_is_lines(self):
        """Several looks, without a control character; nothing to see is said, too."""
        done = run_command("nbdstack-top", "-n", "2", "--interval=1", self.directory)
        self.assertEqual(len(re.findall(r"^nbdstack-top  \S+  0 stacks$", done.stdout, re.M)), 2)
        self.assertNotIn("\x1b", done.stdout)

    def test_a_name_moves_no_cursor(self):
        """Of a stack that somebody has called like a terminal's command."""
        bad = self.directory / "\x1b[2Jx"
        bad.mkdir()
        (bad / "\x1b[7m.prom").write_text("x")
        done = run_command("nbdstack-top", "--once", "--interval=1", self.directory)
        self.assertNotIn("\x1b", done.stdout)
        self.assertIn(r"\x1b[2Jx", done.stdout)
        self.assertIn("killed", done.stdout)

    def test_a_view_that_q_ends(self):
        """It is drawn anew, keys are not echoed, and the terminal is as it was."""
        server = self.serve("--filter=cache", "memory", "1M")
        self.load(server)
        view = self.view("--interval=1")
        view.wait_for(r"reads +[\d.]+/s")
        self.assertTrue(view.text.startswith(ENTER))
        self.assertGreaterEqual(view.text.count("\x1b[H"), 2)
        self.assertNotIn("\x1b[2J", view.text, "a screen that is wiped flickers")
        view.press("x")
        view.press("q")
        code, modes = view.wait()
        self.assertEqual(code, 0)
        self.assertEqual(modes, view.modes)
        self.assertTrue(view.text.endswith(LEAVE))
        self.assertNotIn("q", view.text.rpartition("\x1b[J")[2])

    def test_signals_end_it_as_well(self):
        """SIGTERM, and Ctrl-C, leave the terminal as it was."""
        for name, end in (
            ("SIGTERM", lambda view: view.process.send_signal(signal.SIGTERM)),
            ("Ctrl-C", lambda view: view.press("\x03")),
        ):
            with self.subTest(name):
                view = self.view()
                view.wait_for("0 stacks")
                end(view)
                code, modes = view.wait()
                self.assertEqual(code, 0)
                self.assertEqual(modes, view.modes)
                self.assertTrue(view.text.endswith(LEAVE))

    def test_it_follows_the_window(self):
        """Another width is drawn at once, and no line is longer than it."""
        self.serve("--filter=cache", "memory", "1M", stack="a" * 75)
        view = self.view("--interval=600", columns=100)
        view.wait_for("a{75} ")
        before = view.text.count("\x1b[H")
        view.resize(60)
        data.wait_until(lambda: view.read().count("\x1b[H") > before, 30, "another screen")
        last = view.text.rpartition("\x1b[H")[2]
        self.assertIn("a" * 60, last)
        self.assertNotIn("a" * 61, last)

    def test_a_reader_that_leaves_ends_it(self):
        """As in `nbdstack-top | head -1`."""
        process = subprocess.Popen(
            [our_command("nbdstack-top"), "--interval=1", str(self.directory)], stdout=subprocess.PIPE)  # fmt: skip
        self.assertIn(b"nbdstack-top", process.stdout.readline())
        process.stdout.close()
        self.assertNotEqual(process.wait(30), 0)


if __name__ == "__main__":
    unittest.main()
