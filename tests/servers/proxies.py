"""Debian's nginx, HAProxy and squid, between a volume and its service: each with the configuration
that its documentation begins with, but for what a test adds.

    with Nginx(s3.endpoint) as proxy: ... proxy.endpoint ...
    with Squid() as proxy: ... nbdkit with https_proxy=proxy.url ...
"""

import grp
import pwd
import urllib.parse

from servers import rgw_setup
from servers.daemons import Daemons, StartedWhole
from support import data


def _nobody():
    """A user whom squid takes for its own when it is started by root."""
    user = pwd.getpwnam("nobody")
    return user.pw_name, grp.getgrgid(user.pw_gid).gr_name


class _Proxy(StartedWhole):
    """From start() to stop(); `port` on 127.0.0.1."""

    packages = {}
    name = ""

    def __init__(self):
        self.daemons = Daemons(self.packages | {"setpriv": "util-linux"})
        self.directory = self.daemons.directory
        self.port = data.free_port()

    def start_all(self):
        self.configure()
        self.launch()

    def configure(self):
        """Writes its files."""
        raise NotImplementedError

    def launch(self):
        """Starts it, also again after end()."""
        raise NotImplementedError

    def end(self):
        """Kills it; its files stay."""
        self.daemons.end(self.name)

    def stop(self):
        """Ends it and removes its files. Safe to call twice."""
        self.daemons.stop()


_NGINX = """\
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
    access_log {directory}/access.log combined;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port}{listen};
        {tls}
        location / {{
            proxy_pass {upstream};
            proxy_http_version 1.1;
            proxy_set_header Host {host};
            proxy_set_header Connection "";
        }}
        {settings}
    }}
}}
"""


class Nginx(_Proxy):
    """A reverse proxy for `upstream`. `settings`: lines for the server block. `tls`: https, with a
    certificate of the authority in `ca_file`; `http2`: and HTTP/2 is offered. `host`: what the
    upstream is told as the host that was asked for."""

    packages = {"nginx": "nginx", "openssl": "openssl"}
    name = "nginx"

    def __init__(
        self, upstream, settings="client_max_body_size 64m;", tls=False, http2=False,
        host="$http_host",
    ):  # fmt: skip
        super().__init__()
        self._upstream, self._settings, self._tls, self._http2 = upstream, settings, tls, http2
        self._host = host
        self.ca_file = None
        self.endpoint = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    def configure(self):
        """The server's block, and a certificate where there is TLS."""
        tls = listen = ""
        if self._tls:
            self.ca_file, certificate = rgw_setup.make_certificates(
                self.directory, self.daemons.run
            )
            tls = f"ssl_certificate {certificate}; ssl_certificate_key {certificate};"
            listen = " ssl http2" if self._http2 else " ssl"
        (self.directory / "nginx.conf").write_text(
            _NGINX.format(
                directory=self.directory, port=self.port, upstream=self._upstream,
                settings=self._settings, tls=tls, listen=listen, host=self._host,
            )  # fmt: skip
        )

    def launch(self):
        """Answers with the upstream's answers, or 502."""
        self.daemons.spawn(self.name, "nginx", "-p", self.directory, "-c", "nginx.conf")
        self.daemons.wait_for(self.name, lambda: data.listens(self.port))

    def requests(self):
        """The request lines and protocols so far: 'PUT /disk/0 HTTP/2.0' ..."""
        lines = (self.directory / "access.log").read_text().splitlines()
        return [line.split('"')[1] for line in lines]


_HAPROXY = """\
global
    log stderr format raw local0 notice
    tune.ssl.default-dh-param 2048
defaults
    log global
    mode http
    timeout connect 5s
    timeout client 50s
    timeout server 50s
frontend s3
    bind 127.0.0.1:{port}{tls}
    default_backend service
backend service
    server one {upstream}
"""


class Haproxy(_Proxy):
    """A reverse proxy with Debian's default timeouts. `http2`: https, where it is offered."""

    packages = {"haproxy": "haproxy", "openssl": "openssl"}
    name = "haproxy"

    def __init__(self, upstream, http2=False):
        super().__init__()
        self._upstream, self._http2, self.ca_file = upstream, http2, None
        self.endpoint = f"{'https' if http2 else 'http'}://127.0.0.1:{self.port}"

    def configure(self):
        """One frontend, one backend."""
        tls = ""
        if self._http2:
            self.ca_file, certificate = rgw_setup.make_certificates(
                self.directory, self.daemons.run
            )
            tls = f" ssl crt {certificate} alpn h2,http/1.1"
        upstream = urllib.parse.urlsplit(self._upstream).netloc
        (self.directory / "haproxy.cfg").write_text(
            _HAPROXY.format(port=self.port, upstream=upstream, tls=tls)
        )

    def launch(self):
        """Answers with the upstream's answers, or 503."""
        self.daemons.spawn(self.name, "haproxy", "-db", "-f", self.directory / "haproxy.cfg")
        self.daemons.wait_for(self.name, lambda: data.listens(self.port))


_SQUID = """\
http_port 127.0.0.1:{port}
pid_filename none
visible_hostname localhost
cache_effective_user {user}
cache_effective_group {group}
access_log stdio:{directory}/access.log squid
cache_log {directory}/cache.log
coredump_dir {directory}
shutdown_lifetime 0 seconds
max_filedescriptors 1024
{settings}
"""
# A program that knows one user, in squid's protocol of such helpers.
_AUTHENTICATION = """\
auth_param basic program /bin/sh {directory}/users
auth_param basic realm tests
acl known proxy_auth REQUIRED
http_access allow known
http_access deny all
"""
_USERS = """\
while read -r user word rest; do
    [ "$user $word" = "%s %s" ] && echo OK || echo ERR
done
"""


class Squid(_Proxy):
    """A forward proxy, which carries https by CONNECT. `user`, `password`: who may use it."""

    packages = {"squid": "squid"}
    name = "squid"

    def __init__(self, user=None, password=None, settings=""):
        super().__init__()
        self._user, self._password, self._settings = user, password, settings
        self.url = f"http://127.0.0.1:{self.port}"

    def url_for(self, user, password):
        """With a name and a password."""
        return f"http://{user}:{password}@127.0.0.1:{self.port}"

    def configure(self):
        """Everybody may, or those who know the password."""
        settings = self._settings + "\nhttp_access allow all\n"
        if self._user:
            (self.directory / "users").write_text(_USERS % (self._user, self._password))
            settings = self._settings + _AUTHENTICATION.format(directory=self.directory)
        user, group = _nobody()
        self.directory.chmod(0o777)
        (self.directory / "squid.conf").write_text(
            _SQUID.format(
                directory=self.directory, port=self.port, user=user, group=group, settings=settings
            )
        )

    def launch(self):
        """Passes on from now on."""
        self.daemons.spawn(self.name, "squid", "-N", "-f", self.directory / "squid.conf")
        self.daemons.wait_for(self.name, lambda: data.listens(self.port))

    def requests(self):
        """Method and target of each request that has ended: 'CONNECT 127.0.0.1:443' ..."""
        lines = (self.directory / "access.log").read_text().splitlines()
        return [" ".join(line.split()[5:7]) for line in lines]
