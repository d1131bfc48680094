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
        """Where the disk tells that nobody else has written, cached blocks are served without a
        request below."""
        self.below.tell(5)
        expected = self.fill()
        self.below.tell(6, since=5)
        handle = self.serve().connect()
        self.assertEqual(handle.pread(32 * BLOCK, 0), expected)
        self.assertEqual(self.below.requests("pread", "pwrite", "flush"), [])

    def test_clean_blocks_of_an_older_term_are_dropped(self):
        """When another server has written, clean blocks are dropped, with a line in the log."""
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
        """Dirty blocks of an earlier term are not written over a newer one: the start is refused,
        and says what can be done."""
        self.leave_dirty_in_term_5()
        for parameters in ((), (LOCAL,), ("-r",)):
            said = self.refused(*parameters)
            for text in (str(self.directory), f"{BLOCK} bytes", "term 5", "term 6", "show",
                         "export", "discard", "cache-dirty=force"):  # fmt: skip
                self.assertIn(text, said)
        self.assertEqual(self.below.stored(3 * BLOCK, BLOCK), data.tagged(9, 3 * BLOCK, BLOCK))
        self.assertEqual(self.below.requests("pwrite"), [])

    def test_the_ways_out(self):
        """After such a refusal, what is dirty can be listed, exported and discarded."""
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
        """nbdstack-cache refuses a directory that a server uses."""
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
        """cache-dirty=force writes the dirty blocks, and drops the clean ones."""
        written = self.leave_dirty_in_term_5()
        server = self.serve("cache-dirty=force")
        self.below.wait_until_stored(3 * BLOCK, written)
        self.assertRegex(server.log(), rf"\b{BLOCK} bytes.*cache-dirty=force")

    def test_discard_says_how_much(self):
        """cache-dirty=discard writes nothing, and says how much is discarded."""
        self.leave_dirty_in_term_5()
        server = self.serve("cache-dirty=discard")
        newer = data.tagged(9, 3 * BLOCK, BLOCK)
        self.assertEqual(server.connect().pread(BLOCK, 3 * BLOCK), newer)
        self.assertRegex(server.log(), rf"\b{BLOCK} bytes.*discard")
        self.assertEqual(server.terminate(), 0)
        self.assertEqual(self.below.stored(3 * BLOCK, BLOCK), newer)

    def test_another_disk_is_refused(self):
        """A directory is refused over another volume, also one of the same name and size."""
        self.leave_dirty_in_term_5()
        self.below.tell(5, disk="volume-2")
        for policy in ("refuse", "force", "discard"):
            said = self.refused(f"cache-dirty={policy}")
            for text in ("volume-1", "volume-2", f"{BLOCK} bytes"):
                self.assertIn(text, said)
        self.assertEqual(self.below.requests("pwrite"), [])

    def test_a_restored_copy_of_the_directory(self):
        """A directory restored from a backup does not write over what came later."""
        written = self.leave_dirty_in_term_5()
        self.below.tell(8, since=7)
        self.assertIn("term 5", self.refused())
        self.below.tell(4)  # or the disk was, and the directory is the newer of the two
        self.assertIn("restored", self.refused())
        self.below.tell(6, since=5)
        self.serve()
        self.below.wait_until_stored(3 * BLOCK, written)

    def test_names_do_not_matter_to_a_known_disk(self):
        """The directory of a disk that tells its identity serves every export name of that disk."""
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
        """A server that another one has taken over from refuses requests, and never writes its
        dirty blocks."""
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
        """A server that was suspended, and whose disk nobody took, serves again."""
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
        """Clean blocks are dropped when somebody has written without the directory."""
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
        """Dirty blocks of a disk that has been changed since are refused."""
        self.fill()
        self.leave_dirty(40 * BLOCK, 7)
        self.below.heal()
        self.below.change(0, data.tagged(9, 0, 32 * BLOCK))
        said = run_expecting_failure(*self.command())[1]
        for text in (f"{BLOCK} bytes", "cache-dirty=force", "offset 0"):
            self.assertIn(text, said)

    def test_a_mistyped_name_leaves_no_trace(self):
        """A mistyped export name does not bind the directory."""
        server = self.serve()
        server.connect("typo").pread(512, 0)
        server.disconnect()
        handle = server.connect()
        handle.pwrite(data.tagged(7, 0, BLOCK), 0)
        handle.flush()
        server.terminate()
        self.assertEqual(self.serve().connect().pread(BLOCK, 0), data.tagged(7, 0, BLOCK))

    def test_a_wrong_name_can_be_given_back(self):
        """A directory that has cached for a wrong name can be discarded."""
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
        """nbdkit -r shows what an earlier server left, and never writes it back."""
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
