"""A slow line: an address at which this machine's own servers are, so many bits a second and so many
milliseconds away.

    with SlowLine(rate_bit_s=1_000_000, round_trip_s=0.2) as line:
        ... a server that listens on line.server_address (all of 0.0.0.0) is reached at
        line.far_address, by whoever is in this network namespace ...

It is a tun device whose other end is here: what is sent to the far address comes back from it, each
packet with its two addresses exchanged (which leaves the checksums right), after it has waited in a
queue and been under way for half of the round trip. So both ends are this machine's TCP, and nothing
else of it is imitated. tc's netem would do the same where the kernel has it.

A line does not wait for a processor: it is a process of its own, before all others where that is
allowed. (TCP takes a packet that is 16 ms late for a sign that the line is full.)

    rate        each way by itself, of IP packets
    congestion  TCP's algorithm, on both ends
    queue       each way, first come, first served; a packet that finds it full is lost. As much as
                the rate carries in queue_s, as cheap modems have it, and no less than QUEUE_BYTES_MIN

Needs root, or a user namespace, and a network namespace of its own (see inside_namespace()).
"""

import collections
import contextlib
import fcntl
import json
import os
import select
import struct
import subprocess
import sys
import time

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 1, 0x1000
QUEUE_BYTES_MIN = 15_000
HEADER_BYTES = 52  # IP and TCP, with the timestamps that Linux sends
MTU_BYTES = 1500


def inside_namespace(module, *arguments):
    """Runs a Python module in a network namespace of its own; its exit status and output."""
    command = ["unshare", "--net"]
    if os.geteuid() != 0:
        command += ["--user", "--map-root-user"]
    return subprocess.run(
        [*command, sys.executable, "-m", module, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip


class _Way:
    """One direction: the queue before the line, and what is under way on it."""

    def __init__(self, rate_bit_s, delay_s, queue_s):
        self.byte_s = 8 / rate_bit_s
        self.delay_s = delay_s
        self.queue_bytes = max(queue_s / self.byte_s, QUEUE_BYTES_MIN)
        self.free_at = 0.0
        self.under_way = collections.deque()  # (when it arrives, packet)
        self.lost = 0

    def take(self, packet, now):
        begin = max(now, self.free_at)
        if (begin - now) / self.byte_s > self.queue_bytes:
            self.lost += 1
            return
        self.free_at = begin + len(packet) * self.byte_s
        self.under_way.append((self.free_at + self.delay_s, packet))

    def due(self):
        return self.under_way[0][0]


class SlowLine:
    """The line, from start() to stop(), after which `lost` tells how many packets were lost, to the
    far address and from it."""

    server_address = "10.77.0.1"
    far_address = "10.77.0.2"

    def __init__(self, rate_bit_s, round_trip_s, queue_s=0.4, congestion="cubic"):
        self.rate_bit_s = rate_bit_s
        self.congestion = congestion
        self.lost = None
        self._way = (rate_bit_s, round_trip_s / 2, queue_s)
        self._process = None

    def start(self):
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        name = struct.pack("16sH22x", b"slow", _IFF_TUN | _IFF_NO_PI)
        fcntl.ioctl(tun, _TUNSETIFF, name)
        for words in (
            ["link", "set", "lo", "up"],
            ["addr", "add", f"{self.server_address}/32", "dev", "slow"],
            ["link", "set", "slow", "mtu", str(MTU_BYTES), "txqueuelen", "10000", "up"],
            ["route", "add", self.far_address, "dev", "slow", "congctl", self.congestion],
        ):
            subprocess.run(["ip", *words], check=True)
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(tun), json.dumps(self._way)],
            pass_fds=[tun], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        os.close(tun)

    def stop(self):
        self.lost = json.loads(self._process.communicate()[0])

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def data_bytes_s(self):
        """What the line carries at best of what is in full packets."""
        return self.rate_bit_s / 8 * (MTU_BYTES - HEADER_BYTES) / MTU_BYTES


class _Carrier:
    """What carries packets between the tun device and itself, until its standard input ends."""

    def __init__(self, tun, way):
        self._tun = tun
        # To the far address, and from it.
        self._up, self._down = self._ways = _Way(*way), _Way(*way)
        self._server_ports = set()  # at the far address, as those tell who connect to them

    def run(self):
        """How many packets were lost on each way."""
        poll = select.poll()
        poll.register(self._tun, select.POLLIN)
        poll.register(sys.stdin, select.POLLIN)
        while True:
            dues = [each.due() for each in self._ways if each.under_way]
            wait_ms = None if not dues else max(0, (min(dues) - time.monotonic()) * 1000)
            for ready, _ in poll.poll(wait_ms):
                if ready == sys.stdin.fileno():
                    return [each.lost for each in self._ways]
                self._take_all()
            now = time.monotonic()
            for way in self._ways:
                while way.under_way and way.due() <= now:
                    self._deliver(way.under_way.popleft()[1])

    def _take_all(self):
        now = time.monotonic()
        while True:
            try:
                packet = os.read(self._tun, 65536)
            except BlockingIOError:
                return
            if packet[0] >> 4 != 4 or packet[9] != 6:  # IPv4, TCP
                continue
            port = packet[22:24]
            if packet[33] & 0x12 == 0x02:  # SYN, no ACK: it connects
                self._server_ports.add(port)
            (self._up if port in self._server_ports else self._down).take(packet, now)

    def _deliver(self, packet):
        back = packet[:12] + packet[16:20] + packet[12:16] + packet[20:]
        try:
            os.write(self._tun, back)
        except OSError:
            pass  # the kernel has no room: lost, as on any line


if __name__ == "__main__":
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    print(json.dumps(_Carrier(int(sys.argv[1]), json.loads(sys.argv[2])).run()))
