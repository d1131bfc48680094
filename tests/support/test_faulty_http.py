"""The proxy does each of its faults, seen by a plain HTTP client, and counts right."""

import http.client
import http.server
import threading
import unittest
import urllib.parse

from servers import faults
from servers.faulty_http import FaultyProxy

BODY = bytes(range(256)) * 4


class _Store(http.server.BaseHTTPRequestHandler):
    """The upstream: GET serves BODY (or a range of it), PUT stores, and tells the Host it saw."""

    protocol_version = "HTTP/1.1"
    stored = {}

    def do_GET(self):
        body, status = BODY, 200
        if wanted := self.headers.get("Range"):
            first, last = map(int, wanted.removeprefix("bytes=").split("-"))
            body, status = BODY[first : last + 1], 206
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(BODY)}")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Host-Seen", self.headers["Host"])
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def do_PUT(self):
        self.stored[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class _ProxyTest(unittest.TestCase):
    """A store and a proxy before it."""

    def setUp(self):
        _Store.stored = {}
        store = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Store)
        thread = threading.Thread(target=store.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        self.addCleanup(store.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(store.shutdown)
        self.proxy = FaultyProxy(f"http://127.0.0.1:{store.server_port}").__enter__()
        self.addCleanup(self.proxy.close)

    def connect(self):
        url = urllib.parse.urlsplit(self.proxy.endpoint)
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=20)
        self.addCleanup(connection.close)
        return connection

    def ask(self, *script, method="GET", body=None, headers=None, connection=None):
        """One request under a fault; (status, headers, body)."""
        self.proxy.script(*script)
        connection = connection or self.connect()
        connection.request(method, "/b/key?x=1", body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


class Faults(_ProxyTest):
    def test_passes_untouched_with_the_clients_host(self):
        status, headers, body = self.ask(headers={"Host": "bucket.example:1"})
        self.assertEqual((status, body), (200, BODY))
        self.assertEqual(headers["X-Host-Seen"], "bucket.example:1")

    def test_keeps_the_connection_alive(self):
        connection = self.connect()
        for _ in range(2):
            self.assertEqual(self.ask(connection=connection)[2], BODY)
            self.assertIsNotNone(connection.sock)

    def test_head_keeps_the_length(self):
        status, headers, body = self.ask(method="HEAD")
        self.assertEqual((status, headers["Content-Length"], body), (200, str(len(BODY)), b""))

    def test_chunked_put_reaches_the_store(self):
        self.ask(method="PUT", body=iter([b"ab", b"cde"]))
        self.assertEqual(_Store.stored, {"/b/key?x=1": b"abcde"})

    def test_cut_body(self):
        with self.assertRaises(http.client.IncompleteRead) as cut:
            self.ask(faults.cut_body(100))
        self.assertEqual(cut.exception.partial, BODY[:100])

    def test_longer_body_with_honest_length(self):
        self.assertEqual(self.ask(faults.longer_body(3))[2], BODY + b"JJJ")

    def test_longer_body_as_stray_bytes(self):
        connection = self.connect()
        self.proxy.script(faults.longer_body(3, honest_length=False))
        connection.connect()
        connection.sock.sendall(b"GET /b/key HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        while not received.endswith(b"JJJ"):
            received += connection.sock.recv(65536)
        self.assertIn(f"Content-Length: {len(BODY)}\r\n".encode(), received)
        self.assertTrue(received.endswith(BODY + b"JJJ"))

    def test_shorter_body(self):
        status, headers, body = self.ask(faults.shorter_body(6))
        self.assertEqual((status, headers["Content-Length"]), (200, str(len(BODY) - 6)))
        self.assertEqual(body, BODY[:-6])

    def test_flip_byte(self):
        body = self.ask(faults.flip_byte(5))[2]
        self.assertEqual([i for i in range(len(BODY)) if body[i] != BODY[i]], [5])

    def test_replace_body(self):
        self.assertEqual(self.ask(faults.replace_body(b"old"))[2], b"old")

    def test_status_with_s3_error_never_reaches_the_store(self):
        script = faults.status(503, "SlowDown", "busy", headers=[("Retry-After", "1")])
        status, headers, body = self.ask(script, method="PUT", body=b"x")
        self.assertEqual((status, headers["Retry-After"]), (503, "1"))
        self.assertIn(b"<Code>SlowDown</Code><Message>busy</Message>", body)
        self.assertEqual(_Store.stored, {})

    def test_wrong_status_and_wrong_range(self):
        ranged = {"Range": "bytes=10-19"}
        self.assertEqual(self.ask(headers=ranged)[0], 206)
        status, _, body = self.ask(faults.wrong_status(200), headers=ranged)
        self.assertEqual((status, body), (200, BODY[10:20]))
        _, headers, _ = self.ask(faults.wrong_range("bytes 0-9/99"), headers=ranged)
        self.assertEqual(headers.get_all("Content-Range"), ["bytes 0-9/99"])

    def test_drop_before_and_after(self):
        for fault, stored in ((faults.drop_before, False), (faults.drop_after, True)):
            for reset in (False, True):
                _Store.stored.clear()
                with self.assertRaises(ConnectionError):
                    self.ask(fault(reset), method="PUT", body=b"x")
                self.assertEqual(bool(_Store.stored), stored)
                self.assertEqual(self.proxy.requests[-1].forwarded, stored)

    def test_stall_forwards_when_released(self):
        release, done = threading.Event(), []
        self.proxy.script(faults.stall(release))
        thread = threading.Thread(target=lambda: done.append(self.ask(method="PUT", body=b"x")))
        thread.start()
        self.proxy.wait_for(1, "PUT")
        self.assertEqual((_Store.stored, len(self.proxy.in_flight())), ({}, 1))
        release.set()
        thread.join()
        self.assertEqual((done[0][0], len(self.proxy.in_flight())), (200, 0))

    def test_stall_body_sends_the_rest_when_released(self):
        release = threading.Event()
        self.proxy.script(faults.stall_body(10, release))
        connection = self.connect()
        connection.request("GET", "/b/key")
        answer = connection.getresponse()
        self.assertEqual(answer.read(10), BODY[:10])
        release.set()
        self.assertEqual(answer.read(), BODY[10:])

    def test_delays_keep_the_answer(self):
        self.assertEqual(self.ask(faults.delay(0.05))[2], BODY)
        self.assertEqual(self.ask(faults.delay_answer(0.05))[2], BODY)

    def test_close_hangs_up_on_a_stalled_request(self):
        connection = self.connect()
        self.proxy.script(faults.stall(threading.Event()))
        connection.request("GET", "/b/key")
        self.proxy.wait_for(1)
        self.proxy.close()
        with self.assertRaises(ConnectionError):
            connection.getresponse()

    def test_close_ends_connections_kept_alive(self):
        connection = self.connect()
        self.ask(connection=connection)
        self.proxy.close()
        with self.assertRaises(ConnectionError):
            self.ask(connection=connection)

    def test_dead_upstream_is_a_dropped_connection(self):
        with FaultyProxy("http://127.0.0.1:1") as proxy:
            self.proxy, mine = proxy, self.proxy
            with self.assertRaises(ConnectionError):
                self.ask()
            self.proxy = mine


class Remembering(_ProxyTest):
    def test_script_meets_matching_requests_in_order(self):
        self.proxy.script(faults.status(500), faults.status(501), method="PUT")
        codes = [self.ask(method=m, body=b"")[0] for m in ("GET", "PUT", "GET", "PUT", "PUT")]
        self.assertEqual(codes, [200, 500, 200, 501, 200])
        self.assertEqual([self.proxy.count(m) for m in ("GET", "PUT", None)], [2, 3, 5])
        met = [request.fault for request in self.proxy.matching("PUT")]
        self.assertEqual(met, ["status", "status", "passed"])

    def test_behaviour_decides_by_request(self):
        self.proxy.behaviour = lambda r: faults.status(418) if r.headers.get("X") == "1" else None
        self.assertEqual(self.ask(headers={"X": "1"})[0], 418)
        self.assertEqual(self.ask()[0], 200)

    def test_wrong_behaviour_fails_the_test(self):
        with self.assertRaises(ZeroDivisionError), FaultyProxy("http://127.0.0.1:1") as proxy:
            proxy.behaviour = lambda request: 1 // 0
            self.proxy, mine = proxy, self.proxy
            with self.assertRaises(ConnectionError):
                self.ask()
            self.proxy = mine

    def test_two_puts_of_one_object_in_flight_are_seen(self):
        release = threading.Event()
        self.proxy.script(faults.stall(release), faults.stall(release))
        threads = [
            threading.Thread(target=self.ask, kwargs={"method": "PUT", "body": b"x"})
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        self.proxy.wait_for(2, "PUT", "/b/key")
        release.set()
        for thread in threads:
            thread.join()
        self.assertEqual(self.proxy.most_in_flight("PUT", "/b/key"), 2)

    def test_puts_one_after_the_other_are_not_taken_for_two_in_flight(self):
        for _ in range(20):
            self.ask(method="PUT", body=b"x")
        self.assertEqual(self.proxy.most_in_flight("PUT", "/b/key"), 1)


if __name__ == "__main__":
    unittest.main()
