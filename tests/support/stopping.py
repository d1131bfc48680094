"""SIGTERM while a layer below takes its time, and layers that do.

Two kinds of slowness differ in what a filter can do about them. A request that the layer below
gives up when the server stops (nbdkit's delay filter sleeps so; the s3 plugin leaves a service that
does not answer) ends at once. A request that a plugin has taken and does not give up cannot be
cancelled by any filter: the server waits for it, and all that can be asked is that it waits for no
other.
"""

import pathlib
import threading
import time

from servers import faults
from servers.faulty_http import FaultyProxy
from servers.memory_s3 import MemoryS3
from support import data
from support.nbdkit import Nbdkit

# Stands for a second on a machine that is busy; what is not cut short takes 20 s and more.
AT_ONCE_S = 5
LATER_S = 30


def seconds_to_end(server):
    """SIGTERM, and how long the server takes to end as it should. Its clients have left."""
    server.process.terminate()
    return _seconds_to_end(server)


def seconds_after_release(server, callback, release):
    """SIGTERM while the layer below holds a request that nobody can cancel: how long the server,
    which is verbose, takes from when that is released. That happens when nbdkit has logged the
    `callback` ("zeroblock: finalize") in which the filter is to end its work."""
    server.process.terminate()
    data.wait_until(lambda: f"debug: {callback}\n" in server.log(), 30, callback)
    time.sleep(0.2)  # it is logged before it is called
    release()
    return _seconds_to_end(server)


def _seconds_to_end(server):
    start = time.monotonic()
    code = server.wait(2 * LATER_S)
    if code != 0:
        raise AssertionError(f"ended with {code}:\n{server.log()}")
    return time.monotonic() - start


class SlowExtents:
    """nbdkit's eval plugin with a disk of data that tells MiB by MiB what it is.

    The first question is held until release(); each one after that takes LATER_S. None can be
    interrupted. Reads are of 0x07.
    """

    def __init__(self, folder, size_mib=64):
        self._questions = pathlib.Path(folder, "questions")
        self._hold = pathlib.Path(folder, "hold")
        self._hold.touch()
        self.arguments = [
            "eval", "thread_model=echo parallel", f"get_size=echo {size_mib}M",
            "can_extents=exit 0", "pread=head -c $3 /dev/zero | tr '\\0' '\\7'",
            f"extents=echo $4 >> {self._questions}; "
            f"if [ -e {self._hold} ]; then while [ -e {self._hold} ]; do sleep 0.02; done; "
            f"else sleep {LATER_S}; fi; echo $4 1M",
        ]  # fmt: skip

    def questions(self):
        """How many have come."""
        return len(self._questions.read_text().split()) if self._questions.exists() else 0

    def wait_for_question(self):
        """Until the first one is held."""
        data.wait_until(self.questions, 30, "a question about extents")

    def release(self):
        """The first question is answered."""
        self._hold.unlink()


class StallingVolume:
    """A volume in a service that can be told not to answer, until close(). It begins with SIZE
    bytes of data, `content`; `disk_bytes`: how large it is, SIZE unless given."""

    SIZE, OBJECT = 8 << 20, 64 << 10

    def __init__(self, disk_bytes=SIZE):
        self.s3 = MemoryS3({"disk": {}})
        self.s3.start()
        self.proxy = FaultyProxy(self.s3.endpoint)
        self.proxy.__enter__()
        self.content = data.tagged(1, 0, self.SIZE)
        with Nbdkit(*self.words(f"size={disk_bytes}", f"object-size={self.OBJECT}")) as server:
            server.connect().pwrite(self.content, 0)
            server.terminate()
        self.proxy.wait_until_idle()
        self._before = len(self.proxy.requests)

    def words(self, *parameters):
        """The plugin and its parameters."""
        known = self.s3.parameters("disk") | {"endpoint-url": self.proxy.endpoint}
        return ["s3", *(f"{name}={value}" for name, value in known.items()), *parameters]

    @staticmethod
    def is_listing(request):
        """Whether blocks are listed: not what a start looks for, which is all there is."""
        return request.method == "GET" and "prefix=0" in request.query

    @staticmethod
    def is_block(request):
        """Whether a block is read."""
        return request.method == "GET" and request.path.startswith("/disk/0")

    def meet(self, kind, fault):
        """Requests for which kind(request) is true meet with a fault from now on."""
        self.proxy.behaviour = lambda request: fault if kind(request) else None

    def stall(self, kind):
        """They are never answered."""
        self.meet(kind, faults.stall(threading.Event()))

    def arrived(self, kind):
        """Such requests since the volume was made."""
        return [request for request in self.proxy.requests[self._before :] if kind(request)]

    def wait_until_under_way(self, kind, number=1):
        """Until so many have arrived, and a little longer: the plugin looks now and then whether
        the server stops, and gives what was begun since its last look the time that last writes
        get."""
        data.wait_until(lambda: len(self.arrived(kind)) >= number, 30, "a request to the service")
        time.sleep(0.5)

    def close(self):
        """Ends the service."""
        self.proxy.close()
        self.s3.stop()
