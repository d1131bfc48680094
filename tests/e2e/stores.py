"""Where the objects of an end-to-end test live: a local directory or Ceph's gateway, looked at and
tampered with in the same words.

    store = LocalStore()            # or GatewayStore(gateway())
    with Nbdkit(*store.volume(size="64M")) as server: ...
    store.corrupt(store.block_keys()[0])
"""

import atexit
import os
import pathlib
import re
import shutil
import tempfile
import unittest

from servers.rgw import RadosGateway

_BLOCK_NAME = re.compile(r"(?:.*/)?[0-9a-f]{16}")
_gateways = []


def gateway():
    """The test module's one RadosGateway: started when first asked for, stopped after its tests."""
    if not _gateways:
        server = RadosGateway()
        _gateways.append(server)
        atexit.register(server.stop)
        unittest.addModuleCleanup(_gateways.clear)
        unittest.addModuleCleanup(server.stop)
        server.start()
    return _gateways[0]


class _Store:
    """What both have in common. `bucket` is one of its own."""

    bucket = "disk"

    def volume(self, **parameters):
        """Words of nbdkit's command line that serve this bucket: the plugin and its parameters.
        `object_size` stands for object-size=, and so on; None removes one."""
        merged = self._parameters() | {n.replace("_", "-"): v for n, v in parameters.items()}
        return ["s3", *(f"{name}={value}" for name, value in merged.items() if value is not None)]

    def block_keys(self):
        """The keys of all block objects, in order."""
        return sorted(key for key in self.keys() if _BLOCK_NAME.fullmatch(key))

    def corrupt(self, key, index=0):
        """Inverts a byte of an object's body, leaving whatever vouches for it as it was."""
        body = bytearray(self.body(key))
        body[index] ^= 0xFF
        self.replace(key, bytes(body))

    def truncate(self, key, size_bytes):
        """Cuts an object's body, leaving whatever vouches for it as it was."""
        self.replace(key, self.body(key)[:size_bytes])


class LocalStore(_Store):
    """endpoint-url=file://DIRECTORY, in a temporary directory until close()."""

    name = "file"

    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="objects-"))

    def close(self):
        """Removes all objects."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _parameters(self):
        return {"bucket": self.bucket, "endpoint-url": f"file://{self.directory}"}

    def keys(self):
        """Every object's key."""
        return [str(path.relative_to(self.directory / self.bucket)) for path in self._files()]

    def _files(self):
        """Every file below the bucket. Directories of a server at work come and go meanwhile."""
        walk = os.walk(self.directory / self.bucket)
        return [pathlib.Path(folder, name) for folder, _, names in walk for name in names]

    def body(self, key):
        """The file as it lies there: the object's body and what the store keeps behind it."""
        return (self.directory / self.bucket / key).read_bytes()

    def replace(self, key, body):
        """Overwrites the file."""
        (self.directory / self.bucket / key).write_bytes(body)

    def allocated_bytes(self):
        """Disk space of all objects."""
        return sum(path.stat().st_blocks * 512 for path in self._files())


class GatewayStore(_Store):
    """A bucket in a RadosGateway, until close(). `endpoint`: a proxy's instead of its own."""

    name = "rgw"
    _number = 0

    def __init__(self, server, endpoint=None):
        GatewayStore._number += 1
        self.server, self.bucket = server, f"disk-{GatewayStore._number}"
        self.endpoint = endpoint or server.endpoint
        self.client = server.client()
        try:
            self.client.create_bucket(self.bucket)
        except TimeoutError:
            raise AssertionError(f"no bucket is made: {server.evidence()}") from None

    def close(self):
        """Deletes the bucket with all objects."""
        self.client.delete_bucket(self.bucket)

    def _parameters(self):
        return {
            "bucket": self.bucket,
            "endpoint-url": self.endpoint,
            "region": self.server.region,
            "access-key": self.server.access_key,
            "secret-key": self.server.secret_key,
        }

    def keys(self):
        """Every object's key."""
        return self.client.keys(self.bucket)

    def body(self, key):
        """An object's bytes."""
        return self.client.get(self.bucket, key)

    def replace(self, key, body):
        """Other bytes under the same key and metadata."""
        kept = self.client.metadata(self.bucket, key)
        headers = {f"x-amz-meta-{name}": value for name, value in kept.items()}
        self.client.put(self.bucket, key, body, headers)

    def allocated_bytes(self):
        """The sum of all objects' sizes."""
        return sum(item.size_bytes for item in self.client.list(self.bucket))
