"""Volumes of s3backer's: who has one mounted, what is found out, and what has to be said."""

import unittest

from e2e.s3backer_case import BLOCK, SIZE, TOKEN, WAYS, S3backerCase
from support.data import random_bytes
from support.s3backer import expect_refusal


class MountToken(S3backerCase):
    """Who has the volume, in s3backer's way."""

    def make_volume(self):
        """By s3backer, with something in block 0."""
        with self.theirs(size=SIZE) as disk:
            self.write_first(disk, 1)

    def test_ours_refuses_what_s3backer_has_mounted(self):
        """Two writers, unless ours only reads, or is told to."""
        self.make_volume()
        with self.theirs() as disk:
            message = self.expect_ours_refuses()
            self.assertIn(TOKEN, message)
            self.assertIn("own=force", message)
            with self.ours(readonly="true") as server:
                self.expect_all(server.connect())
            self.expect_all(disk)
            self.assertIn(TOKEN, self.store.keys())

    def test_s3backer_refuses_what_ours_serves(self):
        """And mounts it after a clean stop."""
        self.make_volume()
        with self.ours() as server:
            token = self.store.client.metadata(self.store.bucket, TOKEN)["s3backer-mount-token"]
            self.assertRegex(token, r"^[0-7][0-9a-f]{7}$")
            self.assertTrue(1 <= int(token, 16) <= 0x7FFFFFFE, token)
            message = expect_refusal(self.server, self.store.bucket)
            self.assertIn("already mounted", message)
            self.assertIn(token, message)
            self.assertEqual(server.terminate(), 0)
        self.assertNotIn(TOKEN, self.store.keys())
        with self.theirs() as disk:
            self.expect_all(disk)

    def test_two_of_ours(self):
        """The token stands for a lease."""
        self.make_volume()
        with self.ours():
            self.assertIn(TOKEN, self.expect_ours_refuses())

    def test_a_crash_leaves_it_and_force_takes_it(self):
        """Ours, then s3backer, are killed; the one that was forced removes it at its end."""
        self.make_volume()
        with self.ours() as server:
            server.kill()
        self.assertIn(TOKEN, self.expect_ours_refuses())
        with self.ours(own="force") as server:
            self.expect_all(server.connect())
            self.assertEqual(server.terminate(), 0)
        self.assertNotIn(TOKEN, self.store.keys())
        self.theirs().abandon()
        self.assertIn(TOKEN, self.expect_ours_refuses())
        with self.ours(own="force") as server:
            self.write(server.connect(), b"after a crash", 4000)
            self.assertEqual(server.terminate(), 0)
        with self.theirs() as disk:
            self.expect_all(disk)

    def test_none_is_put_where_none_is_wanted(self):
        """own=none and readonly=true."""
        self.make_volume()
        for parameters in ({"own": "none"}, {"readonly": "true"}):
            with self.subTest(**parameters), self.ours(**parameters) as server:
                self.expect_all(server.connect())
                self.assertNotIn(TOKEN, self.store.keys())

    def test_a_prefix_has_its_own(self):
        """Volumes under different prefixes are used at once."""
        self.way = WAYS["prefix"]
        self.make_volume()
        with self.ours():
            self.assertIn("a/b-" + TOKEN, self.store.keys())
            self.way = WAYS["plain"]
            with self.theirs(size=SIZE):
                self.assertIn(TOKEN, self.store.keys())


class Opening(S3backerCase):
    """What is found out, and what has to be said."""

    def test_without_block_0_the_size_has_to_be_said(self):
        """Only block 0 records it."""
        with self.theirs(size=SIZE) as disk:
            self.write(disk, random_bytes(1, BLOCK), 9 * BLOCK)
        self.assertEqual(self.stored_blocks(), [9])
        self.assertIn("block size", self.expect_ours_refuses())
        self.assertIn("size=", self.expect_ours_refuses(object_size=BLOCK))
        self.assertNotIn(TOKEN, self.store.keys())
        with self.ours(size=SIZE, object_size=BLOCK) as server:
            self.expect_all(server.connect())
            self.write(server.connect(), b"now there is one", 0)
        with self.ours() as server:
            self.assertEqual(server.connect().get_size(), SIZE)
            self.expect_all(server.connect())

    def test_another_size_or_block_size_is_refused(self):
        """Both numbers are in the message."""
        with self.theirs(size=SIZE) as disk:
            self.write_first(disk, 1)
        message = self.expect_ours_refuses(size=2 * SIZE)
        self.assertIn(str(SIZE), message)
        message = self.expect_ours_refuses(object_size=2 * BLOCK)
        self.assertIn(str(BLOCK), message)
        self.assertNotIn(TOKEN, self.store.keys())

    def test_an_empty_bucket_is_no_volume_of_s3backers(self):
        """Until a size says that a new one is meant."""
        self.assertIn("size=", self.expect_ours_refuses(layout="s3backer"))
        self.assertEqual(self.store.keys(), [])

    def test_layout_own_refuses_it(self):
        """And says what lies there."""
        with self.theirs(size=SIZE) as disk:
            self.write_first(disk, 1)
        before = self.store.keys()
        message = self.expect_ours_refuses(layout="own", size=SIZE)
        self.assertIn("s3backer", message)
        self.assertEqual(self.store.keys(), before)

    def test_names_of_the_other_kind(self):
        """With a hash and without, either way."""
        for written, opened, hint in (
            ("hashed", "plain", "block-hash-prefix=true"),
            ("plain", "hashed", "block-hash-prefix=false"),
        ):
            with self.subTest(written=written):
                self.way = WAYS[written]
                with self.theirs(size=SIZE) as disk:
                    self.write_first(disk, 1)
                self.way = WAYS[opened]
                self.assertIn(hint, self.expect_ours_refuses(layout="s3backer"))
                for key in self.store.keys():
                    self.store.client.delete(self.store.bucket, key)

    def test_a_passphrase_is_asked_for_and_checked(self):
        """None, and a wrong one: nothing is served as if it were data."""
        self.way = WAYS["encrypted"]
        with self.theirs(size=SIZE) as disk:
            self.write_first(disk, 1)
        before = self.objects()
        self.assertIn("passphrase", self.expect_ours_refuses(passphrase=None))
        message = self.expect_ours_refuses(passphrase="a wrong one")
        self.assertIn("passphrase", message)
        self.assertNotIn("a wrong one", message)
        self.assertNotIn(TOKEN, self.store.keys())
        self.assertEqual(self.objects(), before)

    def test_codings_change_block_by_block(self):
        """s3backer reads a mixture of plain and deflate, made by both."""
        with self.theirs(size=SIZE, options=["--compress"]) as disk:
            self.write_first(disk, 1)
        with self.ours(compress="none") as server:
            self.write(server.connect(), b"p" * BLOCK, 64 * BLOCK)
            self.expect_all(server.connect())
        encodings = {headers["content-encoding"] for headers, _ in self.objects().values()}
        self.assertEqual(encodings, {"deflate", None})
        with self.theirs() as disk:
            self.expect_all(disk)


if __name__ == "__main__":
    unittest.main()
