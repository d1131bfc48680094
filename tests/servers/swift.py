"""OpenStack Swift with its S3 API, from Debian packages: one process each for accounts, containers,
objects and the proxy, and memcached, which its authentication needs. Objects are files in a
directory that must be able to hold extended attributes.

    with Swift() as s3:
        s3.client().create_bucket("disk")

Swift adds the middleware of its own that a pipeline lacks; this one is the shortest that its
documentation allows for S3.
"""

import getpass

from servers.daemons import Daemons, StartedWhole
from servers.s3_service import S3Service
from support import data

_PACKAGES = {
    "memcached": "memcached",
    "setpriv": "util-linux",
    "swift-account-server": "swift-account",
    "swift-container-server": "swift-container",
    "swift-object-server": "swift-object",
    "swift-proxy-server": "swift-proxy",
    "swift-ring-builder": "swift",
}
_PARTS = ("account", "container", "object")

_COMMON = """\
[swift-hash]
swift_hash_path_prefix = nbdstack
swift_hash_path_suffix = nbdstack
[storage-policy:0]
name = only
default = yes
"""
_DEFAULT = """\
[DEFAULT]
swift_dir = {directory}
devices = {directory}/devices
mount_check = false
disable_fallocate = true
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
log_level = WARNING
"""
_PART = """\
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""
_PROXY = """\
[pipeline:main]
pipeline = catch_errors gatekeeper cache s3api tempauth bulk slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
[filter:s3api]
use = egg:swift#s3api
max_bucket_listing = {page}
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
"""


class Swift(StartedWhole, S3Service):
    """The service, from start() to stop(). `page`: how many objects a listing shows at a time."""

    def __init__(self, page=1000):
        self._page = page
        self._daemons = Daemons(_PACKAGES)
        self._ports = {name: data.free_port() for name in (*_PARTS, "proxy", "memcached")}
        super().__init__(f"http://127.0.0.1:{self._ports['proxy']}", "test:tester", "testing")

    def start_all(self):
        self._configure()
        memcached = ["memcached", "-l", "127.0.0.1", "-p", self._ports["memcached"], "-U", "0"]
        self._daemons.spawn("memcached", *memcached, "-m", "16", "-u", getpass.getuser())
        for name in (*_PARTS, "proxy"):
            conf = self._daemons.directory / f"{name}.conf"
            self._daemons.spawn(name, f"swift-{name}-server", conf, "verbose")
        for name in (*_PARTS, "proxy"):
            self._daemons.wait_for_http(name, self._ports[name])

    def stop(self):
        """Ends all of it. Safe to call twice."""
        self._daemons.stop()

    def _configure(self):
        directory = self._daemons.directory
        (directory / "devices" / "disk").mkdir(parents=True)
        (directory / "swift.conf").write_text(_COMMON)
        for name in _PARTS:
            builder = directory / f"{name}.builder"
            self._daemons.run("swift-ring-builder", builder, "create", "4", "1", "1")
            device = f"r1z1-127.0.0.1:{self._ports[name]}/disk"
            self._daemons.run("swift-ring-builder", builder, "add", device, "1")
            self._daemons.run("swift-ring-builder", builder, "rebalance")
            self._write(name, _DEFAULT + _PART)
        self._write("proxy", _DEFAULT + _PROXY)

    def _write(self, name, text):
        values = {"name": name, "port": self._ports[name], "memcached": self._ports["memcached"]}
        values |= {"directory": self._daemons.directory, "user": getpass.getuser()}
        values["page"] = self._page
        (self._daemons.directory / f"{name}.conf").write_text(text.format(**values))
