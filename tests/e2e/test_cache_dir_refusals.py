"""cache-dir: a directory belongs to one disk and one server, and damage in it is noticed."""

import re
import unittest

from support import data
from support.cache_case import BLOCK, SIZE, CacheDirCase, error_of
from support.nbdkit import Nbdkit, NbdkitError, run_expecting_failure

KIB, MIB = 1 << 10, 1 << 20
LOCAL = "cache-flush=local"


class Identity(CacheDirCase):
    def check_refused(self, *parameters, export="", because=()):
        """A server that does not serve this disk from the directory, and says so. Which disk it is
        can be known at start or when a client asks for it."""
        try:
            server = Nbdkit(*self.command(*parameters))
        except NbdkitError as refusal:
            said = str(refusal).split("\n", 1)[1]
        else:
            with server:
                self.assertIsNotNone(error_of(lambda: server.connect(export)))
                said = server.log()
        for text in (str(self.directory), *because):
            self.assertIn(text, said)
        return said

    def check_intact(self, expected):
        """The cache is what it was for the disk that it belongs to: as that does not tell which one
        it is, half of the blocks are compared with it."""
        handle = self.serve().connect()
        self.assertEqual(handle.pread(len(expected), 0), expected)
        self.assertLessEqual(len(self.below.requests("pread")), len(expected) // BLOCK // 2)

    def test_other_size(self):
        """The directory of a disk of another size is refused."""
        expected = self.fill()
        usual = self.below
        self.set_up_below(size=SIZE + MIB)
        self.check_refused(because=[str(SIZE), str(SIZE + MIB)])
        self.below = usual
        self.check_intact(expected)

    def test_other_block_size(self):
        """A directory of another block size is refused."""
        expected = self.fill()
        said = self.check_refused("cache-min-block-size=128K")
        self.assertRegex(said, "131072|128K")
        self.check_intact(expected)

    def test_other_cache_id(self):
        """A directory of another cache-id is refused."""
        expected = self.fill()
        self.check_refused("cache-id=another", because=["another"])
        self.check_intact(expected)

    def test_same_cache_id(self):
        """A directory of the same cache-id is used."""
        expected = self.fill("cache-id=mine")
        handle = self.serve("cache-id=mine").connect()
        self.assertEqual(handle.pread(len(expected), 0), expected)

    def test_other_export(self):
        """The directory of another export is refused, by the same server and by a later one."""
        expected = self.fill()
        self.check_refused(export="other", because=["other"])
        server = self.serve()
        handle = server.connect()
        self.assertIsNotNone(error_of(lambda: server.connect("other")))
        self.assertEqual(handle.pread(len(expected), 0), expected)
        self.assertIn("cache-exports", server.log())

    def test_message_tells_how_to_discard(self):
        """The way out that a refusal names works."""
        self.fill()
        said = self.check_refused("cache-id=another")
        self.assertRegex(said, "(?i)remove|delete")
        for file in self.directory.iterdir():
            file.unlink()
        self.serve("cache-id=another").connect().pread(BLOCK, 0)

    def test_second_server(self):
        """A second server is refused a directory in use."""
        first = self.serve()
        handle = first.connect()
        handle.pwrite(data.tagged(7, 0, BLOCK), 0)
        self.check_refused()
        self.assertEqual(handle.pread(BLOCK, 0), data.tagged(7, 0, BLOCK))
        handle.flush()
        first.kill()
        self.serve().connect().pread(BLOCK, 0)  # the lock ends with its holder

    def test_directory_of_somebody_else(self):
        """A directory with other files in it is refused."""
        self.directory.mkdir()
        (self.directory / "thesis.tex").write_text("years of work")
        self.check_refused()
        self.assertEqual([file.name for file in self.directory.iterdir()], ["thesis.tex"])

    def test_other_users_cannot_look(self):
        """No other user may look into the directory."""
        self.fill()
        self.assertEqual(self.directory.stat().st_mode & 0o077, 0)


class Parameters(CacheDirCase):
    def test_local_flush_needs_a_directory(self):
        """cache-flush=local is refused without cache-dir."""
        _, said = run_expecting_failure("--filter=cache", "memory", "1M", LOCAL)
        self.assertIn("cache-dir", said)
        self.assertIn("cache-flush", said)

    def test_directory_must_be_usable(self):
        """A directory that cannot be used is refused, by name."""
        (self.scratch / "file").touch()
        for path in (str(self.scratch / "file"), "/proc/no-such-directory", ""):
            with self.subTest(path):
                _, said = run_expecting_failure(
                    "--filter=cache", "memory", "1M", f"cache-dir={path}"
                )
                self.assertIn("cache-dir", said)
                self.assertIn(path, said)

    def test_size_in_percent(self):
        """cache-max-size=N% is a part of the file system, from 1 to 100."""
        self.serve("cache-max-size=50%").connect().pread(BLOCK, 0)
        for wrong in ("0%", "101%", "%", "-5%", "5%%"):
            with self.subTest(wrong):
                _, said = run_expecting_failure(
                    "--filter=cache", "memory", "1M", f"cache-max-size={wrong}"
                )
                self.assertIn("cache-max-size", said)


class Damage(CacheDirCase):
    def damage(self, *contents):
        """Flips a bit in the middle of each content, wherever the cache keeps it."""
        missing = set(contents)
        for file in self.directory.iterdir():
            stored = file.read_bytes()
            for content in contents:
                at = stored.find(content)
                if at >= 0:
                    missing.discard(content)
                    with open(file, "r+b") as opened:
                        opened.seek(at + len(content) // 2)
                        opened.write(bytes([content[len(content) // 2] ^ 0x10]))
        self.assertFalse(missing, "content that the cache does not keep as it is")

    def test_damaged_clean_block_is_fetched_again(self):
        """A damaged clean block is fetched again."""
        self.below.tell(5)
        expected = self.fill()
        self.damage(expected[3 * BLOCK : 3 * BLOCK + 4 * KIB], expected[20 * BLOCK : 21 * BLOCK])
        handle = self.serve().connect()
        self.assertEqual(handle.pread(32 * BLOCK, 0), expected)
        touched = {request.offset // BLOCK for request in self.below.requests("pread")}
        self.assertEqual(touched, {3, 20})

    def test_damaged_dirty_block_is_reported(self):
        """A damaged dirty block is an error, and is not written below; the rest of the disk is
        served."""
        at, good_at = 33 * BLOCK, 90 * BLOCK
        good = self.leave_dirty(good_at, 7)
        lost = self.leave_dirty(at, 8)
        self.damage(lost)
        server = self.serve(LOCAL, "cache-on-read=true")
        handle = server.connect()
        self.assertEqual(error_of(lambda: handle.pread(BLOCK, at)), "EIO")
        self.assertEqual(handle.pread(BLOCK, good_at), good)
        self.assertEqual(handle.pread(BLOCK, 0), data.tagged(1, 0, BLOCK))
        self.assertRegex(server.log(), rf"error: .*(\b{at}\b|{at:#x}\b)")
        self.below.heal()
        self.below.wait_until_stored(good_at, good)
        self.assertEqual(self.below.stored(at, BLOCK), data.tagged(1, at, BLOCK))
        # Written again, it is as good as any other.
        handle.pwrite(data.tagged(9, at, BLOCK), at)
        handle.flush()
        self.assertEqual(handle.pread(BLOCK, at), data.tagged(9, at, BLOCK))
        self.below.wait_until_stored(at, data.tagged(9, at, BLOCK))

    def test_damaged_index_is_no_reason_not_to_start_where_nothing_is_dirty(self):
        """Where nothing is dirty, a server starts over any damaged or shortened index, and shows
        the layer below."""
        expected = self.fill()
        original = {file: file.read_bytes() for file in self.directory.iterdir()}
        for file in original:
            if not re.match(r"index|journal|snapshot", file.name) or not original[file]:
                continue
            for part in range(4):
                with self.subTest(file=file.name, part=part):
                    for name in self.directory.iterdir():
                        name.unlink()
                    for name, content in original.items():
                        name.write_bytes(content)
                    damaged = bytearray(original[file])
                    if part == 3:
                        del damaged[len(damaged) // 2 :]
                    else:
                        damaged[(len(damaged) - 1) * part // 2] ^= 0x40
                    file.write_bytes(damaged)
                    server = self.serve()
                    self.assertEqual(server.connect().pread(32 * BLOCK, 0), expected)
                    self.assertEqual(server.terminate(), 0, server.log())

    def leave_two_flushes(self):
        """Two blocks, each flushed to the directory and not below, by two servers that were killed;
        and the directory's files as they were after the first one."""
        contents = [(90 * BLOCK, self.leave_dirty(90 * BLOCK, 7))]
        after_first = {file: file.read_bytes() for file in self.directory.iterdir()}
        server = self.serve(LOCAL)
        handle, written = server.connect(), data.tagged(8, 33 * BLOCK, BLOCK)
        handle.pwrite(written, 33 * BLOCK)
        handle.flush()
        server.kill()
        return [*contents, (33 * BLOCK, written)], after_first

    def only(self, pattern):
        """The file that has something in it."""
        files = [file for file in self.directory.glob(pattern) if file.stat().st_size > 0]
        self.assertEqual(len(files), 1)
        return files[0]

    def check_refused_before_the_fork(self, file):
        before = {each: each.read_bytes() for each in self.directory.iterdir()}
        with self.assertRaises(NbdkitError) as refused:
            Nbdkit(*self.command(LOCAL))
        said = str(refused.exception)
        for text in (str(self.directory), file.name.split(".")[0], "cache-salvage=true", "remove"):
            self.assertIn(text, said)
        now = {each: each.read_bytes() for each in self.directory.iterdir()}
        for each in (before, now):
            del each[self.directory / "lock"]
        self.assertEqual(now, before)

    def test_journal_that_has_lost_flushed_changes_is_refused(self):
        """A journal that lacks flushed changes is refused, be it damaged, cut or deleted."""
        self.leave_two_flushes()
        journal = self.only("journal.*")
        whole = journal.read_bytes()
        flipped = bytearray(whole)
        flipped[20] ^= 1
        for content in (flipped, whole[: len(whole) // 2], b"", bytes(len(whole)), None):
            with self.subTest(size=None if content is None else len(content)):
                if content is None:
                    journal.unlink()
                else:
                    journal.write_bytes(content)
                self.check_refused_before_the_fork(journal)
        journal.write_bytes(whole)
        self.serve(LOCAL)

    def test_index_that_has_lost_flushed_changes_is_refused(self):
        """So is an index that lacks them."""
        self.leave_two_flushes()
        index = self.only("index.*")
        whole = index.read_bytes()
        for content in (whole[:80], whole[:70] + b"x" + whole[71:], None):
            with self.subTest(size=None if content is None else len(content)):
                if content is None:
                    index.unlink()
                else:
                    index.write_bytes(content)
                with self.assertRaises(NbdkitError):
                    Nbdkit(*self.command(LOCAL))
        index.write_bytes(whole)
        self.serve(LOCAL)

    def test_older_copy_of_the_journal_is_refused(self):
        """An older copy of the journal is refused."""
        at = 90 * BLOCK
        self.below.fail("pwrite", "zero", "trim")
        server = self.serve(LOCAL)
        handle = server.connect()
        handle.pwrite(data.tagged(7, at, BLOCK), at)
        handle.flush()
        journal = self.only("journal.*")
        older = journal.read_bytes()
        handle.pwrite(data.tagged(8, at, BLOCK), at)
        handle.flush()
        server.kill()
        journal.write_bytes(older)
        self.check_refused_before_the_fork(journal)

    def test_what_can_be_proven_is_salvaged(self):
        """cache-salvage=true keeps all that can be proven; the refusal before says how much that
        is."""
        (good_at, good), (lost_at, _) = self.leave_two_flushes()[0]
        self.only("journal.*").unlink()
        server = self.serve(LOCAL, "cache-salvage=true")
        handle = server.connect()
        self.assertEqual(handle.pread(BLOCK, good_at), good)
        self.assertEqual(handle.pread(BLOCK, lost_at), data.tagged(1, lost_at, BLOCK))
        self.assertRegex(server.log(), "error: .*LOST")
        self.assertRegex(server.log(), rf"error: .*\b{good_at}\b")
        self.below.heal()
        self.below.wait_until_stored(good_at, good)
        self.assertEqual(server.terminate(), 0)
        # Once is enough.
        self.assertNotIn("LOST", self.serve(LOCAL).log())

    def test_note_of_the_last_commit_may_be_lost_alone(self):
        """Where only the note of the last commit is missing, the server starts, and says so."""
        (good_at, good), (other_at, other) = self.leave_two_flushes()[0]
        (self.directory / "committed").unlink()
        server = self.serve(LOCAL)
        handle = server.connect()
        self.assertEqual(handle.pread(BLOCK, good_at), good)
        self.assertEqual(handle.pread(BLOCK, other_at), other)
        self.assertRegex(server.log(), "error: .*committed is missing")


if __name__ == "__main__":
    unittest.main()
