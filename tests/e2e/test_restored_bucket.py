"""A bucket that is restored from a backup, under layers that remember what was written after it: the
layers notice, also when as many servers as before have written since."""

import pathlib
import shutil
import tempfile
import unittest

from e2e.stores import LocalStore
from support import data
from support.cache_case import BLOCK, CacheDirCase
from support.command import run_command
from support.nbdkit import Nbdkit, run_expecting_failure

SIZE = 4 << 20


class RestoredBucket(unittest.TestCase):
    """Over a volume in a directory."""

    def setUp(self):
        self.store = LocalStore()
        self.addCleanup(self.store.close)
        scratch = tempfile.TemporaryDirectory(prefix="cache-test-", dir="/var/tmp")
        self.addCleanup(scratch.cleanup)
        self.scratch = pathlib.Path(scratch.name)
        self.bucket = self.store.directory / self.store.bucket

    def live(self, *words, change=None, expect=None, **parameters):
        """A life of a server; its log."""
        server = Nbdkit(*words, *self.store.volume(**({"size": SIZE} | parameters)))
        self.addCleanup(server.stop)
        handle = server.connect()
        if expect is not None:
            self.assertEqual(handle.pread(len(expect), 0), expect)
        if change is not None:
            handle.pwrite(change, 0)
            handle.flush()
        self.assertEqual(server.terminate(), 0, server.log())
        return server.log()

    def cached(self, **what):
        """One with a cache that survives."""
        return self.live("--filter=cache", cache_dir=self.scratch / "cache", **what)

    def verified(self, **what):
        """One with digests that survive."""
        return self.live("--filter=md5", md5_file=self.scratch / "digests", **what)

    def back_up(self):
        """As the bucket is now."""
        shutil.copytree(self.bucket, self.scratch / "backup")

    def restore(self):
        """As it was then."""
        shutil.rmtree(self.bucket)
        shutil.copytree(self.scratch / "backup", self.bucket)

    def test_a_cache_of_what_was_written_after_the_backup(self):
        """At once, or after as many lives as the bucket has forgotten, and more."""
        self.live(change=b"a" * BLOCK)
        self.back_up()
        for lives in (0, 1, 2, 3):
            with self.subTest(lives=lives):
                shutil.rmtree(self.scratch / "cache", ignore_errors=True)
                self.restore()
                self.cached()
                self.cached(change=b"b" * BLOCK)
                self.cached()
                self.restore()
                content = b"a" * BLOCK
                for life in range(lives):
                    content = (b"c" if life < 2 else b"d") * BLOCK
                    self.live(change=content if life != 1 else None)
                log = self.cached(expect=content)
                self.assertRegex(log, "older copy")
                self.assertRegex(log, rf"\b{BLOCK} bytes .* are read again from below")
                self.assertEqual(self.cached(expect=content), "")

    def test_digests_of_what_was_written_after_the_backup(self):
        """No block is accused of being what the backup says."""
        self.live(change=b"a" * BLOCK)
        self.back_up()
        for lives in (0, 1, 2):
            with self.subTest(lives=lives):
                self.restore()
                (self.scratch / "digests").unlink(missing_ok=True)
                self.verified(change=b"b" * BLOCK)
                self.restore()
                for _ in range(lives):
                    self.live(change=b"c" * BLOCK)
                content = b"c" * BLOCK if lives else b"a" * BLOCK
                self.assertRegex(self.verified(expect=content), "brought back from an older copy")


class DirtyBlocks(CacheDirCase):
    """What was never written back is not written over a disk that was restored."""

    def test_ways_out(self):
        """Whatever the terms are now, the start says what has happened and what can be done."""
        for number, now in enumerate(
            ({"term": 4}, {"term": 9, "since": 3, "unchanged": "4,8"}, {"term": 9, "since": 8})
        ):
            with self.subTest(**now):
                self.directory = self.scratch / f"cache-{number}"
                self.below.tell(6, since=5)
                self.leave_dirty(3 * BLOCK, 7)
                self.below.heal()
                self.below.tell(**now)
                said = run_expecting_failure(*self.command())[1]
                for text in (str(self.directory), f"{BLOCK} bytes", "older copy", "show", "export",
                             "discard", "cache-dirty=force"):  # fmt: skip
                    self.assertIn(text, said)
                self.assertEqual(self.below.requests("pwrite"), [])
                saved = self.scratch / f"saved-{number}"
                done = run_command("nbdstack-cache", "export", self.directory, saved)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(
                    saved.read_bytes()[3 * BLOCK : 4 * BLOCK], data.tagged(7, 3 * BLOCK, BLOCK)
                )
                server = self.serve("cache-dirty=discard")
                self.assertEqual(
                    server.connect().pread(BLOCK, 3 * BLOCK), data.tagged(1, 3 * BLOCK, BLOCK)
                )
                self.assertEqual(server.terminate(), 0)


if __name__ == "__main__":
    unittest.main()
