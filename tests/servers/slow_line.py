"""A slow line: an address at which this machine's own servers are, so many bits a second and so many
milliseconds away.

    with SlowLine(rate_bit_s=1_000_000, round_trip_s=0.2) as line:
        ... a server that listens on line.server_address (all of 0.0.0.0) is reached at
        line.far_address, by whoever is in this network namespace ...

It is a tun device whose other end is here: what is sent to the far address comes back from it, each
packet with its two addresses exchanged (which leaves the checksums right), after it has waited in a
queue and been under way for half of the round trip. So both ends are this machine's TCP, and nothing
else of it is imitated. tc's netem would do the same where the kernel has it.

    rate        each way by itself, of IP packets
    congestion  TCP's algorithm, on both ends
    queue       each way, first come, first served; a packet that finds it full is lost. As much as
                the rate carries in queue_s, as cheap modems have it, and no less than QUEUE_BYTES_MIN

Needs root, or a user namespace, and a network namespace of its own (see inside_namespace()).
"""

import collections
import fcntl
import os
import select
import struct
import subprocess
import sys
import threading
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
        self.carried_bytes = 0
        self.lost = 0

    def take(self, packet, now):
        begin = max(now, self.free_at)
        if (begin - now) / self.byte_s > self.queue_bytes:
            self.lost += 1
            return
        self.free_at = begin + len(packet) * self.byte_s
        self.under_way.append((self.free_at + self.delay_s, packet))
        self.carried_bytes += len(packet)

    def due(self):
        return self.under_way[0][0] if self.under_way else None


class SlowLine:
    """The line, from start() to stop(). `up` and `down` tell what they carried and lost."""

    server_address = "10.77.0.1"
    far_address = "10.77.0.2"

    def __init__(self, rate_bit_s, round_trip_s, queue_s=0.4, congestion="cubic"):
        self.rate_bit_s = rate_bit_s
        self.congestion = congestion
        # To the far address, and from it.
        self.up = _Way(rate_bit_s, round_trip_s / 2, queue_s)
        self.down = _Way(rate_bit_s, round_trip_s / 2, queue_s)
        self.ports = set()  # that servers listen on, at the other end
        self._tun = None
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self._carry, daemon=True)

    def start(self):
        self._tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        name = struct.pack("16sH22x", b"slow", _IFF_TUN | _IFF_NO_PI)
        fcntl.ioctl(self._tun, _TUNSETIFF, name)
        for words in (
            ["link", "set", "lo", "up"],
            ["addr", "add", f"{self.server_address}/32", "dev", "slow"],
            ["link", "set", "slow", "mtu", str(MTU_BYTES), "txqueuelen", "10000", "up"],
            ["route", "add", self.far_address, "dev", "slow", "congctl", self.congestion],
        ):
            subprocess.run(["ip", *words], check=True)
        self._thread.start()

    def stop(self):
        os.write(self._stop_write, b"x")
        self._thread.join()
        for each in (self._tun, self._stop_read, self._stop_write):
            os.close(each)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def data_bytes_s(self):
        """What the line carries at best of what is in full packets."""
        return self.rate_bit_s / 8 * (MTU_BYTES - HEADER_BYTES) / MTU_BYTES

    def _carry(self):
        poll = select.poll()
        poll.register(self._tun, select.POLLIN)
        poll.register(self._stop_read, select.POLLIN)
        while True:
            dues = [each for each in (self.up.due(), self.down.due()) if each is not None]
            wait_ms = None if not dues else max(0, (min(dues) - time.monotonic()) * 1000)
            for ready, _ in poll.poll(wait_ms):
                if ready == self._stop_read:
                    return
                self._take_all()
            now = time.monotonic()
            for way in (self.up, self.down):
                while way.under_way and way.under_way[0][0] <= now:
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
            port = int.from_bytes(packet[22:24], "big")
            (self.up if port in self.ports else self.down).take(packet, now)

    def _deliver(self, packet):
        back = packet[:12] + packet[16:20] + packet[12:16] + packet[20:]
        try:
            os.write(self._tun, back)
        except OSError:
            pass  # the kernel has no room: lost, as on any line
