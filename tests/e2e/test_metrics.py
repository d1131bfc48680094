"""metrics=: each layer of ours shows what it does, by one switch, and the numbers are those of the
client and of the service."""

import pathlib
import random
import shutil
import subprocess
import tempfile
import time
import unittest

import nbd

from e2e.stores import LocalStore
from servers.memory_s3 import MemoryS3
from support import data
from support.metrics import layers
from support.nbdkit import Nbdkit, our_nbdkit

OURS = ("readahead", "cache", "cacheextents", "zeroblock", "md5")
BLOCK, SIZE = 1 << 16, 1 << 26


class Metrics(unittest.TestCase):
    def setUp(self):
        self.stacks = pathlib.Path(tempfile.mkdtemp(prefix="stacks-"))
        self.addCleanup(shutil.rmtree, self.stacks, ignore_errors=True)
        self.store = LocalStore()
        self.addCleanup(self.store.close)
        self.directory = self.stacks / "vm1"

    def settled(self, condition, what, directory=None):
        """The layers' snapshots, once `condition` holds for them: they are written once a second."""
        found = {}

        def look():
            nonlocal found
            found = layers(directory or self.directory)
            return condition(found)

        data.wait_until(look, 30, what)
        return found

    def test_one_switch_is_for_every_subset_of_the_layers(self):
        """Each layer of ours has a file, wherever it stands, and layers of nbdkit's are not asked."""
        choice = random.Random(5)
        for _ in range(6):
            ours = choice.sample(OURS, choice.randrange(1, len(OURS) + 1))
            others = choice.sample(["nozero", "log", "stats"], 1)
            stack = choice.sample(ours + others, len(ours) + len(others))
            words = {"log": ["logfile=/dev/null"], "stats": ["statsfile=/dev/null"]}
            plugin, own = choice.choice([(["memory", "64M"], set()), (self.store.volume(size=SIZE), {"s3"})])
            with self.subTest(stack=stack, plugin=plugin[0]):
                filters = [f"--filter={name}" for name in stack]
                more = [word for name in others for word in words.get(name, [])]
                with Nbdkit(*filters, *plugin, *more, f"metrics={self.directory}") as server:
                    server.connect().pread(512, 0)
                    expected = set(ours) | own
                    trims = {"stack": "vm1", "op": "trim"}
                    self.settled(
                        lambda now: set(now) == expected
                        and all(
                            snapshot.values("nbdstack_requests_total", layer=name, **trims) == [0]
                            for name, snapshot in now.items()
                        ),
                        f"files of {expected}",
                    )
                self.assertEqual(layers(self.directory), {}, "left behind")

    def test_the_numbers_are_the_clients(self):
        """Requests, bytes and connections, by layer and export; a miss fetches, and a hit does not."""
        stack = ("--filter=cache", "--filter=md5", *self.store.volume(size=SIZE, object_size=BLOCK))
        words = (f"cache-min-block-size={BLOCK}", "cache-on-read=true", f"metrics={self.directory}")
        with Nbdkit(*stack, *words) as server:
            handle = server.connect("disk1")
            for number in range(10):
                handle.pwrite(b"x" * BLOCK, number * BLOCK)
            handle.flush()
            for number in range(30):
                handle.pread(4096, number * BLOCK)
            for number in range(30):
                handle.pread(4096, number * BLOCK + 8192)
            ours = {"export": "disk1", "op": "read"}
            found = self.settled(
                lambda now: now["cache"].sum("nbdstack_requests_total", **ours) == 60, "60 reads"
            )
            cache = found["cache"]
            self.assertEqual(cache.sum("nbdstack_request_bytes_total", **ours), 60 * 4096)
            self.assertEqual(cache.sum("nbdstack_requests_total", op="write"), 10)
            self.assertEqual(cache.sum("nbdstack_request_bytes_total", op="write"), 10 * BLOCK)
            self.assertEqual(cache.sum("nbdstack_request_errors_total"), 0)
            self.assertEqual(cache.sum("nbdstack_requests_total", op="flush"), 1)
            self.assertEqual(cache.sum("nbdstack_request_duration_seconds_count", op="flush"), 1)
            self.assertEqual(cache.sum("nbdstack_connections", export="disk1"), 1)
            self.assertEqual(cache.sum("nbdstack_cache_hits_total"), 40)
            self.assertEqual(cache.sum("nbdstack_cache_misses_total"), 20)
            self.assertEqual(cache.sum("nbdstack_cache_bytes"), 30 * BLOCK)
            self.assertEqual(cache.sum("nbdstack_below_bytes_total", op="read"), 20 * BLOCK)
            self.assertEqual(cache.sum("nbdstack_below_bytes_total", op="write"), 10 * BLOCK)
            s3 = found["s3"]
            self.assertEqual(s3.sum("nbdstack_request_bytes_total", op="write"), 10 * BLOCK)
            self.assertEqual(
                s3.sum("nbdstack_request_duration_seconds_count", op="write"),
                s3.sum("nbdstack_requests_total", op="write"),
            )
            self.assertEqual(s3.sum("nbdstack_s3_volume_info"), 1)
            handle.shutdown()
            self.settled(lambda now: now["cache"].sum("nbdstack_connections") == 0, "no client")

    def test_what_is_verified_and_what_is_not(self):
        """The md5 filter counts the blocks that are right, and those that are not."""
        words = ("md5-retry-time=0", "md5-cache-time=0", f"metrics={self.directory}")
        volume = self.store.volume(size=SIZE, object_size=BLOCK)
        with Nbdkit("--filter=md5", *volume, *words) as server:
            handle = server.connect()
            handle.pwrite(b"x" * 2 * BLOCK, 0)
            handle.flush()
            handle.pread(2 * BLOCK, 0)
            # Another writer changes a block below, whatever the lease says.
            (one, *_) = sorted(self.store.block_keys())
            (*_, other) = sorted(self.store.block_keys())
            self.store.replace(one, self.store.body(other)[:-1])
            with self.assertRaises(nbd.Error):
                handle.pread(BLOCK, 0)
            self.settled(
                lambda now: now["md5"].sum("nbdstack_md5_verified_bytes_total") == 2 * BLOCK
                and now["md5"].sum("nbdstack_request_errors_total") == 1,
                "verified bytes and an error",
            )

    def test_what_was_fetched_ahead_and_used(self):
        """A client that reads a disk in order uses nearly all that was fetched for it."""
        filters = ("--filter=readahead", "--filter=cache", "--filter=delay")
        words = ("cache-on-read=true", "delay-read=1ms", f"metrics={self.directory}")
        with Nbdkit(*filters, "memory", "16M", *words) as server:
            handle = server.connect()
            for offset in range(0, 16 << 20, 1 << 16):
                handle.pread(1 << 16, offset)

            def is_used(now):
                sent = now["readahead"].sum("nbdstack_readahead_prefetched_bytes_total")
                used = now["readahead"].sum("nbdstack_readahead_used_bytes_total")
                return 8 << 20 < used <= sent <= 16 << 20

            self.settled(is_used, "most of what was fetched is used")

    def test_dirty_bytes_and_since_when(self):
        """What the layer below does not have yet is shown with the time at which it became so."""
        words = (f"cache-min-block-size={BLOCK}", "cache=unsafe", f"metrics={self.directory}")
        with Nbdkit("--filter=cache", "memory", "64M", *words) as server:
            handle = server.connect()
            self.settled(lambda now: "cache" in now, "a file")
            since = time.time()
            handle.pwrite(b"x" * BLOCK, 0)
            dirty = "nbdstack_cache_dirty_bytes"
            found = self.settled(lambda now: now["cache"].sum(dirty) == BLOCK, "dirty bytes")
            (oldest,) = found["cache"].values("nbdstack_cache_oldest_dirty_timestamp_seconds")
            self.assertLess(abs(oldest - since), 30)
            handle.pwrite(b"y" * BLOCK, BLOCK)
            found = self.settled(lambda now: now["cache"].sum(dirty) == 2 * BLOCK, "more of them")
            (later,) = found["cache"].values("nbdstack_cache_oldest_dirty_timestamp_seconds")
            self.assertLess(abs(later - oldest), 0.5)

    def test_the_service_counted_the_same(self):
        """Each request that was sent is counted once, by operation and status, failures too."""
        s3 = MemoryS3({"disk": {}})
        s3.start()
        self.addCleanup(s3.stop)
        words = [f"{name}={value}" for name, value in s3.parameters("disk").items()]
        with Nbdkit("s3", *words, f"size={SIZE}", "lease-time=600", f"metrics={self.directory}") as server:
            handle = server.connect()
            for number in range(20):
                handle.pwrite(b"x" * (1 << 20), number << 20)
            for number in range(20):
                handle.pread(1 << 20, number << 20)
            handle.trim(5 << 20, 0)
            handle.flush()

            def counted(now):
                return now["s3"].sum("nbdstack_s3_requests_total") if "s3" in now else 0

            def there():
                with s3.lock:
                    return sum(s3.requests.values())

            found = self.settled(lambda now: counted(now) == there(), "the service's count")["s3"]
            self.assertGreaterEqual(found.sum("nbdstack_s3_requests_total", op="GetObject"), 20)
            self.assertGreater(found.sum("nbdstack_s3_requests_total", code="404"), 0)
            self.assertGreaterEqual(found.sum("nbdstack_s3_sent_bytes_total", op="PutObject"), 20 << 20)
            self.assertGreaterEqual(found.sum("nbdstack_s3_received_bytes_total", op="GetObject"), 20 << 20)
            self.assertEqual(
                found.sum("nbdstack_s3_request_duration_seconds_count"),
                found.sum("nbdstack_s3_requests_total"),
            )
            self.assertGreater(found.sum("nbdstack_s3_lease_remaining_seconds"), 0)

    def test_a_name_that_is_taken_stops_no_server(self):
        """The second server of a name serves unmeasured, says so once, and follows when the first ends."""
        words = ("--filter=cache", "memory", "64M", f"metrics={self.directory}")
        with Nbdkit(*words) as first, Nbdkit(*words) as second:
            for _ in range(3):
                first.connect().pread(512, 0)
            requests = "nbdstack_requests_total"
            self.settled(lambda now: "cache" in now and now["cache"].sum(requests) == 3, "the first's")
            data.wait_until(lambda: "another server" in second.log(), 30, "the second's complaint")
            second.connect().pread(512, 0)
            first.stop()
            self.settled(lambda now: "cache" in now and now["cache"].sum(requests) == 1, "the second's")
            self.assertEqual(second.log().count("another server"), 1)

    def test_a_server_that_becomes_another_user(self):
        """The directory is made as root, and is the later user's."""
        directory = self.stacks / "made" / "vm2"
        self.stacks.chmod(0o755)
        look = f"until grep -q '^nbdstack_requests_total' {directory}/zeroblock.prom; do sleep 0.1; done"
        run = subprocess.run(
            [our_nbdkit(), "-U", "-", "-u", "nobody", "--filter=zeroblock", "memory", "1M",
             f"metrics={directory}", "--run", f'nbdinfo --size "$uri" && {look}'],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(directory.owner(), "nobody")

    def test_a_place_that_cannot_be_made_ends_the_start(self):
        """The error names the parameter and the directory."""
        (self.stacks / "file").write_text("")
        for value in (f"{self.stacks}/file/vm1", ""):
            with self.subTest(value=value), self.assertRaisesRegex(Exception, "metrics: ") as caught:
                Nbdkit("--filter=cache", "memory", "1M", f"metrics={value}")
            self.assertIn("nbdkit ended with 1", str(caught.exception))
