"""The proxy does each of its faults, seen by a plain HTTP client, and keeps changes in order."""

import http.client
import http.server
import random
import socket
import threading
import time
import unittest
import urllib.parse

from servers import network_faults
from servers.fault_proxy import FaultProxy
from servers.network_faults import BUSY, KINDS, PASSING, SeededFaults
from support import data

BODY = bytes(range(256)) * 4
PATIENCE_S = 0.3  # of the client with a server that says nothing


class _Store(http.server.BaseHTTPRequestHandler):
    """The upstream: PUT stores a body whose digest header agrees, GET serves it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        self.server.seen.append(("GET", self.headers["Host"]))
        body, status = self.server.objects.get(self.path), 200
        if body is None:
            return self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        if wanted := self.headers.get("Range"):
            first, last = map(int, wanted.removeprefix("bytes=").split("-"))
            body, status = body[first : last + 1], 206
        fields = {network_faults.CHECKSUM_HEADER: "0" * 32}
        return self._answer(status, body, fields)

    do_HEAD = do_GET

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        agrees = self.headers.get("Content-MD5", data.sha256(body)) == data.sha256(body)
        self.server.seen.append(("PUT", body))
        if agrees:
            self.server.objects[self.path] = body
        self._answer(200 if agrees else 400, b"")

    do_POST = do_PUT

    def do_DELETE(self):
        self.server.seen.append(("DELETE", b""))
        self.server.objects.pop(self.path, None)
        self._answer(204, b"")

    def _answer(self, status, body, fields=None):
        self.send_response(status)
        for name, value in (fields or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Somebody hung up: that is what is tested."""


class _Always(SeededFaults):
    """One kind of fault for every request that it fits."""

    def __init__(self, kind):
        super().__init__(1, 1, {kind: 1})

    def choose(self, request):
        (name,) = self.weights
        rng = random.Random(request.number)
        return self.counted(name, rng) if KINDS[name].applies(request) else None

    def wait_for(self, number):
        """It is counted when it is over, which is after the client has its answer."""
        data.wait_until(lambda: self.total >= number, 10, f"{number} faults")


class _ProxyTest(unittest.TestCase):
    def setUp(self):
        self.store = _Server(("127.0.0.1", 0), _Store)
        self.store.objects, self.store.seen = {"/b/key": BODY}, []
        thread = threading.Thread(
            target=self.store.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        thread.start()
        self.addCleanup(self.store.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(self.store.shutdown)
        self.proxy = FaultProxy(f"http://127.0.0.1:{self.store.server_port}").__enter__()
        self.addCleanup(self.proxy.close)

    def connect(self, timeout_s=20):
        url = urllib.parse.urlsplit(self.proxy.endpoint)
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=timeout_s)
        self.addCleanup(connection.close)
        return connection

    def ask(self, method="GET", body=None, path="/b/key", headers=None, connection=None):
        """One request; (status, headers, body)."""
        connection = connection or self.connect()
        fields = headers or {}
        if body:
            fields = {"Content-MD5": data.sha256(body)} | fields
        connection.request(method, path, body=body, headers=fields)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def outcome(self, *arguments, **options):
        """ask(), or the name of how it broke."""
        try:
            return self.ask(*arguments, **options)
        except (http.client.HTTPException, OSError) as error:
            return type(error).__name__

    def expect_statuses(self, kind, status, **options):
        """The kind answers every request so, and the store hears nothing of it."""
        self.proxy.faults = _Always(kind)
        for number in range(6):
            self.assertEqual(self.ask(**options)[0], status, number)
        self.proxy.faults.wait_for(6)
        self.assertEqual(self.store.seen, [])


class Passing(_ProxyTest):
    def test_passes_untouched_with_the_clients_host(self):
        status, headers, body = self.ask(headers={"Host": "bucket.example:1"})
        self.assertEqual((status, body), (200, BODY))
        self.assertEqual(headers[network_faults.CHECKSUM_HEADER], "0" * 32)
        self.assertEqual(self.store.seen, [("GET", "bucket.example:1")])

    def test_keeps_the_connection_alive(self):
        connection = self.connect()
        for _ in range(3):
            self.assertEqual(self.ask(connection=connection)[2], BODY)
            self.assertIsNotNone(connection.sock)
        self.assertEqual(self.proxy.requests, 3)

    def test_methods_and_their_framing(self):
        connection = self.connect()
        self.assertEqual(self.ask("PUT", b"abc", "/b/new", connection=connection)[0], 200)
        status, headers, body = self.ask("HEAD", path="/b/new", connection=connection)
        self.assertEqual((status, headers["Content-Length"], body), (200, "3", b""))
        self.assertEqual(self.ask("DELETE", path="/b/new", connection=connection)[0], 204)
        self.assertEqual(self.ask(path="/b/new", connection=connection)[0], 404)

    def test_asks_for_the_body_that_waits_to_be_asked_for(self):
        connection = self.connect()
        connection.putrequest("PUT", "/b/new")
        connection.putheader("Content-Length", "3")
        connection.putheader("Expect", "100-continue")
        connection.endheaders()
        self.assertEqual(connection.sock.recv(100), b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.send(b"abc")
        self.assertEqual(connection.getresponse().status, 200)

    def test_dead_upstream_is_a_dropped_connection_and_no_fault(self):
        with FaultProxy("http://127.0.0.1:1") as proxy:
            proxy.faults, mine = _Always("duplicate"), self.proxy
            self.proxy = proxy
            self.assertEqual(self.outcome(), "RemoteDisconnected")
            self.assertEqual(proxy.faults.counts["duplicate"], 0)
            self.proxy = mine

    def test_wrong_fault_fails_the_test(self):
        with self.assertRaises(ZeroDivisionError), FaultProxy("http://127.0.0.1:1") as proxy:
            proxy.faults = type("Wrong", (), {"choose": lambda self, request: 1 // 0})()
            self.proxy, mine = proxy, self.proxy
            self.outcome()
            self.proxy = mine

    def test_close_hangs_up_on_a_stalled_request(self):
        self.proxy.faults = _Always("stall")
        connection = self.connect()
        connection.request("GET", "/b/key")
        data.wait_until(lambda: self.proxy.requests, 10, "the request")
        self.proxy.close()
        with self.assertRaises(ConnectionError):
            connection.getresponse()


class OnTheWay(_ProxyTest):
    def test_every_kind_is_tested_here(self):
        """Every kind of fault has a test here."""
        with open(__file__, encoding="utf-8") as text:
            tested = text.read()
        for kind in KINDS:
            self.assertIn(f'"{kind}"', tested)
        self.assertLess(set(PASSING | BUSY), set(KINDS))

    def test_delay(self):
        self.proxy.faults = _Always("delay")
        start = time.monotonic()
        for _ in range(8):
            self.assertEqual(self.ask()[2], BODY)
        self.assertGreater(time.monotonic() - start, 0.08)

    def test_cut_request(self):
        self.proxy.faults = _Always("cut_request")
        for _ in range(10):
            self.assertIn(
                self.outcome("PUT", b"x" * 100_000),
                ("RemoteDisconnected", "ConnectionResetError", "BrokenPipeError"),
            )
        self.assertEqual(self.store.objects, {"/b/key": BODY})
        self.proxy.faults.wait_for(10)
        self.assertEqual(self.ask()[2], BODY)  # which has no body to cut
        self.assertEqual(self.proxy.faults.counts["cut_request"], 10)

    def test_cut_headers(self):
        self.proxy.faults = _Always("cut_headers")
        with socket.create_connection(self.proxy_address(), timeout=20) as connection:
            connection.sendall(b"GET /b/key HTTP/1.1\r\nHost: x\r\n\r\n")
            received = b""
            try:
                while piece := connection.recv(65536):
                    received += piece
            except ConnectionResetError:
                pass
        self.assertNotIn(b"\r\n\r\n", received)
        self.assertTrue(self.store.seen)

    def proxy_address(self):
        url = urllib.parse.urlsplit(self.proxy.endpoint)
        return url.hostname, url.port

    def test_cut_and_truncated_answers(self):
        for kind in ("cut_answer", "truncate_answer"):
            self.proxy.faults = _Always(kind)
            for _ in range(10):
                self.assertIn(self.outcome(), ("IncompleteRead", "ConnectionResetError"))

    def test_truncate_request(self):
        self.proxy.faults = _Always("truncate_request")
        self.assertEqual(self.ask("PUT", b"x" * 1000)[0], 400)
        self.assertLess(len(self.store.seen[0][1]), 1000)
        self.assertEqual(self.store.objects, {"/b/key": BODY})

    def test_corrupt_answer(self):
        self.proxy.faults = _Always("corrupt_answer")
        body = self.ask()[2]
        wrong = [(a ^ b) for a, b in zip(body, BODY) if a != b]
        self.assertEqual((len(body), [bin(bits).count("1") for bits in wrong]), (len(BODY), [1]))
        # What has no checksum is left alone.
        self.assertEqual(self.ask(headers={"Range": "bytes=10-19"})[2], BODY[10:20])
        self.assertEqual(self.ask(path="/b/absent")[0], 404)
        self.assertEqual(self.proxy.faults.counts["corrupt_answer"], 1)

    def test_corrupt_request(self):
        self.proxy.faults = _Always("corrupt_request")
        self.assertEqual(self.ask("PUT", b"x" * 1000)[0], 400)
        self.assertEqual(len(self.store.seen[0][1]), 1000)
        self.assertEqual(self.store.objects, {"/b/key": BODY})

    def test_shorter_answer(self):
        self.proxy.faults = _Always("shorter_answer")
        status, headers, body = self.ask()
        self.assertEqual((status, int(headers["Content-Length"])), (200, len(body)))
        self.assertLess(len(body), len(BODY))

    def test_duplicate(self):
        self.proxy.faults = _Always("duplicate")
        self.assertEqual(self.ask("PUT", b"abc")[0], 200)
        self.assertEqual(self.store.seen, [("PUT", b"abc")] * 2)


class LateChange(_ProxyTest):
    """late: a change that arrives after a newer one has been answered."""

    def test_nobody_waits_for_it(self):
        self.proxy.faults = _Always("late")
        self.assertEqual(self.outcome("PUT", b"old"), "RemoteDisconnected")
        self.proxy.faults = None
        self.assertEqual(self.ask("PUT", b"new")[0], 200)
        data.wait_until(lambda: len(self.store.seen) == 2, 10, "the late one")
        self.assertCountEqual([body for _, body in self.store.seen], [b"old", b"new"])


class LateRepetition(_ProxyTest):
    """duplicate_late: the order of changes."""

    def setUp(self):
        super().setUp()
        self.proxy.faults = _Always("duplicate_late")
        self.assertEqual(self.outcome("PUT", b"old"), "RemoteDisconnected")
        self.proxy.faults = None

    def test_retry_is_answered_when_it_has_arrived(self):
        self.assertEqual(self.ask("PUT", b"old")[0], 200)
        self.assertEqual(self.store.seen, [("PUT", b"old")] * 3)

    def test_newer_change_waits_for_it(self):
        self.assertEqual(self.ask("PUT", b"new")[0], 200)
        self.assertEqual([body for _, body in self.store.seen], [b"old", b"old", b"new"])

    def test_removal_of_many_waits_for_it(self):
        self.ask("POST", b"keys", "/b?delete")
        self.assertEqual([body for _, body in self.store.seen], [b"old", b"old", b"keys"])

    def test_others_do_not_wait(self):
        self.ask("PUT", b"other", "/b/other")
        self.ask()
        self.assertEqual(len(self.store.seen), 3)
        data.wait_until(lambda: len(self.store.seen) == 4, 10, "the late one")

    def test_puts_at_one_time_are_counted(self):
        self.assertEqual(self.proxy.most_puts, 1)


class Answers(_ProxyTest):
    def test_statuses(self):
        for kind, status in {
            "status_400": 400, "status_409": 409, "status_429": 429, "status_500": 500,
            "status_503": 503, "status_429_later": 429, "status_503_later": 503,
            "bad_request": 400, "forbidden": 403, "not_found": 404, "precondition_failed": 412,
        }.items():  # fmt: skip
            for options in ({}, {"method": "PUT", "body": b"x"}):
                with self.subTest(kind, **options):
                    self.expect_statuses(kind, status, **options)

    def test_with_and_without_the_words_of_s3(self):
        for kind in ("not_found", "forbidden", "status_500", "status_503", "status_409"):
            self.proxy.faults = _Always(kind)
            bodies = [self.ask()[2] for _ in range(30)]
            self.assertTrue(any(b"<Code>" in body for body in bodies))
            self.assertTrue(any(b"<html>" in body for body in bodies))

    def test_retry_after(self):
        self.proxy.faults = _Always("status_503_later")
        values = {self.ask()[1]["Retry-After"] for _ in range(30)}
        self.assertIn("1", values)
        self.assertTrue(any(value.endswith("GMT") for value in values))

    def test_conditional_requests_are_not_lied_to(self):
        for kind in ("precondition_failed", "lost_answer"):
            self.proxy.faults = _Always(kind)
            status, _, _ = self.ask("PUT", b"x", headers={"If-None-Match": "*"})
            self.assertEqual(status, 200)

    def test_close(self):
        self.proxy.faults = _Always("close")
        for _ in range(6):
            self.assertIn(self.outcome(), ("RemoteDisconnected", "ConnectionResetError"))
        self.assertEqual(self.store.seen, [])

    def test_lost_answer(self):
        self.proxy.faults = _Always("lost_answer")
        seen = set()
        for _ in range(20):
            self.store.objects.clear()
            outcome = self.outcome("PUT", b"abc")
            self.assertEqual(self.store.objects, {"/b/key": b"abc"})
            seen.add(outcome if isinstance(outcome, str) else outcome[0])
        self.assertLessEqual({"RemoteDisconnected", 500}, seen)

    def test_stall(self):
        self.proxy.faults = _Always("stall")
        self.assertEqual(self.outcome(connection=self.connect(PATIENCE_S)), "TimeoutError")
        self.assertEqual(self.store.seen, [])

    def test_stall_answer(self):
        self.proxy.faults = _Always("stall_answer")
        self.assertEqual(self.outcome(connection=self.connect(PATIENCE_S)), "TimeoutError")
        self.assertTrue(self.store.seen)


if __name__ == "__main__":
    unittest.main()
