"""nbdstack-metrics shows what stacks have measured, in a text that Prometheus accepts whatever lies in
their directories."""

import json
import os
import pathlib
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import unittest

from servers.memory_s3 import MemoryS3
from support import data
from support.command import our_command, run_command
from support.counted_requests import CountingProxy
from support.metrics_command import MetricsCommand, check_by_promtool, series, value
from support.nbdkit import Nbdkit

MIB = 1 << 20


def text_of(directory):
    """What the command prints, once promtool has nothing against it."""
    done = run_command("nbdstack-metrics", directory)
    assert done.returncode == 0, done.stderr
    fault = check_by_promtool(done.stdout)
    assert not fault, f"{fault}\n{done.stdout}"
    return done.stdout


class MetricsCase(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="metrics-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)

    def serve(self, *words, stack="vm1"):
        server = Nbdkit(*words, f"metrics={self.directory / stack}")
        self.addCleanup(server.stop)
        return server

    def wait_for(self, condition, what):
        """Until condition(text) holds; the text."""
        texts = []

        def holds():
            texts[:] = [text_of(self.directory)]
            return condition(texts[0])

        try:
            data.wait_until(holds, 30, what)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{''.join(texts)}") from None
        return texts[0]


class AStack(MetricsCase):
    def test_what_the_client_did_is_shown(self):
        """Requests and bytes of every layer of ours, in any stack, by kind; and nothing twice."""
        server = self.serve("--filter=readahead", "--filter=cache", "--filter=md5", "memory", "8M")
        handle = server.connect()
        for offset in range(0, MIB, 65536):
            handle.pwrite(os.urandom(65536), offset)
        handle.flush()
        handle.pread(MIB, 0)
        handle.trim(65536, 0)
        text = self.wait_for(
            lambda text: value(text, "nbdstack_requests_total", layer="readahead", op="trim") == 1,
            "the trim counted",
        )
        for layer in ("readahead", "cache"):
            with self.subTest(layer):
                self.assertEqual(value(text, "nbdstack_up", layer=layer), 1)
                of_layer = {"layer": layer, "stack": "vm1"}
                for op, requests, size in (("write", 16, MIB), ("read", 1, MIB), ("flush", 1, 0)):
                    self.assertEqual(
                        value(text, "nbdstack_requests_total", op=op, **of_layer), requests)  # fmt: skip
                    self.assertEqual(
                        value(text, "nbdstack_request_bytes_total", op=op, **of_layer), size)  # fmt: skip
        self.assertEqual(value(text, "nbdstack_unreadable"), 0)
        below = {labels["layer"]: number for labels, number in series(text, "nbdstack_layers_below")}
        self.assertEqual(below, {"md5": 0, "cache": 1, "readahead": 2})

    def test_stacks_are_told_apart(self):
        """Two servers with a layer each are four series, and the parameter alone names them."""
        self.serve("--filter=cache", "memory", "1M", stack="vm1")
        self.serve("--filter=cache", "memory", "1M", stack="vm2")
        text = self.wait_for(lambda text: value(text, "nbdstack_up") == 2, "two stacks")
        self.assertEqual(value(text, "nbdstack_up", stack="vm2", layer="cache"), 1)

    def test_a_killed_server_is_down_and_a_stopped_one_is_gone(self):
        """Of the killed one nothing but that is shown."""
        killed = self.serve("--filter=cache", "memory", "1M", stack="killed")
        stopped = self.serve("--filter=cache", "memory", "1M", stack="stopped")
        self.wait_for(lambda text: value(text, "nbdstack_up") == 2, "two stacks")
        killed.kill()
        stopped.terminate()
        text = text_of(self.directory)
        self.assertEqual(
            series(text, "nbdstack_up"), [({"stack": "killed", "layer": "cache"}, 0)])  # fmt: skip
        self.assertNotIn("nbdstack_requests_total", text)

    def test_files_that_are_not_ours_never_break_the_text(self):
        """Half a file, bytes, somebody else's metrics, a pipe: each is named, and left out."""
        self.serve("--filter=cache", "memory", "1M")
        text = self.wait_for(lambda text: value(text, "nbdstack_up") == 1, "the stack")
        good = (self.directory / "vm1/cache.prom").read_bytes()
        other = self.directory / "vm2"
        other.mkdir()
        (other / "half.prom").write_bytes(good[: len(good) * 2 // 3])
        (other / "bytes.prom").write_bytes(os.urandom(5000))
        (other / "copy.prom").write_bytes(good)
        (other / "up.prom").write_text(
            '# HELP nbdstack_up Up\n# TYPE nbdstack_up gauge\nnbdstack_up{stack="vm2",layer="up"} 1\n')  # fmt: skip
        os.mkfifo(other / "pipe.prom")
        (other / "nowhere.prom").symlink_to("nowhere")
        (self.directory / "a\nb\x1b").mkdir()
        (self.directory / "a\nb\x1b" / "c\"{}.prom").write_text("x")
        text = text_of(self.directory)
        unreadable = {labels["layer"] for labels, number in series(text, "nbdstack_unreadable") if number}
        self.assertEqual(unreadable, {"half", "bytes", "copy", "pipe", 'c\\"{}'})
        self.assertIsNotNone(value(text, "nbdstack_layers_below", stack="vm1"))


class TheCost(MetricsCase):
    """What requests cost, held against those that the service has got."""

    def test_it_is_that_of_the_requests_that_arrived(self):
        """By class, with a table of prices of the user's."""
        prices = self.directory / "prices"
        prices.write_text("put-per-1000=1000\nget-per-1000=1\ntransfer=internet\n"
                          f"transfer-per-gb={1 << 30}\n")  # fmt: skip
        with MemoryS3({"disk": {}}) as s3, CountingProxy(s3.endpoint) as proxy:
            parameters = s3.parameters("disk") | {"endpoint-url": proxy.endpoint}
            server = self.serve(
                "s3", *(f"{k}={v}" for k, v in parameters.items()), "size=64M", "object-size=64K")  # fmt: skip
            handle = server.connect()
            for offset in range(0, MIB, 65536):
                handle.pwrite(os.urandom(65536), offset)
            for offset in range(0, MIB // 2, 65536):
                handle.pread(65536, offset)
            handle.trim(65536 * 4, 0)
            handle.flush()

            def counted(text):
                puts, gets, removals = 0, 0, 0
                for request in list(proxy.requests):
                    is_listing = request.method == "GET" and "list-type" in request.query
                    is_removal = request.method == "DELETE" or request.method == "POST"
                    puts += request.method == "PUT" or is_listing
                    removals += is_removal
                    gets += request.method in ("GET", "HEAD") and not is_listing
                sent = value(text, "nbdstack_s3_requests_total")
                return (puts, gets) if sent == puts + gets + removals else None

            # A lease is renewed now and then: both counts are of one moment once their sums agree.
            text = self.wait_for(lambda text: counted(text) is not None, "all requests counted")
            puts, gets = counted(text)
            self.assertGreaterEqual(puts, 16)
            self.assertGreaterEqual(gets, 8)
            received = value(text, "nbdstack_s3_received_bytes_total")
            self.assertGreaterEqual(received, MIB // 2)
            server.kill()
            done = run_command("nbdstack-metrics", f"--prices={prices}", self.directory)
            self.assertNotIn("cost", done.stdout, "a killed server has none")
            cost = {labels["class"]: number for labels, number in series(text, "nbdstack_cost_dollars_total")}
            self.assertAlmostEqual(cost["put"], puts * 0.005 / 1000, places=9)
            self.assertAlmostEqual(cost["get"], gets * 0.0004 / 1000, places=9)
            self.assertEqual(cost["transfer"], 0)

    def test_show_tells_it_for_a_volume_that_is_served(self):
        """While its server runs with metrics in the default place, in words and as JSON."""
        place = self.directory / "nbdstack"
        environment = {"XDG_RUNTIME_DIR": self.directory}
        prices = self.directory / "prices"
        prices.write_text(f"put-per-1000=1000000\nget-per-1000=0\nstorage-per-gb-month={1 << 30}\n")
        with MemoryS3({"disk": {}}) as s3:
            words = [f"{name}={value}" for name, value in s3.parameters("disk").items()]

            def show(*more):
                done = run_command("nbdstack-s3", "show", *words, *more, environment=environment)
                self.assertEqual(done.returncode, 0, done.stderr)
                return done.stdout

            server = Nbdkit("s3", *words, "size=64M", "object-size=64K", f"metrics={place / 'vm1'}")
            self.addCleanup(server.stop)
            handle = server.connect()
            handle.pwrite(os.urandom(65536 * 16), 0)
            handle.flush()
            data.wait_until(
                lambda: (value(run_command("nbdstack-metrics", place).stdout,
                               "nbdstack_s3_requests_total", op="PutObject") or 0) >= 16, 30, "the puts")  # fmt: skip
            self.assertRegex(
                show(), r"(?m)^cost: \$0\.0\d+ for the requests of stack vm1 since its start, "
                r"\$0\.0000 a month for what is stored$")  # fmt: skip
            cost = json.loads(show("--json", f"prices={prices}"))["cost"]
            self.assertEqual((cost["stack"], cost["volumes"]), ("vm1", 1))
            self.assertGreaterEqual(cost["requests-dollars"], 16 * 1000)
            stored = json.loads(show("--json"))["stored-bytes"]
            self.assertEqual(cost["storage-dollars-a-month"], stored)
            server.terminate()
            self.assertNotIn("cost:", show())

    def test_a_wrong_table_is_refused_by_its_line(self):
        """Before anything is served."""
        prices = self.directory / "prices"
        prices.write_text("put-per-1000=1\nget-per-1000=free\n")
        done = run_command("nbdstack-metrics", f"--prices={prices}", self.directory)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"{prices}, line 2: get-per-1000=free", done.stderr)


class AServerOfHttp(MetricsCase):
    def test_it_answers_get_metrics_and_nothing_else(self):
        """On loopback, unless an address is named."""
        self.serve("--filter=cache", "memory", "1M")
        self.wait_for(lambda text: value(text, "nbdstack_up") == 1, "the stack")
        with MetricsCommand(self.directory) as command:
            self.assertRegex(command.place, r"^http://127\.0\.0\.1:\d+/metrics$")
            answer = command.get()
            self.assertEqual(answer.status, 200)
            self.assertEqual(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")
            self.assertEqual(value(answer.text, "nbdstack_up", stack="vm1"), 1)
            self.assertEqual(command.get("/").status, 404)
            self.assertEqual(command.get("/metrics/").status, 404)
            self.assertEqual(command.get(method="POST", body=b"x" * 100000).status, 405)
            self.assertEqual(command.get(method="DELETE").headers["allow"], "GET")
            self.assertEqual(command.terminate(), 0)

    def test_it_sees_stacks_that_come_later(self):
        """Each request reads the directories anew."""
        with MetricsCommand(self.directory) as command:
            self.assertEqual(command.get().text, "")
            self.serve("--filter=cache", "memory", "1M")
            data.wait_until(lambda: "nbdstack_up" in command.get().text, 30, "the stack")

    def test_clients_that_say_nothing_are_not_in_the_way(self):
        """More of them than are served at a time, and some that talk nonsense."""
        with MetricsCommand(self.directory) as command:
            silent = [command.connection() for _ in range(40)]
            for connection in silent:
                connection.connect()
                connection.sock.sendall(b"\0\xff nonsense" if connection in silent[::2] else b"GET")
            self.assertIsNone(command.process.poll())
            for connection in silent:
                connection.close()
            data.wait_until(lambda: self.is_answered(command), 30, "an answer")

    @staticmethod
    def is_answered(command):
        try:
            return command.get().status == 200
        except OSError:  # closed at once while all places are taken
            return False

    def test_a_unix_socket(self):
        """Is made, served and removed."""
        path = self.directory / "socket"
        with MetricsCommand(self.directory, listen=f"unix:{path}") as command:
            self.assertTrue(stat.S_ISSOCK(path.stat().st_mode))
            self.assertEqual(command.get().status, 200)
            self.assertEqual(command.terminate(), 0)
        self.assertFalse(path.exists())

    def test_a_socket_of_the_service_manager(self):
        """Is served without --listen."""
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            number = listening.fileno()
            script = f'LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@" 3<&{number}'
            with MetricsCommand(
                self.directory, launcher=("sh", "-c", script), pass_fds=(number,)
            ) as command:
                self.assertIn(f":{listening.getsockname()[1]}/", command.place)
                self.assertEqual(command.get().status, 200)

    def test_a_port_that_is_taken_is_an_error(self):
        """Which names the address."""
        with MetricsCommand(self.directory) as command:
            address = command.place.split("/")[2]
            done = run_command("nbdstack-metrics", f"--listen={address}", self.directory)
            self.assertEqual(done.returncode, 1)
            self.assertIn(address, done.stderr)


class AFile(MetricsCase):
    def test_it_is_replaced_and_removed(self):
        """A collector sees the whole text or none, and none once the command has ended."""
        self.serve("--filter=cache", "memory", "1M")
        self.wait_for(lambda text: value(text, "nbdstack_up") == 1, "the stack")
        path = self.directory / "nbdstack.prom"
        process = subprocess.Popen(
            [our_command("nbdstack-metrics"), f"--file={path}", "--interval=1", str(self.directory)]
        )
        try:
            data.wait_until(path.exists, 30, "the file")
            first = path.stat().st_ino
            self.assertEqual(check_by_promtool(path.read_text()), "")
            self.assertEqual(value(path.read_text(), "nbdstack_up", stack="vm1"), 1)
            data.wait_until(lambda: path.stat().st_ino != first, 30, "another file")
        finally:
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(30), 0)
        self.assertEqual([name.name for name in self.directory.iterdir()], ["vm1"])

    def test_a_place_that_does_not_exist_is_an_error(self):
        """At once."""
        done = run_command("nbdstack-metrics", "--file=/nonexistent/x.prom", self.directory)
        self.assertEqual(done.returncode, 1)
        self.assertIn("/nonexistent", done.stderr)


if __name__ == "__main__":
    unittest.main()
