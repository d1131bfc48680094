"""Debian's Prometheus scrapes nbdstack-metrics of a loaded stack, and its answers are what the client
sent and what the S3 service got."""

import collections
import os
import tempfile
import unittest

from servers.memory_s3 import MemoryS3
from servers.prometheus import Prometheus
from support import data
from support.counted_requests import CountingProxy
from support.metrics_command import MetricsCommand
from support.nbdkit import Nbdkit

MIB = 1 << 20
OPERATIONS = {"PUT": "PutObject", "HEAD": "HeadObject", "DELETE": "DeleteObject", "POST": "DeleteObjects"}


def operation_of(request):
    """S3's name for a request of the proxy's."""
    if request.method != "GET":
        return OPERATIONS[request.method]
    return "ListObjectsV2" if "list-type" in request.query else "GetObject"


class APrometheus(unittest.TestCase):
    def test_it_knows_what_was_done(self):
        """A cache over S3: the client's bytes exactly, and the service's requests by kind and status."""
        with (
            tempfile.TemporaryDirectory() as directory,
            MemoryS3({"disk": {}}) as s3,
            CountingProxy(s3.endpoint) as proxy,
        ):
            parameters = s3.parameters("disk") | {"endpoint-url": proxy.endpoint}
            with (
                Nbdkit(
                    "--filter=cache", "s3", *(f"{k}={v}" for k, v in parameters.items()),
                    "size=64M", "object-size=64K", f"metrics={directory}/vm1",
                ) as server,
                MetricsCommand(directory) as command,
                Prometheus(command.place.split("/")[2]) as prometheus,
            ):  # fmt: skip
                handle = server.connect()
                for offset in range(0, 4 * MIB, 65536):
                    handle.pwrite(os.urandom(65536), offset)
                handle.flush()
                for offset in range(0, 8 * MIB, MIB):
                    handle.pread(MIB, offset)
                self.check(prometheus, proxy)

    def check(self, prometheus, proxy):
        def of_client(name, op):
            found = prometheus.query(f'{name}{{layer="cache",stack="vm1",op="{op}"}}')
            return list(found.values())

        data.wait_until(
            lambda: of_client("nbdstack_request_bytes_total", "read") == [8 * MIB], 60, "the reads")
        self.assertEqual(prometheus.fault(), "")
        self.assertEqual(of_client("nbdstack_request_bytes_total", "write"), [4 * MIB])
        self.assertEqual(of_client("nbdstack_requests_total", "write"), [64])
        self.assertEqual(of_client("nbdstack_requests_total", "flush"), [1])
        measured = prometheus.query("sum by (layer) (nbdstack_up)")
        self.assertEqual(measured, {(("layer", "cache"),): 1, (("layer", "s3"),): 1})

        def agrees():
            counted = collections.Counter(
                (("code", str(r.status)), ("op", operation_of(r))) for r in list(proxy.requests)
            )
            shown = prometheus.query("sum by (op, code) (nbdstack_s3_requests_total)")
            seen.update(counted=dict(counted), shown=shown)
            return shown == counted

        # The lease is renewed meanwhile: both are compared until they are of one moment.
        seen = {}
        try:
            data.wait_until(agrees, 60, "both counts of one moment")
        except TimeoutError:
            self.fail(f"Prometheus and the service have counted otherwise: {seen}")
        self.assertGreaterEqual(seen["counted"][(("code", "200"), ("op", "PutObject"))], 64)


if __name__ == "__main__":
    unittest.main()
