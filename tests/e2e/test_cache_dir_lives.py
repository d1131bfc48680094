"""cache-dir over a disk that other servers write, too: what one life leaves is used in the next one
only where it is still true, and what is dirty is never written over something newer."""

import unittest

import nbd

from support import data
from support.cache_case import BLOCK, SIZE, CacheDirCase, error_of
from support.command import run_command
from support.nbdkit import run_expecting_failure

LOCAL = "cache-flush=local"


class OtherWriter(CacheDirCase):
    """Terms as the lease of a volume counts them."""

    def leave_dirty_in_term_5(self):
        """A directory with a dirty block 3, and a disk that another server has changed since."""
        self.below.tell(5)
        written = self.leave_dirty(3 * BLOCK, 7)
        self.below.heal()
        self.below.change(3 * BLOCK, data.tagged(9, 3 * BLOCK, BLOCK))
        self.below.tell(7, since=6)
        return written

    def refused(self, *parameters):
        """What a start that is refused says."""
        return run_expecting_failure(*self.command(*parameters))[1]

    def test_warm_where_nobody_else_wrote(self):
        """A cache that is read again below, or looked at, though its disk tells that nobody else
        has written."""
        self.below.tell(5)
        expected = self.fill()
        self.below.tell(6, since=5)
        handle = self.serve().connect()
        self.assertEqual(handle.pread(32 * BLOCK, 0), expected)
        self.assertEqual(self.below.requests("pread", "pwrite", "flush"), [])

    def test_clean_blocks_of_an_older_term_are_dropped(self):
        """Old blocks served after another server has written; or merged with new ones by a write of
        part of a page; or dropped without a word."""
        self.below.tell(5)
        self.fill()
        self.below.change(0, data.tagged(9, 0, 32 * BLOCK))
        self.below.tell(7, since=6)
        server = self.serve()
        handle = server.connect()
        handle.pwrite(b"new", 5)
        handle.flush()
        expected = bytearray(data.tagged(9, 0, 32 * BLOCK))
        expected[5:8] = b"new"
        self.assertEqual(handle.pread(32 * BLOCK, 0), expected)
        self.assertEqual(self.below.stored(0, 32 * BLOCK), expected)
        self.assertRegex(server.log(), rf"\b{32 * BLOCK} bytes.*another server")

    def test_dirty_blocks_are_not_written_over_a_newer_term(self):
        """Another server's flushed data overwritten by what an earlier life left, or a refusal that
        does not say what has happened and what can be done."""
        self.leave_dirty_in_term_5()
        for parameters in ((), (LOCAL,), ("-r",)):
            said = self.refused(*parameters)
            for text in (str(self.directory), f"{BLOCK} bytes", "term 5", "term 6", "show",
                         "export", "discard", "cache-dirty=force"):  # fmt: skip
                self.assertIn(text, said)
        self.assertEqual(self.below.stored(3 * BLOCK, BLOCK), data.tagged(9, 3 * BLOCK, BLOCK))
        self.assertEqual(self.below.requests("pwrite"), [])

    def test_the_ways_out(self):
        """A refusal without a way to see, keep and discard what is dirty."""
        written = self.leave_dirty_in_term_5()
        saved = self.scratch / "saved"
        shown = run_command("nbdstack-cache", "show", self.directory)
        self.assertEqual(shown.returncode, 0, shown.stderr)
        self.assertIn(f"offset={3 * BLOCK} length={BLOCK} data", shown.stdout)
        self.assertIn("volume-1", shown.stdout)
        self.assertEqual(run_command("nbdstack-cache", "export", self.directory, saved).returncode, 0)
        content = saved.read_bytes()
        self.assertEqual(len(content), SIZE)
        self.assertEqual(content[3 * BLOCK : 4 * BLOCK], written)
        again = run_command("nbdstack-cache", "export", self.directory, saved)
        self.assertEqual(again.returncode, 2)  # a file that is there is left alone
        kept = run_command("nbdstack-cache", "discard", self.directory)
        self.assertEqual(kept.returncode, 2)
        self.assertIn(f"{BLOCK} bytes", kept.stderr)
        self.assertEqual(
            run_command("nbdstack-cache", "discard", "--yes", self.directory).returncode, 0
        )
        handle = self.serve().connect()
        self.assertEqual(handle.pread(BLOCK, 3 * BLOCK), data.tagged(9, 3 * BLOCK, BLOCK))

    def test_a_directory_in_use_is_not_looked_into(self):
        """A command that reads or empties a directory under a server."""
        self.below.tell(5)
        handle = self.serve().connect()
        handle.pwrite(data.tagged(7, 0, BLOCK), 0)
        for words in (("show",), ("discard", "--yes")):
            done = run_command("nbdstack-cache", *words, self.directory)
            self.assertEqual(done.returncode, 2)
            self.assertIn("in use", done.stderr)
        handle.flush()
        self.assertEqual(run_command("nbdstack-cache", "show", self.scratch / "no").returncode, 2)
        self.assertFalse((self.scratch / "no").exists())

    def test_force_writes_what_is_dirty_and_nothing_else(self):
        """cache-dirty=force that serves old clean blocks, or does not write the dirty ones."""
        written = self.leave_dirty_in_term_5()
        server = self.serve("cache-dirty=force")
        self.below.wait_until_stored(3 * BLOCK, written)
        self.assertRegex(server.log(), rf"\b{BLOCK} bytes.*cache-dirty=force")

    def test_discard_says_how_much(self):
        """cache-dirty=discard that writes, or is silent."""
        self.leave_dirty_in_term_5()
        server = self.serve("cache-dirty=discard")
        newer = data.tagged(9, 3 * BLOCK, BLOCK)
        self.assertEqual(server.connect().pread(BLOCK, 3 * BLOCK), newer)
        self.assertRegex(server.log(), rf"\b{BLOCK} bytes.*discard")
        self.assertEqual(server.terminate(), 0)
        self.assertEqual(self.below.stored(3 * BLOCK, BLOCK), newer)

    def test_another_disk_is_refused(self):
        """The cache of one volume used over another one of the same size and name, or of one that
        was deleted and made anew."""
        self.leave_dirty_in_term_5()
        self.below.tell(5, disk="volume-2")
        for policy in ("refuse", "force", "discard"):
            said = self.refused(f"cache-dirty={policy}")
            for text in ("volume-1", "volume-2", f"{BLOCK} bytes"):
                self.assertIn(text, said)
        self.assertEqual(self.below.requests("pwrite"), [])

    def test_a_restored_copy_of_the_directory(self):
        """A directory that was put back from a backup writes over what came later."""
        written = self.leave_dirty_in_term_5()
        self.below.tell(8, since=7)
        self.assertIn("term 5", self.refused())
        self.below.tell(4)  # or the disk was, and the directory is the newer of the two
        self.assertIn("restored", self.refused())
        self.below.tell(6, since=5)
        self.serve()
        self.below.wait_until_stored(3 * BLOCK, written)

    def test_names_do_not_matter_to_a_known_disk(self):
        """A directory that belongs to the name that the first client gave, however wrong."""
        self.below.tell(5)
        server = self.serve("cache-on-read=true")
        wrong = server.connect("typo")
        wrong.pread(BLOCK, 0)
        self.assertEqual(server.connect().pread(BLOCK, 0), data.tagged(1, 0, BLOCK))
        self.assertEqual(server.terminate(), 0)
        self.below.tell(6, since=5)
        self.below.forget_requests()
        self.assertEqual(self.serve().connect().pread(BLOCK, 0), data.tagged(1, 0, BLOCK))
        self.assertEqual(self.below.requests("pread"), [])


class LostRight(CacheDirCase):
    def check_all_fail(self, handle):
        """Every request, also what the cache could serve."""
        page = data.tagged(8, 0, BLOCK)
        for request in (
            lambda: handle.pwrite(page, 0),
            lambda: handle.pwrite(page, 0, nbd.CMD_FLAG_FUA),
            handle.flush,
            lambda: handle.pread(BLOCK, BLOCK),
            lambda: handle.zero(BLOCK, 0),
            lambda: handle.trim(BLOCK, 0),
        ):
            self.assertEqual(error_of(request), "ESHUTDOWN")

    def test_a_server_that_was_taken_over_says_so(self):
        """Writes and flushes acknowledged into cache-dir, or old blocks read from it, by a server
        that has lost its disk; or its dirty blocks written over the winner's, now or later."""
        self.below.tell(5)
        self.below.fail("pwrite")
        server = self.serve(LOCAL)
        handle = server.connect()
        handle.pwrite(data.tagged(7, BLOCK, BLOCK), BLOCK)
        handle.flush()
        self.below.tell(5, right="lost")
        self.check_all_fail(handle)
        self.check_all_fail(handle)
        self.assertEqual(server.log().count("taken over"), 1, server.log())
        self.assertIn(f"{BLOCK} bytes", server.log())
        self.below.heal()
        self.below.forget_requests()
        server.terminate()
        self.assertEqual(self.below.requests("pwrite"), [])
        self.below.tell(7, since=6)
        self.assertIn(f"{BLOCK} bytes", run_expecting_failure(*self.command(LOCAL))[1])

    def test_a_doubt_that_ends_well(self):
        """A server that fails for good because it was suspended, though nobody took its disk."""
        self.below.tell(5)
        server = self.serve(LOCAL)
        handle = server.connect()
        handle.pwrite(data.tagged(7, BLOCK, BLOCK), BLOCK)
        self.below.tell(5, right="doubtful")
        self.assertEqual(error_of(handle.flush), "ESHUTDOWN")
        self.below.tell(5)
        handle.flush()
        self.below.wait_until_stored(BLOCK, data.tagged(7, BLOCK, BLOCK))


class UnknownDisk(CacheDirCase):
    """The layer below does not tell which disk it is."""

    def test_a_change_without_the_cache_is_noticed(self):
        """Blocks served that somebody has changed without the directory, or merged with new ones."""
        self.fill()
        self.below.change(0, data.tagged(9, 0, 32 * BLOCK))
        server = self.serve()
        handle = server.connect()
        handle.pwrite(b"new", 1000)
        handle.flush()
        expected = bytearray(data.tagged(9, 0, 32 * BLOCK))
        expected[1000:1003] = b"new"
        self.assertEqual(handle.pread(32 * BLOCK, 0), expected)
        self.assertRegex(server.log(), rf"\b{32 * BLOCK} bytes")

    def test_dirty_blocks_of_a_changed_disk_are_refused(self):
        """Dirty blocks written over a disk that somebody has changed, or another one."""
        self.fill()
        self.leave_dirty(40 * BLOCK, 7)
        self.below.heal()
        self.below.change(0, data.tagged(9, 0, 32 * BLOCK))
        said = run_expecting_failure(*self.command())[1]
        for text in (f"{BLOCK} bytes", "cache-dirty=force", "offset 0"):
            self.assertIn(text, said)

    def test_a_mistyped_name_leaves_no_trace(self):
        """A directory that belongs for good to a name that a client got wrong."""
        server = self.serve()
        server.connect("typo").pread(512, 0)
        server.disconnect()
        handle = server.connect()
        handle.pwrite(data.tagged(7, 0, BLOCK), 0)
        handle.flush()
        server.terminate()
        self.assertEqual(self.serve().connect().pread(BLOCK, 0), data.tagged(7, 0, BLOCK))

    def test_a_wrong_name_can_be_given_back(self):
        """The same where the wrong client has stored something."""
        server = self.serve("cache-on-read=true")
        server.connect("typo").pread(BLOCK, 0)
        server.terminate()
        server = self.serve()
        self.assertIsNotNone(error_of(server.connect))
        self.assertIn("nbdstack-cache discard", server.log())
        server.terminate()
        self.assertEqual(run_command("nbdstack-cache", "discard", self.directory).returncode, 0)
        self.serve().connect().pread(BLOCK, 0)


class ReadOnly(CacheDirCase):
    def test_a_readonly_server_writes_nothing(self):
        """nbdkit -r that writes what an earlier server left, without a client, with clients, or when
        it stops; or that does not show what is newest."""
        written = self.leave_dirty(3 * BLOCK, 7)
        self.below.heal()
        server = self.serve("-r")
        self.assertEqual(server.connect().pread(BLOCK, 3 * BLOCK), written)
        server.terminate()
        self.assertEqual(self.below.requests("pwrite", "zero", "trim"), [])
        self.assertIn(str(self.directory), server.log())
        self.serve()
        self.below.wait_until_stored(3 * BLOCK, written)


if __name__ == "__main__":
    unittest.main()
