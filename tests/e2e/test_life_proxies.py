"""The whole life of volumes through nginx, HAProxy and squid, before Ceph's gateway, which looks at
signatures; and what is said where a proxy's configuration does not fit."""

import os
import unittest
import unittest.mock

import nbd

from e2e.service_life import BehindAProxy, CoreCases, LifeCase
from e2e.stores import GatewayStore, gateway
from servers.memory_s3 import MemoryS3
from servers.proxies import Haproxy, Nginx, Squid
from support.data import random_bytes
from support.nbdkit import Nbdkit, run_expecting_failure

MIB = 1 << 20


class NginxThatKeepsBodies(BehindAProxy, LifeCase):
    """As it is by default: a body is there before the service hears of the request."""

    make_proxy = Nginx


class NginxThatPassesBodiesOn(BehindAProxy, LifeCase):
    """proxy_request_buffering off."""

    @staticmethod
    def make_proxy(upstream):
        """Neither direction is kept."""
        settings = "client_max_body_size 0; proxy_request_buffering off; proxy_buffering off;"
        return Nginx(upstream, settings)


class HaproxyBefore(BehindAProxy, LifeCase):
    """Its backend's connections are others' too."""

    make_proxy = Haproxy


class ThroughSquid(CoreCases, LifeCase):
    """Requests for http:// as a forward proxy gets them, which keeps what it may in memory."""

    requests = 150

    @classmethod
    def setUpClass(cls):
        cls.service = gateway()
        cls.proxy = Squid()
        cls.addClassCleanup(cls.proxy.stop)
        cls.proxy.start()
        variables = unittest.mock.patch.dict(os.environ, {"http_proxy": cls.proxy.url})
        variables.start()
        cls.addClassCleanup(variables.stop)

    @classmethod
    def tearDownClass(cls):
        target = f"PUT {cls.service.endpoint}/"
        if not any(request.startswith(target) for request in cls.proxy.requests()):
            raise AssertionError("no request went through the proxy")


class Misfits(unittest.TestCase):
    """The reason is named, at once."""

    def start(self, proxy):
        """Until the test ends."""
        self.addCleanup(proxy.stop)
        proxy.start()
        return proxy

    def test_body_that_is_too_long_for_nginx(self):
        """client_max_body_size is 1 MiB by default: larger objects need another one."""
        for how in {}, {"tls": True, "http2": True}:
            with self.subTest(**how), MemoryS3({"disk": {}}) as s3:
                proxy = self.start(Nginx(s3.endpoint, settings="", **how))
                parameters = s3.parameters("disk") | {"endpoint-url": proxy.endpoint}
                if proxy.ca_file:
                    parameters |= {"ca-file": proxy.ca_file, "http2": "true"}
                words = [f"{name}={value}" for name, value in parameters.items()]
                with Nbdkit("s3", *words, "size=8M", "object-size=2M") as server:
                    handle = server.connect()
                    with self.assertRaises(nbd.Error):
                        handle.pwrite(random_bytes(1, 2 * MIB), 0)
                    self.assertIn("413", server.log())
                    self.assertIn("client_max_body_size", server.log())

    def test_proxy_that_changes_the_host(self):
        """The signature covers it; Ceph looks."""
        proxy = self.start(Nginx(gateway().endpoint, host="$proxy_host"))
        store = GatewayStore(gateway(), proxy.endpoint)
        self.addCleanup(store.close)
        _, errors = run_expecting_failure(*store.volume(size="1M"))
        self.assertIn("403 SignatureDoesNotMatch", errors)
        self.assertIn("Host", errors)


if __name__ == "__main__":
    unittest.main()
