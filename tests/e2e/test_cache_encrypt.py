"""cache-encrypt: nothing of the disk lies in the clear in what the cache stores, and what it stores
is served, written back and kept like any other."""

import glob
import os
import unittest

from support import data
from support.cache_case import BLOCK, SIZE, CacheCase, CacheDirCase
from support.command import run_command
from support.nbdkit import run_expecting_failure

# Neither begins nor ends where a page or a part of a page does.
SECRET = b"TOP-SECRET-CONTENT-OF-THE-DISK "
# What is looked for: no longer than what the cipher encrypts at once, so that a part of it is found.
NEEDLE = SECRET[:10]


def secret(length):
    """Content that is found wherever any of it lies."""
    return (SECRET * (length // len(SECRET) + 1))[:length]


def files_with_secret(files):
    """The names of those files that hold any of it."""
    found = []
    for name in files:
        with open(name, "rb") as file:
            if NEEDLE in file.read():
                found.append(os.path.basename(name))
    return sorted(found)


class EncryptedDirectory(CacheDirCase):
    """cache-dir with cache-encrypt."""

    def setUp(self):
        super().setUp()
        self.key_file = self.scratch / "key"
        self.key_file.write_text("correct horse battery staple\n")
        self.encrypt = f"cache-encrypt=+{self.key_file}"

    def files(self):
        return [path for path in self.directory.iterdir() if path.is_file()]

    def fill_with_secret(self, *parameters):
        """Clean blocks, dirty ones, and such as lie in both data files; killed, and then stopped."""
        self.below.fail("pwrite", "zero", "trim")
        self.below.change(0, secret(4 * BLOCK))
        server = self.serve("cache-flush=local", "cache-on-read=true", *parameters)
        handle = server.connect()
        self.assertEqual(handle.pread(4 * BLOCK, 0), secret(4 * BLOCK))
        for _ in range(2):
            handle.pwrite(secret(2 * BLOCK), 8 * BLOCK)
            handle.pwrite(secret(5000), 12 * BLOCK + 100)
            handle.flush()
        return server

    def refused(self, *parameters):
        return run_expecting_failure(*self.command(*parameters))[1]

    def test_no_file_of_the_directory_holds_the_content(self):
        """No file of the directory holds the disk's content, while the server runs, after SIGKILL
        and after a stop."""
        server = self.fill_with_secret(self.encrypt)
        self.assertGreater(sum(file.stat().st_size for file in self.files()), 4 * BLOCK)
        self.assertEqual(files_with_secret(self.files()), [])
        server.kill()
        self.assertEqual(files_with_secret(self.files()), [])
        self.below.heal()
        server = self.serve(self.encrypt)
        self.below.wait_until_stored(8 * BLOCK, secret(2 * BLOCK))
        self.assertEqual(server.terminate(), 0, server.log())
        self.assertEqual(files_with_secret(self.files()), [])

    def test_without_it_the_content_is_found(self):
        """The control of the test above."""
        self.fill_with_secret().kill()
        self.assertEqual(files_with_secret(self.files()), ["data", "data2"])

    def test_hits_after_a_restart(self):
        """With the right passphrase, given in any way, cached blocks are served after a restart."""
        self.below.tell(5)
        expected = self.fill(self.encrypt)
        self.below.tell(6, since=5)
        handle = self.serve("cache-encrypt=correct horse battery staple").connect()
        self.assertEqual(handle.pread(32 * BLOCK, 0), expected)
        self.assertEqual(handle.pread(1000, 12345), expected[12345:13345])
        self.assertEqual(self.below.requests("pread", "pwrite", "flush"), [])

    def test_dirty_blocks_outlive_a_kill(self):
        """Flushed data survive SIGKILL and are written back decrypted."""
        written = self.leave_dirty(3 * BLOCK, 7, parameters=(self.encrypt,))
        self.below.heal()
        server = self.serve(self.encrypt)
        self.below.wait_until_stored(3 * BLOCK, written)
        self.assertEqual(server.connect().pread(BLOCK, 3 * BLOCK), written)
        self.assertEqual(server.terminate(), 0, server.log())

    def test_other_passphrases_are_refused(self):
        """A wrong passphrase, or none, is refused with what to do; nothing is changed, and no
        passphrase shown."""
        written = self.leave_dirty(3 * BLOCK, 7, parameters=(self.encrypt,))
        said = self.refused("cache-encrypt=Tr0ub4dor")
        for text in (str(self.directory), "cache-encrypt", "not the passphrase", "nbdstack-cache"):
            self.assertIn(text, said)
        self.assertNotIn("Tr0ub4dor", said)
        said = self.refused()
        for text in (str(self.directory), "is encrypted", "cache-encrypt", "nbdstack-cache"):
            self.assertIn(text, said)
        self.assertIn("cache-encrypt", self.refused("cache-encrypt="))
        self.below.heal()
        self.serve(self.encrypt)
        self.below.wait_until_stored(3 * BLOCK, written)

    def test_a_directory_in_the_clear_is_refused(self):
        """An unencrypted directory is refused with cache-encrypt, and the way out that the refusal
        names works."""
        self.fill()
        said = self.refused(self.encrypt)
        for text in (str(self.directory), "not encrypted", "nbdstack-cache discard"):
            self.assertIn(text, said)
        self.assertEqual(run_command("nbdstack-cache", "discard", self.directory).returncode, 0)
        self.serve(self.encrypt).connect().pwrite(secret(BLOCK), 0)

    def test_the_command(self):
        """nbdstack-cache needs the passphrase for an export only; a failed export leaves no file.
        """
        written = self.leave_dirty(3 * BLOCK, 7, parameters=(self.encrypt,))
        shown = run_command("nbdstack-cache", "show", self.directory)
        self.assertEqual(shown.returncode, 0, shown.stderr)
        self.assertIn(f"offset={3 * BLOCK} length={BLOCK} data", shown.stdout)
        self.assertIn("encrypted: aes-256-xts", shown.stdout)

        saved = self.scratch / "saved"
        for words, text in (([], "cache-encrypt="), (["cache-encrypt=wrong"], "not the passphrase")):
            done = run_command("nbdstack-cache", "export", self.directory, saved, *words)
            self.assertEqual(done.returncode, 2)
            self.assertIn(text, done.stderr)
            self.assertFalse(saved.exists())
        done = run_command("nbdstack-cache", "export", self.directory, saved, self.encrypt)
        self.assertEqual(done.returncode, 0, done.stderr)
        content = saved.read_bytes()
        self.assertEqual(len(content), SIZE)
        self.assertEqual(content[3 * BLOCK : 4 * BLOCK], written)

        self.assertEqual(run_command("nbdstack-cache", "discard", self.directory).returncode, 2)
        done = run_command("nbdstack-cache", "discard", "--yes", self.directory)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.below.heal()
        handle = self.serve("cache-encrypt=another").connect()
        self.assertEqual(handle.pread(BLOCK, 3 * BLOCK), data.tagged(1, 3 * BLOCK, BLOCK))

    def test_a_damaged_dirty_page_is_an_error(self):
        """A damaged dirty page is an error."""
        self.leave_dirty(3 * BLOCK, 7, parameters=(self.encrypt,))
        with open(self.directory / "data", "r+b") as file:
            byte = file.read(1)
            file.seek(0)
            file.write(bytes([byte[0] ^ 1]))
        shown = run_command("nbdstack-cache", "show", self.directory)
        self.assertEqual(shown.returncode, 1, shown.stderr)
        self.assertIn(f"offset={3 * BLOCK} length={BLOCK} damaged", shown.stdout)


class EncryptedTemporaryFile(CacheCase):
    """cache-encrypt without cache-dir."""

    def temporary_files(self, server):
        """What the server has open and nobody can see in a directory."""
        links = glob.glob(f"/proc/{server.pid}/fd/*")
        return [link for link in links if "nbdstack-cache" in os.readlink(link)]

    def serve_secret(self, *parameters):
        server = self.serve("cache-on-read=true", *parameters)
        handle = server.connect()
        handle.pwrite(secret(2 * BLOCK), 8 * BLOCK)
        handle.pwrite(secret(5000), 12 * BLOCK + 100)
        self.assertEqual(handle.pread(2 * BLOCK, 8 * BLOCK), secret(2 * BLOCK))
        self.assertEqual(handle.pread(5000, 12 * BLOCK + 100), secret(5000))
        return server

    def test_the_temporary_file_does_not_hold_the_content(self):
        """The temporary file does not hold the content, and what is written below is decrypted."""
        server = self.serve_secret("cache-encrypt=whatever")
        self.assertNotEqual(self.temporary_files(server), [])
        self.assertEqual(files_with_secret(self.temporary_files(server)), [])
        self.assertEqual(server.terminate(), 0, server.log())
        self.assertEqual(self.below.stored(8 * BLOCK, 2 * BLOCK), secret(2 * BLOCK))

    def test_without_it_the_content_is_found(self):
        """The control of the test above."""
        server = self.serve_secret()
        self.assertEqual(len(files_with_secret(self.temporary_files(server))), 1)


if __name__ == "__main__":
    unittest.main()
