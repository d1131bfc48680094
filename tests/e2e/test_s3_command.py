"""nbdstack-s3: every verb as a user runs it, on a directory and on Ceph's gateway."""

import json
import os
import pathlib
import pty
import subprocess
import tempfile
import threading
import unittest

from e2e.stores import GatewayStore, LocalStore, gateway
from servers import faults
from servers.faulty_http import FaultyProxy
from support import data
from support.nbdkit import Nbdkit, run_expecting_failure
from support.s3_command import our_s3_command, run_s3_command

KIB, MIB = 1 << 10, 1 << 20
OBJECT = 64 * KIB
SIZE = 1 * MIB
CONTENT = data.tagged(1, 0, SIZE)
FULL, HALF = SIZE // OBJECT, SIZE // OBJECT // 2


class Verbs:
    """Mixed into a TestCase that makes a store. The volume is "vm"."""

    def setUp(self):
        self.store = self.make_store()
        self.addCleanup(self.store.close)

    def words(self, **parameters):
        """NAME=VALUE for the volume."""
        return self.store.volume(**({"key": "vm"} | parameters))[1:]

    def run_verb(self, verb, *options, code=0, input_text=None, **parameters):
        """Runs a verb and checks its exit code."""
        done = run_s3_command(verb, *options, *self.words(**parameters), input_text=input_text)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        if code != 0 and verb != "check":
            self.assertRegex(done.stderr, r"(?m)^nbdstack-s3: error: ")
        return done

    def serve(self, **parameters):
        """A server of the volume until the end of the test."""
        server = Nbdkit(*self.store.volume(**({"key": "vm"} | parameters)))
        self.addCleanup(server.stop)
        return server

    def fill(self, content=CONTENT, **parameters):
        """Creates the volume and writes `content` to it."""
        self.run_verb("create", size=len(content), object_size=OBJECT, **parameters)
        self.write(content, **parameters)

    def write(self, content, **parameters):
        """Writes from the beginning on."""
        with Nbdkit(*self.store.volume(key="vm", **parameters)) as server:
            handle = server.connect()
            handle.pwrite(content, 0)
            handle.flush()

    def read(self, count, **parameters):
        """Reads from the beginning on."""
        with Nbdkit(*self.store.volume(key="vm", **parameters)) as server:
            handle = server.connect()
            self.assertEqual(handle.get_size(), count)
            return handle.pread(count, 0)

    def shown(self, **parameters):
        """What show --json says."""
        return json.loads(self.run_verb("show", "--json", **parameters).stdout)

    # --- create, show, list ---

    def test_a_volume_that_was_created_is_served_and_shown(self):
        """Another volume than the one that was asked for."""
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
        """A volume that is opened, or overwritten, where a new one was wanted."""
        self.fill()
        before = sorted(self.store.keys())
        done = self.run_verb("create", size="1M", object_size="64K", code=1)
        self.assertIn("nbdstack-volume.json", done.stderr)
        self.assertEqual(sorted(self.store.keys()), before)

    def test_list_names_the_volumes(self):
        """A volume that is missing, or an object taken for one."""
        for name in ("vms/a", "vms/b b", "vms/c/d"):
            self.run_verb("create", size="1M", key=name)
        self.assertEqual(self.run_verb("list", key="vms").stdout, "a\nb b\n")
        listed = self.run_verb("list", "--json", key="vms").stdout
        self.assertEqual(json.loads(listed), ["a", "b b"])
        self.assertEqual(self.run_verb("list", key="nothing").stdout, "")

    def test_the_owner_is_shown_while_it_serves(self):
        """A volume in use that looks free, or a free one that looks used."""
        self.run_verb("create", size="1M")
        server = self.serve()
        self.assertIn(f"pid {server.pid}", self.shown()["owner"]["words"])
        server.terminate()
        self.assertIsNone(self.shown()["owner"])

    # --- resize ---

    def test_resize_up_and_down(self):
        """Data lost, or data back that was cut off."""
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
        """A disk that changes its size under its owner."""
        self.fill()
        server = self.serve()
        for options, size in ((), "4M"), (("--force",), "512K"):
            done = self.run_verb("resize", *options, size=size, code=1)
            self.assertIn(f"pid {server.pid}", done.stderr)
        self.assertEqual(server.connect().pread(SIZE, 0), CONTENT)
        server.terminate()
        self.run_verb("resize", size="4M")

    # --- check ---

    def test_check_finds_nothing_in_a_good_volume(self):
        """A false alarm."""
        self.fill()
        done = self.run_verb("check")
        self.assertEqual(done.stdout, "")
        self.assertIn(f"{FULL} object(s) checked", done.stderr)

    def test_check_names_what_is_damaged(self):
        """Damage that is not found, or the wrong objects named."""
        self.fill()
        keys = self.store.block_keys()
        self.store.corrupt(keys[3], 100)
        self.store.truncate(keys[5], OBJECT // 2)
        done = self.run_verb("check", retries=0, code=1)
        self.assertEqual(sorted(done.stdout.split()), [keys[3], keys[5]])
        self.assertIn(f"{FULL} object(s) checked", done.stderr)
        self.assertIn("2 damaged", done.stderr)
        self.store.corrupt(keys[3], 100)
        self.write(CONTENT)
        self.run_verb("check")

    def test_check_of_an_encrypted_volume(self):
        """Damage under a seal, and a block in another one's place."""
        self.fill(encrypt="aes-256-gcm", passphrase="secret", compress="zstd")
        self.run_verb("check", passphrase="secret")
        self.run_verb("check", passphrase="wrong", code=1)
        keys = self.store.block_keys()
        self.store.corrupt(keys[2], 50)
        self.store.replace(keys[7], self.store.body(keys[8]))
        done = self.run_verb("check", passphrase="secret", retries=0, code=1)
        self.assertEqual(sorted(done.stdout.split()), [keys[2], keys[7]])

    # --- delete ---

    def test_delete_asks_first(self):
        """Data gone without a question."""
        self.fill()
        done = self.run_verb("delete", input_text="vm\n", code=1)
        self.assertIn("--yes", done.stderr)
        self.assertEqual(self.answer("no")[0], 1)
        self.assertEqual(self.read(SIZE), CONTENT)
        code, shown = self.answer("vm")
        self.assertEqual(code, 0, shown)
        self.assertIn("Type its name, vm", shown)
        self.assertEqual(self.store.keys(), [])

    def answer(self, line):
        """Types `line` on a terminal where delete asks; its exit code and what it showed."""
        ours, terminal = pty.openpty()
        process = subprocess.Popen(
            [our_s3_command(), "delete", *self.words()],
            stdin=terminal, stdout=terminal, stderr=terminal,
        )  # fmt: skip
        os.close(terminal)
        shown = b""
        try:
            while b"to go on: " not in shown:
                shown += os.read(ours, 1000)
            os.write(ours, line.encode() + b"\n")
            while piece := os.read(ours, 1000):
                shown += piece
        except OSError:
            pass  # how a terminal says that nobody is left who writes to it
        finally:
            os.close(ours)
        return process.wait(60), shown.decode()

    def test_delete_leaves_what_is_not_the_volumes(self):
        """Another volume or somebody's file deleted as well, or a rest left behind."""
        self.fill()
        self.run_verb("create", size="1M", key="vm2")
        others = sorted(key for key in self.store.keys() if not key.startswith("vm/"))
        self.run_verb("delete", "--yes")
        self.assertEqual(sorted(self.store.keys()), others)
        self.run_verb("show", code=1)
        self.run_verb("create", size="1M")

    def test_delete_under_a_running_server_is_refused(self):
        """Objects removed under their owner."""
        self.fill()
        server = self.serve()
        done = self.run_verb("delete", "--yes", code=1)
        self.assertIn(f"pid {server.pid}", done.stderr)
        self.assertIn("own=force", done.stderr)
        self.assertEqual(server.connect().pread(SIZE, 0), CONTENT)
        self.run_verb("delete", "--yes", own="force")
        self.assertEqual(self.store.block_keys(), [])

    # --- passphrase ---

    def test_passphrase_is_changed_without_writing_a_block(self):
        """A passphrase that still opens, data that cannot be read any more."""
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
        """A secret that has to stand on the command line."""
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
        """A volume locked for good, or a secret in a log."""
        self.fill(encrypt="aes-256-gcm", passphrase="secret")
        done = self.run_verb("passphrase", passphrase="hidden1", new_passphrase="hidden2", code=1)
        self.assertNotIn("hidden", done.stderr)
        self.assertEqual(self.read(SIZE, passphrase="secret"), CONTENT)

    # --- what is refused ---

    def test_readonly_changes_nothing(self):
        """readonly=true overheard."""
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
        """A volume that is made, or taken for an empty one, where none is."""
        self.run_verb("create", size="1M", key="other")
        for verb, more in ("show", {}), ("check", {}), ("resize", {"size": "1M"}), ("delete", {}):
            options = ("--yes",) if verb == "delete" else ()
            self.assertIn("vm", self.run_verb(verb, *options, code=1, **more).stderr)


class VerbsOnADirectory(Verbs, unittest.TestCase):
    """endpoint-url=file://..."""

    make_store = staticmethod(LocalStore)


class VerbsOnAService(Verbs, unittest.TestCase):
    """Ceph RGW."""

    @staticmethod
    def make_store():
        """A bucket of its own."""
        return GatewayStore(gateway())

    def test_wrong_credentials(self):
        """A refusal that does not say what is wrong, or takes forever."""
        self.fill()
        for verb in ("show", "check", "delete"):
            options = ("--yes",) if verb == "delete" else ()
            done = self.run_verb(verb, *options, code=1, secret_key="wrong")
            self.assertIn("SignatureDoesNotMatch", done.stderr)
        self.assertEqual(self.read(SIZE), CONTENT)

    def test_check_of_a_service_that_goes_away_blames_no_object(self):
        """Every object of a volume called damaged because a cable is."""
        self.fill()
        with FaultyProxy(self.store.server.endpoint) as proxy:
            proxy.behaviour = lambda request: (
                faults.status(503, "SlowDown")
                if request.method in ("GET", "HEAD") and request.path.endswith("7")
                else None
            )
            done = self.run_verb("check", code=1, endpoint_url=proxy.endpoint, retries=0)
        self.assertEqual(done.stdout, "")
        self.assertIn("SlowDown", done.stderr)

    def test_a_delete_that_was_killed_is_finished_by_the_next(self):
        """A half-deleted volume that opens with holes in it, or can never be deleted."""
        small = 4 * KIB
        content = data.tagged(2, 0, 2500 * small)
        self.run_verb("create", size=len(content), object_size=small)
        self.write(content)
        killed = threading.Event()
        with FaultyProxy(self.store.server.endpoint) as proxy:
            process, removals = None, []

            def behaviour(request):
                # The lease's own trial of the service removes an object, too.
                if request.method == "POST" and b"nbdstack-probe" not in request.body:
                    removals.append(request)
                if len(removals) == 2 and not killed.is_set():
                    process.kill()
                    killed.set()
                    return faults.drop_before()
                return None

            proxy.behaviour = behaviour
            words = self.words(endpoint_url=proxy.endpoint, connections=1)
            process = subprocess.Popen([our_s3_command(), "delete", "--yes", *words])
            self.assertEqual(process.wait(120), -9)
            self.assertTrue(killed.is_set())
        left = len(self.store.block_keys())
        self.assertGreater(left, 0)
        self.assertLess(left, 2500)
        for more in {}, {"size": len(content), "object_size": small}:
            _, errors = run_expecting_failure(*self.store.volume(key="vm", **more))
            self.assertIn("nbdstack-volume-being-deleted", errors)
        self.assertEqual(self.shown()["layout"], "half-deleted")
        self.run_verb("create", size="1M", code=1)
        self.run_verb("delete", "--yes")
        self.assertEqual(self.store.keys(), [])


class S3backerVerbs(unittest.TestCase):
    """Volumes of s3backer's layout."""

    def test_show_check_and_delete(self):
        """A layout that only the server understands."""
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
        """A mistake in the command line that looks like damage, or like success."""
        for words in (
            (), ("frob",), ("show",), ("show", "bucket=b", "colour=red"), ("create", "bucket=b"),
            ("show", "bucket=b", "--yes"), ("check", "bucket=b", "connections=0"),
        ):  # fmt: skip
            done = run_s3_command(*words)
            self.assertEqual(done.returncode, 2, words)
            self.assertRegex(done.stderr, "^nbdstack-s3: error: ")
            self.assertEqual(done.stdout, "")

    def test_help_and_version(self):
        """Help that fails, or goes where nobody looks."""
        for words in ("--help",), ("check", "--help"):
            done = run_s3_command(*words)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn("endpoint-url=", done.stdout)
        self.assertRegex(run_s3_command("--version").stdout, r"^nbdstack-s3 \d+\.\d+")


if __name__ == "__main__":
    unittest.main()
