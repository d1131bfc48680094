"""https to the service by CONNECT through squid, with and without a password, and what is said when
the proxy refuses or dies."""

import unittest

import nbd

from servers.memory_s3 import MemoryS3
from servers.proxies import Nginx, Squid
from support import data
from support.nbdkit import Nbdkit, run_expecting_failure

MIB = 1 << 20
CONTENT = data.tagged(1, 0, 4 * MIB)


class ConnectProxy(unittest.TestCase):
    """A service in this process, which nginx gives TLS."""

    @classmethod
    def setUpClass(cls):
        cls.s3 = MemoryS3({"disk": {}})
        cls.s3.start()
        cls.addClassCleanup(cls.s3.stop)
        cls.service = Nginx(cls.s3.endpoint, tls=True, http2=True)
        cls.addClassCleanup(cls.service.stop)
        cls.service.start()

    def start(self, **how):
        """A squid until the test ends."""
        proxy = Squid(**how)
        self.addCleanup(proxy.stop)
        proxy.start()
        return proxy

    def words(self, *more, endpoint=None):
        """nbdkit's."""
        parameters = self.s3.parameters("disk") | {"key": self.id().rsplit(".", 1)[1], "size": "4M"}
        parameters["endpoint-url"] = endpoint or self.service.endpoint
        parameters["ca-file"] = self.service.ca_file
        return ["s3", *(f"{name}={value}" for name, value in parameters.items()), *more]

    def check_works(self, proxy, url):
        """Written by one server, read by another one, by CONNECT and nothing else."""
        for number in range(2):
            with Nbdkit(*self.words(), environment={"https_proxy": url}) as server:
                handle = server.connect()
                if number == 0:
                    handle.pwrite(CONTENT, 0)
                self.assertEqual(handle.pread(4 * MIB, 0), CONTENT)
                self.assertEqual(server.terminate(), 0, server.log())
        seen = [line for line in proxy.requests() if not line.startswith("- ")]
        self.assertGreater(len(seen), 2)
        self.assertEqual({line.split()[0] for line in seen}, {"CONNECT"})

    def check_refused(self, url, *expected, name="https_proxy", endpoint=None):
        """At the start, with the reason and the way out; the password is in no message."""
        words = self.words(endpoint=endpoint)
        _, errors = run_expecting_failure(*words, environment={name: url})
        for each in (*expected, "https_proxy", "http_proxy"):
            self.assertIn(each, errors)
        self.assertNotIn("gave up after", errors)
        self.assertNotIn("nobody-knows", errors)

    def test_without_a_password(self):
        """As most are."""
        proxy = self.start()
        self.check_works(proxy, proxy.url)

    def test_with_a_password(self):
        """In the proxy's URL."""
        proxy = self.start(user="joe", password="secret")
        self.check_works(proxy, proxy.url_for("joe", "secret"))

    def test_password_that_is_missing_or_wrong(self):
        """407, from CONNECT and from plain requests."""
        proxy = self.start(user="joe", password="secret")
        for url in proxy.url, proxy.url_for("joe", "nobody-knows"):
            self.check_refused(url, "407")
            self.check_refused(url, "407", name="http_proxy", endpoint=self.s3.endpoint)

    def test_service_that_the_proxy_does_not_allow(self):
        """Debian's squid lets CONNECT through to port 443 only."""
        rules = "acl SSL_ports port 443\nhttp_access deny CONNECT !SSL_ports"
        self.check_refused(self.start(settings=rules).url, "403")

    def test_exceptions(self):
        """no_proxy."""
        variables = {"https_proxy": "http://127.0.0.1:1", "no_proxy": "127.0.0.1"}
        with Nbdkit(*self.words(), environment=variables) as server:
            server.connect().pwrite(CONTENT, 0)

    def test_proxy_that_dies_and_comes_back(self):
        """A proxy that is away for a moment causes no error."""
        proxy = self.start()
        with Nbdkit(*self.words(), environment={"https_proxy": proxy.url}) as server:
            handle = server.connect()
            handle.pwrite(CONTENT[: 2 * MIB], 0)
            proxy.end()
            buffer = nbd.Buffer.from_bytearray(bytearray(CONTENT[2 * MIB :]))
            write = handle.aio_pwrite(buffer, 2 * MIB)
            handle.poll(100)
            proxy.launch()
            while not handle.aio_command_completed(write):
                handle.poll(1000)
            self.assertEqual(handle.pread(4 * MIB, 0), CONTENT)

    def test_proxy_that_stays_away(self):
        """A proxy that stays away is an error after timeout=, and none once it is back."""
        proxy = self.start()
        environment = {"https_proxy": proxy.url}
        with Nbdkit(*self.words("timeout=2"), environment=environment) as server:
            handle = server.connect()
            proxy.end()
            with self.assertRaises(nbd.Error):
                handle.pwrite(CONTENT[:MIB], 0)
            proxy.launch()
            handle.pwrite(CONTENT[:MIB], 0)
            self.assertEqual(handle.pread(MIB, 0), CONTENT[:MIB])


if __name__ == "__main__":
    unittest.main()
