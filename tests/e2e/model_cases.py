"""The whole stack against the shadow disk: what the tests of whole stacks share.

Every case ends with the objects themselves: the server is gone, and a plain s3 plugin, without
cache or md5, must read from them what the model says.
"""

from support.model import Mix, ShadowDisk, Workload
from support.nbdkit import Nbdkit

KIB, MIB = 1 << 10, 1 << 20

# No requests that an unflushed disk could answer from memory are left out: everything NBD has.
EVERYTHING = Mix(flush=1, fua_share=0.05)


class StackCheck:
    """Mixed into a TestCase that sets `store`."""

    store = None

    def check(
        self, seed, *more, size=24 * MIB, object_size=64 * KIB, requests=1500, crash=False,
        filters=("--filter=cache", "--filter=md5"), end_flush=True, **options,
    ):  # fmt: skip
        """Random requests on 4 connections with 16 in flight, then the objects."""
        disk = ShadowDisk(size)
        volume = self.store.volume(size=size, object_size=object_size)
        with Nbdkit(*filters, *volume, *more) as server:
            defaults = {"connections": 4, "in_flight": 16, "mix": EVERYTHING}
            defaults |= {"block_size": object_size, "max_bytes": 8 * object_size}
            Workload(disk, seed, requests, **(defaults | options)).run(server.connect)
            handle = server.connect()
            disk.compare_with(handle)
            if end_flush:
                handle.flush()
            if crash:
                server.kill()
            else:
                self.assertEqual(server.terminate(), 0, server.log())
        with Nbdkit(*self.store.volume()) as plain:
            disk.compare_with(plain.connect())


class StackCases(StackCheck):
    """What must hold of the stack over any store."""

    def test_every_kind_of_request_at_every_alignment(self):
        """A byte lost, misplaced, stale or invented anywhere between client and object."""
        self.check(1)

    def test_disk_that_ends_in_the_middle_of_an_object(self):
        """The last object treated as if the disk filled it."""
        self.check(2, size=9 * MIB + 4567, object_size=256 * KIB)

    def test_cache_much_smaller_than_the_disk(self):
        """Dirty blocks dropped to make room, or a block written back while it is written again."""
        self.check(3, "cache-max-size=2M", "cache-min-block-size=16K", "cache-on-read=true")

    def test_flushed_data_survive_a_crash(self):
        """FLUSH answered before all acknowledged writes of all connections are objects."""
        self.check(4, "cache-max-size=4M", crash=True)

    def test_unflushed_data_survive_an_orderly_end(self):
        """Dirty blocks forgotten when the clients leave without FLUSH and the server stops."""
        self.check(5, end_flush=False)

    def test_writethrough(self):
        """In writethrough mode, an acknowledged write that only the cache has: there is no FLUSH,
        and the server is killed."""
        mode = ["cache=writethrough", "cache-on-read=true"]
        self.check(6, *mode, crash=True, end_flush=False, requests=800)

    def test_few_digests_and_small_md5_blocks(self):
        """Digest blocks that are no object's size, in a table too small for the disk: digests of
        the wrong version, or writes that wait for ever for room."""
        small = ["md5-block-size=16K", "md5-cache-size=64", "md5-cache-time=0.05"]
        self.check(7, *small, requests=800)

    def test_plugin_alone(self):
        """What the cache above usually hides: partial objects read, changed and written back by
        many requests at once."""
        self.check(8, filters=(), mix=Mix(cache=0, flush=1, fua_share=0.05), requests=800)
