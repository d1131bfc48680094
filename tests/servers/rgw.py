#!/usr/bin/python3
"""A real S3 server for tests: Ceph's RADOS gateway from Debian packages.

One monitor, one OSD, one gateway on loopback, in a directory of their own, without systemd, manager
or root. Objects live in memory unless RadosGateway(store="bluestore") puts them into a file.

    with RadosGateway() as s3:
        s3.client().create_bucket("disk")

By hand, for a developer (stops on SIGINT and SIGTERM):

    tests/servers/rgw.py run /tmp/s3

and, in another shell with the printed environment: rgw.py mb|ls|get|put|rm|head ...
"""

import argparse
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from servers import rgw_setup  # noqa: E402
from servers.daemons import StartedWhole  # noqa: E402
from support import data, s3_client  # noqa: E402

class RadosGatewayError(Exception):
    """The server did not start or a command failed; the message carries the end of its log."""


class RadosGateway(StartedWhole):
    """A running S3 service.

    directory    where everything is kept; a temporary one, removed by stop(), unless given
    store        "memstore" (in memory) or "bluestore" (a sparse file in the directory)
    store_bytes  how much it can hold
    tls          https with a certificate of the CA in `ca_file`, valid for 127.0.0.1, localhost and
                 *.s3.localhost (virtual-host style buckets)
    extra_conf   lines for ceph.conf, e.g. "rgw_max_concurrent_requests = 2" (503 SlowDown)
    frontend     options for the HTTP front end, e.g. "request_timeout_ms=3000"
    """

    def __init__(
        self, directory=None, store="memstore", store_bytes=8 << 30, tls=False, extra_conf="",
        frontend="",
    ):  # fmt: skip
        self._owns_directory = directory is None
        self._directory_given = directory
        self._store, self._store_bytes, self._tls = store, store_bytes, tls
        self._extra_conf, self._frontend = extra_conf, frontend
        self._processes = {}
        self.access_key = "NBDSTACKTESTKEY"
        self.secret_key = "nbdstack/test+secret"
        self.region = "us-east-1"
        self.user = "tester"
        self.directory = self.ca_file = self.port = None

    @property
    def endpoint(self):
        """The service's URL."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def virtual_host_endpoint(self):
        """The same by name: requests to BUCKET.s3.localhost at this port reach the bucket."""
        return f"{'https' if self._tls else 'http'}://{rgw_setup.DOMAIN}:{self.port}"

    def client(self, **changes):
        """An S3Client for this service; `changes` override its arguments (wrong keys, a proxy)."""
        arguments = {
            "endpoint": self.endpoint,
            "access_key": self.access_key,
            "secret_key": self.secret_key,
            "region": self.region,
            "ca_file": self.ca_file,
        }
        return s3_client.S3Client(**(arguments | changes))

    def environment(self):
        """The AWS_* variables that point an S3 client at this service."""
        variables = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
        }
        if self.ca_file:
            variables["AWS_CA_BUNDLE"] = str(self.ca_file)
        return variables

    def start_all(self):
        missing = rgw_setup.missing_packages()
        if missing:
            raise RadosGatewayError(
                "the S3 server needs Debian packages that are missing: apt-get install "
                f"--no-install-recommends {' '.join(missing)}"
            )
        if self._owns_directory:
            self.directory = pathlib.Path(tempfile.mkdtemp(prefix="rgw-"))
        else:
            self.directory = pathlib.Path(self._directory_given).resolve()
            self.directory.mkdir(parents=True, exist_ok=True)
            if any(self.directory.iterdir()):
                raise RadosGatewayError(f"{self.directory}: not empty; name a new directory")
        self._configure()
        self._start_monitor()
        self._start_osd()
        self.start_gateway(wait=False)
        self._create_user()
        self._wait_for_gateway()

    def stop(self):
        """Ends every daemon and removes the temporary directory. Safe to call twice."""
        # Nothing is worth keeping, and the OSD takes seconds to say good-bye: end them at once.
        for name in list(self._processes):
            self._end(name, signal.SIGKILL)
        if self._owns_directory and self.directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def kill_gateway(self):
        """SIGKILLs the gateway alone: connections break, new ones are refused, data stay."""
        self._end("radosgw", signal.SIGKILL)

    def start_gateway(self, wait=True):
        """Starts the gateway after kill_gateway(), on the same port."""
        self._spawn("radosgw", "-n", "client.rgw")
        if wait:
            self._wait_for_gateway()

    def restart_gateway(self):
        """kill_gateway() and start_gateway()."""
        self.kill_gateway()
        self.start_gateway()

    def set_user_quota(self, max_bytes):
        """PUTs that would take a bucket of the user above `max_bytes` (a multiple of 1024) get 403
        QuotaExceeded from now on; None lifts the quota. Counted per bucket: the total over all
        buckets lags by seconds, which no test could wait for reliably."""
        which = ["--quota-scope=bucket", f"--uid={self.user}"]
        if max_bytes is None:
            self._admin("quota", "disable", *which)
            return
        self._admin("quota", "set", *which, f"--max-size={max_bytes}")
        self._admin("quota", "enable", *which)

    def suspend_user(self):
        """Every request gets 403 UserSuspended until enable_user()."""
        self._admin("user", "suspend", f"--uid={self.user}")

    def enable_user(self):
        """Undoes suspend_user()."""
        self._admin("user", "enable", f"--uid={self.user}")

    def evidence(self):
        """For a test to which the service gives no answer: the daemon that has ended, or what the
        OSD is doing and the ends of all logs."""
        self._check_alive()
        doing = self._run("ceph", "--admin-daemon", self.directory / "osd.0.asok", "dump_ops_in_flight")
        return f"the OSD's operations: {doing}\n{self._logs()}"

    def memory_bytes(self):
        """Resident memory of all daemons."""
        pages = 0
        for process in self._processes.values():
            pages += int(pathlib.Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def _configure(self):
        self.port = data.free_port()
        self._fsid, self._mon_port = uuid.uuid4(), data.free_port()
        frontend = f"beast endpoint=127.0.0.1:{self.port}"
        if self._tls:
            self.ca_file, certificate = rgw_setup.make_certificates(self.directory, self._run)
            frontend = f"beast ssl_endpoint=127.0.0.1:{self.port} ssl_certificate={certificate}"
        (self.directory / "ceph.conf").write_text(
            rgw_setup.CONFIGURATION.format(
                fsid=self._fsid,
                mon_port=self._mon_port,
                directory=self.directory,
                store=self._store,
                store_bytes=self._store_bytes,
                domain=rgw_setup.DOMAIN,
                frontend=f"{frontend} {self._frontend}",
                extra=textwrap.dedent(self._extra_conf),
            )
        )
        (self.directory / "keyring").touch()

    def _start_monitor(self):
        monmap = self.directory / "monmap"
        address = f"[v2:127.0.0.1:{self._mon_port}]"
        self._run("monmaptool", "--create", "--fsid", self._fsid, "--addv", "a", address, monmap)
        (self.directory / "mon").mkdir()
        self._run("ceph-mon", *self._conf(), "--mkfs", "-i", "a", "--monmap", monmap)
        self._spawn("ceph-mon", "-i", "a")

    def _start_osd(self):
        osd_uuid = str(uuid.uuid4())
        (self.directory / "osd").mkdir()
        self._run("ceph", *self._conf(), "--connect-timeout", "20", "osd", "new", osd_uuid)
        self._run("ceph-osd", *self._conf(), "--mkfs", "-i", "0", "--osd-uuid", osd_uuid)
        self._spawn("ceph-osd", "-i", "0")

    def _create_user(self):
        self._admin(
            "user", "create", f"--uid={self.user}", "--display-name=tester",
            f"--access-key={self.access_key}", f"--secret={self.secret_key}",
        )  # fmt: skip

    def _wait_for_gateway(self):
        def answers():
            self._check_alive()
            try:
                return self.client(timeout_s=5).request("GET").status == 200
            except OSError:
                return False

        try:
            data.wait_until(answers, 60, "radosgw answering")
        except TimeoutError as error:
            raise RadosGatewayError(f"{error}\n{self._log_tail('radosgw')}") from None

    def _admin(self, *arguments):
        self._run("radosgw-admin", *self._conf(), *arguments)

    def _conf(self):
        return ["-c", self.directory / "ceph.conf"]

    def _run(self, *command):
        """A command that must succeed within a minute."""
        try:
            done = subprocess.run(
                [str(word) for word in command], capture_output=True, text=True, timeout=60,
                env=rgw_setup.environment(), stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            self._check_alive()
            raise RadosGatewayError(f"{command[0]}: took over 60 s\n{self._logs()}") from None
        if done.returncode != 0:
            self._check_alive()
            raise RadosGatewayError(
                f"{command[0]} failed ({done.returncode}):\n{done.stdout}{done.stderr}"
            )
        return done.stdout

    def _spawn(self, name, *arguments):
        """A daemon in the foreground of a process that dies with us, whatever ends us."""
        command = ["setpriv", "--pdeathsig", "KILL", name, "-f", *self._conf(), *arguments]
        with open(self.directory / f"{name}.out", "ab") as output:
            self._processes[name] = subprocess.Popen(
                [str(word) for word in command], stdout=output, stderr=output,
                stdin=subprocess.DEVNULL, env=rgw_setup.environment(),
            )  # fmt: skip

    def _end(self, name, how):
        process = self._processes.pop(name, None)
        if process:
            process.send_signal(how)
            process.wait()

    def _check_alive(self):
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise RadosGatewayError(
                    f"{name} ended with {process.returncode}:\n{self._log_tail(name)}"
                )

    def _logs(self):
        return "\n".join(self._log_tail(name) for name in self._processes)

    def _log_tail(self, name, lines=25):
        """The last lines of what a daemon printed and logged."""
        logs = {"ceph-mon": "mon.a.log", "ceph-osd": "osd.0.log", "radosgw": "client.rgw.log"}
        tail = [f"--- {name}:"]
        for path in (self.directory / f"{name}.out", self.directory / logs[name]):
            if path.exists():
                tail += path.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join(tail)


def _client_from_environment():
    try:
        return s3_client.S3Client(
            os.environ["AWS_ENDPOINT_URL"],
            os.environ["AWS_ACCESS_KEY_ID"],
            os.environ["AWS_SECRET_ACCESS_KEY"],
            os.environ.get("AWS_DEFAULT_REGION", "us-east-1"),
            os.environ.get("AWS_CA_BUNDLE"),
        )
    except KeyError as missing:
        sys.exit(f"rgw.py: {missing.args[0]} is not set: paste what `rgw.py run` printed")


def _run_in_foreground(arguments):
    def leave(*_):
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    with RadosGateway(arguments.directory, store=arguments.store, tls=arguments.tls) as s3:
        for name, value in s3.environment().items():
            print(f"export {name}={value}")
        sys.stdout.flush()
        while True:
            signal.pause()


def _object_command(arguments):
    client, words = _client_from_environment(), arguments.words
    bucket, _, key = words[0].partition("/")
    if arguments.command == "mb":
        client.create_bucket(bucket)
    elif arguments.command == "ls":
        for item in client.list(bucket, key):
            print(f"{item.size_bytes:12} {item.etag} {item.key}")
    elif arguments.command == "get":
        sys.stdout.buffer.write(client.get(bucket, key))
    elif arguments.command == "put":
        client.put(bucket, key, sys.stdin.buffer.read())
    elif arguments.command == "rm":
        client.delete(bucket, key)
    elif arguments.command == "head":
        for name, value in sorted(client.head(bucket, key).items()):
            print(f"{name}: {value}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="serve in the foreground; print the environment to paste")
    run.add_argument("directory", help="a new or empty directory")
    run.add_argument("--store", default="memstore", choices=["memstore", "bluestore"])
    run.add_argument("--tls", action="store_true", help="https, with a CA of its own")
    run.set_defaults(action=_run_in_foreground)
    verbs = {
        "mb": "create a bucket", "ls": "list BUCKET[/PREFIX]", "get": "object to stdout",
        "put": "stdin to object", "rm": "delete an object", "head": "an object's headers",
    }  # fmt: skip
    for verb, text in verbs.items():
        command = commands.add_parser(verb, help=text)
        command.add_argument("words", nargs=1, metavar="BUCKET[/KEY]")
        command.set_defaults(action=_object_command)
    arguments = parser.parse_args()
    try:
        arguments.action(arguments)
    except (RadosGatewayError, s3_client.S3Error, OSError) as error:
        sys.exit(f"rgw.py: {error}")


if __name__ == "__main__":
    main()
