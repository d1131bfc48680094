"""nbdstack-s3: the verbs that make, show and change a volume, and its command line, on a directory and on
Ceph's gateway."""

import json
import os
import pathlib
import tempfile
import unittest

from e2e.s3_command_case import (
    CONTENT,
    FULL,
    HALF,
    MIB,
    OBJECT,
    SIZE,
    OnADirectory,
    OnAService,
    VerbsCase,
)
from e2e.stores import GatewayStore, gateway
from support.nbdkit import Nbdkit, run_expecting_failure
from support.s3_command import run_s3_command


class Verbs:
    """The same on every store."""

    # --- create, show, list ---

    def test_a_volume_that_was_created_is_served_and_shown(self):
        """A created volume is served, and `show` describes it."""
        done = self.run_verb("create", size="1M", object_size="64K")
        self.assertIn(str(SIZE), done.stdout)
        self.write(CONTENT[: 3 * OBJECT])
        report = self.shown()
        self.assertEqual(
            {name: report[name] for name in ("layout", "size", "object-size", "objects", "owner")},
            {"layout": "own", "size": SIZE, "object-size": OBJECT, "objects": 3, "owner": None},
        )
        self.assertGreaterEqual(report["stored-bytes"], 3 * OBJECT)
        text = self.run_verb("show").stdout
        self.assertIn("stored: 3 of 16 objects", text)
        self.assertIn("owner: nobody", text)

    def test_create_refuses_what_exists(self):
        """`create` refuses a volume that exists."""
        self.fill()
        before = sorted(self.store.keys())
        done = self.run_verb("create", size="1M", object_size="64K", code=1)
        self.assertIn("nbdstack-volume.json", done.stderr)
        self.assertEqual(sorted(self.store.keys()), before)

    def test_list_names_the_volumes(self):
        """`list` names every volume, and nothing else."""
        for name in ("vms/a", "vms/b b", "vms/c/d"):
            self.run_verb("create", size="1M", key=name)
        self.assertEqual(self.run_verb("list", key="vms").stdout, "a\nb b\n")
        listed = self.run_verb("list", "--json", key="vms").stdout
        self.assertEqual(json.loads(listed), ["a", "b b"])
        self.assertEqual(self.run_verb("list", key="nothing").stdout, "")

    def test_the_owner_is_shown_while_it_serves(self):
        """`show` names the owner while a server has the volume, and none after it."""
        self.run_verb("create", size="1M")
        server = self.serve()
        self.assertIn(f"pid {server.pid}", self.shown()["owner"]["words"])
        server.terminate()
        self.assertIsNone(self.shown()["owner"])

    # --- resize ---

    def test_resize_up_and_down(self):
        """`resize` keeps the data within the new size, and what it cuts off does not come back."""
        self.fill()
        self.run_verb("resize", size="4M")
        self.assertEqual(self.read(4 * MIB), CONTENT + bytes(3 * MIB))
        refused = self.run_verb("resize", size="512K", code=1)
        self.assertIn("--force", refused.stderr)
        self.run_verb("resize", "--force", size=SIZE // 2 + 1000)
        self.assertEqual(len(self.store.block_keys()), HALF + 1)
        self.run_verb("resize", size="2M")
        kept = SIZE // 2 + 1000
        self.assertEqual(self.read(2 * MIB), CONTENT[:kept] + bytes(2 * MIB - kept))

    def test_resize_under_a_running_server_is_refused(self):
        """`resize` is refused while a server has the volume."""
        self.fill()
        server = self.serve()
        for options, size in ((), "4M"), (("--force",), "512K"):
            done = self.run_verb("resize", *options, size=size, code=1)
            self.assertIn(f"pid {server.pid}", done.stderr)
        self.assertEqual(server.connect().pread(SIZE, 0), CONTENT)
        server.terminate()
        self.run_verb("resize", size="4M")

    # --- passphrase ---

    def test_passphrase_is_changed_without_writing_a_block(self):
        """A changed passphrase opens the volume, and the former one does not; no block is written.
        """
        self.fill(encrypt="aes-256-gcm", passphrase="secret")
        blocks = {key: self.store.body(key) for key in self.store.block_keys()}
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory) / "passphrase"
            path.write_text("another one\n")
            self.run_verb("passphrase", passphrase="secret", new_passphrase=f"+{path}")
        self.assertEqual({key: self.store.body(key) for key in self.store.block_keys()}, blocks)
        code, errors = run_expecting_failure(*self.store.volume(key="vm", passphrase="secret"))
        self.assertEqual(code, 1)
        self.assertIn("passphrase", errors)
        self.assertEqual(self.read(SIZE, passphrase="another one"), CONTENT)
        self.run_verb("resize", size="2M", passphrase="secret", code=1)
        self.run_verb("resize", size="2M", passphrase="another one")

    def test_passphrases_are_read_from_where_they_are(self):
        """Passphrases are read from a file, a descriptor or standard input."""
        secret = {"encrypt": "aes-256-gcm", "passphrase": "-"}
        self.run_verb("create", size="1M", input_text="one\n", **secret)
        reading, writing = os.pipe()
        os.write(writing, b"two\n")
        os.close(writing)
        words = self.words(passphrase="one", new_passphrase=f"-{reading}")
        done = run_s3_command("passphrase", *words, pass_fds=(reading,))
        os.close(reading)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.run_verb("check", passphrase="two")

    def test_a_wrong_passphrase_changes_nothing_and_is_not_shown(self):
        """A wrong passphrase changes nothing, and is not shown."""
        self.fill(encrypt="aes-256-gcm", passphrase="secret")
        done = self.run_verb("passphrase", passphrase="hidden1", new_passphrase="hidden2", code=1)
        self.assertNotIn("hidden", done.stderr)
        self.assertEqual(self.read(SIZE, passphrase="secret"), CONTENT)

    # --- what is refused ---

    def test_readonly_changes_nothing(self):
        """With readonly=true nothing is changed."""
        self.fill()
        for verb, more in (
            ("create", {"size": "1M", "key": "new"}),
            ("resize", {"size": "2M"}),
            ("delete", {}),
            ("passphrase", {"passphrase": "a", "new_passphrase": "b"}),
        ):
            done = self.run_verb(verb, code=1, readonly="true", **more)
            self.assertIn("readonly", done.stderr)
        self.assertEqual(self.read(SIZE), CONTENT)

    def test_nothing_there(self):
        """Where there is no volume, each verb says so, and makes none."""
        self.run_verb("create", size="1M", key="other")
        for verb, more in ("show", {}), ("check", {}), ("resize", {"size": "1M"}), ("delete", {}):
            options = ("--yes",) if verb == "delete" else ()
            self.assertIn("vm", self.run_verb(verb, *options, code=1, **more).stderr)


class VerbsOnADirectory(Verbs, OnADirectory, VerbsCase):
    """A local one."""


class VerbsOnAService(Verbs, OnAService, VerbsCase):
    """Ceph's gateway."""

    def test_wrong_credentials(self):
        """Wrong credentials are an error at once, which says so."""
        self.fill()
        for verb in ("show", "check", "delete"):
            options = ("--yes",) if verb == "delete" else ()
            done = self.run_verb(verb, *options, code=1, secret_key="wrong")
            self.assertIn("SignatureDoesNotMatch", done.stderr)
        self.assertEqual(self.read(SIZE), CONTENT)


class S3backerVerbs(unittest.TestCase):
    """Volumes of s3backer's layout."""

    def test_show_check_and_delete(self):
        """The verbs understand every layout."""
        store = GatewayStore(gateway())  # a directory keeps no metadata, which the layout needs
        self.addCleanup(store.close)
        for hashed in ("false", "true"):
            key = f"backer-{hashed}"
            words = {"key": key, "layout": "s3backer", "block_hash_prefix": hashed}
            sized = words | {"size": "1M", "object_size": "64K"}
            with Nbdkit(*store.volume(**sized)) as server:
                server.connect().pwrite(CONTENT, 0)
                mounted = run_s3_command("show", "--json", *store.volume(**words)[1:])
                self.assertIn("mounted by", json.loads(mounted.stdout)["owner"]["words"])
                refused = run_s3_command("delete", "--yes", *store.volume(**words)[1:])
                self.assertEqual(refused.returncode, 1)
                self.assertIn("in use", refused.stderr)
            shown = run_s3_command("show", "--json", *store.volume(**words)[1:])
            self.assertEqual(json.loads(shown.stdout)["objects"], FULL)
            checked = run_s3_command("check", *store.volume(**words)[1:])
            self.assertEqual(checked.returncode, 0, checked.stderr)
            resized = run_s3_command("resize", *store.volume(**(words | {"size": "2M"}))[1:])
            self.assertEqual(resized.returncode, 1)
            deleted = run_s3_command("delete", "--yes", *store.volume(**words)[1:])
            self.assertEqual(deleted.returncode, 0, deleted.stderr)
            self.assertFalse([name for name in store.keys() if name.startswith(key)])


class CommandLine(unittest.TestCase):
    """Exit codes and --help, without a store."""

    def test_usage(self):
        """A mistake in the command line has an exit status of its own."""
        for words in (
            (), ("frob",), ("show",), ("show", "bucket=b", "colour=red"), ("create", "bucket=b"),
            ("show", "bucket=b", "--yes"), ("check", "bucket=b", "connections=0"),
        ):  # fmt: skip
            done = run_s3_command(*words)
            self.assertEqual(done.returncode, 2, words)
            self.assertRegex(done.stderr, "^nbdstack-s3: error: ")
            self.assertEqual(done.stdout, "")

    def test_help_and_version(self):
        """--help and --version print to standard output, with status 0."""
        for words in ("--help",), ("check", "--help"):
            done = run_s3_command(*words)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn("endpoint-url=", done.stdout)
        self.assertRegex(run_s3_command("--version").stdout, r"^nbdstack-s3 \d+\.\d+")


if __name__ == "__main__":
    unittest.main()
