"""HTTP/2, which nginx and HAProxy offer over TLS: spoken where it is wanted, one request at a time
on a connection, and no fault of a connection is a client's."""

import threading
import unittest

import nbd

from e2e.service_life import BehindAProxy, LifeCase
from e2e.stores import GatewayStore
from servers import faults
from servers.faulty_http import FaultyProxy
from servers.memory_s3 import MemoryS3
from servers.proxies import Haproxy, Nginx
from support import data
from support.nbdkit import Nbdkit

KIB, MIB = 1 << 10, 1 << 20
SIZE = 8 * MIB


class _TlsStore(GatewayStore):
    """A bucket behind a proxy with a certificate of its own."""

    def __init__(self, service, proxy):
        super().__init__(service, proxy.endpoint)
        self._ca_file = proxy.ca_file

    def _parameters(self):
        return super()._parameters() | {"ca-file": self._ca_file, "http2": "true"}


class _Http2Life(BehindAProxy):
    """A service that speaks it."""

    def make_store(self):
        return _TlsStore(self.service, self.proxy)


class NginxHttp2(_Http2Life, LifeCase):
    """And it ends a connection after 20 requests (GOAWAY)."""

    @staticmethod
    def make_proxy(upstream):
        """Bodies of any length."""
        settings = "client_max_body_size 64m; keepalive_requests 20;"
        return Nginx(upstream, settings, tls=True, http2=True)

    @classmethod
    def tearDownClass(cls):
        versions = {request.split()[-1] for request in cls.proxy.requests()}
        if versions != {"HTTP/2.0"}:
            raise AssertionError(f"spoken: {versions}")


class HaproxyHttp2(_Http2Life, LifeCase):
    """With other windows and another notion of idle connections."""

    @staticmethod
    def make_proxy(upstream):
        """TLS with both versions."""
        return Haproxy(upstream, http2=True)


class Connections(unittest.TestCase):
    """nginx with HTTP/2 before a service in this process."""

    def setUp(self):
        self.s3 = self.enterContext(MemoryS3({"disk": {}}))
        self.faulty = self.enterContext(FaultyProxy(self.s3.endpoint))

    def start(self, settings=""):
        """An nginx."""
        settings = f"client_max_body_size 64m; proxy_request_buffering off; {settings}"
        proxy = Nginx(self.faulty.endpoint, settings, tls=True, http2=True)
        self.addCleanup(proxy.stop)
        proxy.start()
        return proxy

    def serve(self, proxy, http2="true"):
        """A server of a volume behind it, with HTTP/2."""
        parameters = self.s3.parameters("disk") | {"endpoint-url": proxy.endpoint}
        parameters |= {"ca-file": proxy.ca_file, "key": "v", "size": SIZE, "object-size": MIB}
        parameters["http2"] = http2
        words = [f"{name}={value}" for name, value in parameters.items() if value is not None]
        server = Nbdkit("s3", *words)
        self.addCleanup(server.stop)
        return server

    def in_parallel(self, server, work):
        """work(handle, number) for each MiB of the disk, at the same time."""
        failures = []

        def run(number):
            try:
                work(server.connect(), number)
            except Exception as error:  # pylint: disable=broad-except
                failures.append(error)

        threads = [threading.Thread(target=run, args=(number,)) for number in range(SIZE // MIB)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])

    def write_all(self, server):
        """The whole disk at once, and what is on it then."""
        content = data.random_bytes(1, SIZE)
        self.in_parallel(
            server, lambda handle, i: handle.pwrite(content[i * MIB : (i + 1) * MIB], i * MIB)
        )
        return content

    def test_streams_that_are_reset(self):
        """The upstream hangs up in the midst of an answer, which is RST_STREAM then: read again."""
        proxy = self.start()
        server = self.serve(proxy)
        content = self.write_all(server)
        self.faulty.script(*[faults.cut_body(1000)] * 4, method="GET", path="000000000")

        def read(handle, number):
            self.assertEqual(handle.pread(MIB, number * MIB), content[number * MIB :][:MIB])

        self.in_parallel(server, read)
        self.assertEqual(self.faulty.count("GET", "000000000"), SIZE // MIB + 4)

    def test_uploads_that_are_refused_before_their_end(self):
        """An answer while the body is still on its way."""
        proxy = self.start()
        server = self.serve(proxy)
        self.faulty.script(*[faults.status(503, "SlowDown")] * 3, method="PUT", path="000000000")
        content = self.write_all(server)
        self.assertEqual(server.connect().pread(SIZE, 0), content)

    def test_proxy_that_is_restarted(self):
        """All connections die while they carry requests, and while they are idle."""
        proxy = self.start()
        server = self.serve(proxy)
        content = self.write_all(server)
        gate = threading.Event()
        self.faulty.script(faults.stall(gate), method="GET", path="000000000")
        handle, buffer = server.connect(), nbd.Buffer(MIB)
        read = handle.aio_pread(buffer, 0)
        handle.poll(0)
        self.faulty.wait_for(1, "GET", "000000000")
        proxy.end()
        gate.set()
        proxy.launch()
        while not handle.aio_command_completed(read):
            handle.poll(1000)
        self.assertEqual(buffer.to_bytearray(), content[:MIB])
        self.assertEqual(server.connect().pread(SIZE, 0), content)

    def test_http1_where_nothing_else_is_wanted(self):
        """http2=false, which is the default: HTTP/2 costs more and gains nothing."""
        proxy = self.start()
        server = self.serve(proxy, http2=None)
        self.write_all(server)
        self.assertEqual(server.terminate(), 0, server.log())
        self.assertEqual({line.split()[-1] for line in proxy.requests()}, {"HTTP/1.1"})


if __name__ == "__main__":
    unittest.main()
