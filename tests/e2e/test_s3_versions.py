"""Buckets that keep what is replaced and removed: nbdstack-s3 delete says so, and with --versions
removes all that is left of a volume, and nothing else."""

import os
import subprocess
import unittest
import xml.etree.ElementTree as ElementTree

from e2e.listing_case import OBJECT as BLOCK
from e2e.listing_case import ListingCase
from e2e.s3_command_case import CONTENT, OBJECT, SIZE, OnAService, VerbsCase
from servers.kept_versions import KeptVersions
from servers.memory_s3 import StoredObject
from support.s3_command import our_s3_command, run_s3_command

_ENABLE = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
# Words before a command that sees another host's name.
_ANOTHER_HOST = [
    "unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--uts",
    "sh", "-c", 'hostname another-host && exec "$@"', "sh",
]  # fmt: skip


class OnCeph(OnAService, VerbsCase):
    def setUp(self):
        super().setUp()
        client = self.store.client
        done = client.request("PUT", self.store.bucket, query={"versioning": ""}, body=_ENABLE)
        self.assertEqual(done.status, 200, done.body)
        self.addCleanup(self.forget_all)

    def versions(self):
        """(key, id) of all that the bucket keeps, markers too."""
        query = {"versions": "", "max-keys": "5000"}
        done = self.store.client.request("GET", self.store.bucket, query=query)
        found = []
        for element in ElementTree.fromstring(done.body):
            if element.tag.rpartition("}")[2] in ("Version", "DeleteMarker"):
                texts = {child.tag.rpartition("}")[2]: child.text for child in element}
                found.append((texts["Key"], texts["VersionId"]))
        return found

    def forget_all(self):
        """So that the bucket can be deleted."""
        for key, version in self.versions():
            self.store.client.request(
                "DELETE", self.store.bucket, key, query={"versionId": version}
            )

    def test_a_life_that_leaves_nothing(self):
        """delete --versions leaves no version behind."""
        self.fill()
        self.write(CONTENT[::-1])
        self.store.client.put(self.store.bucket, "vm/notes.txt", b"mine")
        self.store.client.put(self.store.bucket, "vm/notes.txt", b"mine, too")
        self.assertIn("keeps old versions", self.run_verb("delete", "--yes").stderr)
        self.assertGreater(len(self.versions()), 2 * SIZE // OBJECT)
        self.run_verb("delete", "--yes", code=1)  # there is no volume
        done = self.run_verb("delete", "--yes", "--versions")
        self.assertRegex(done.stdout, r"0 object\(s\), \d+ old version\(s\)")
        self.assertEqual([key for key, _ in self.versions()], ["vm/notes.txt"] * 2)
        self.run_verb("delete", "--yes", "--versions", code=1)

    def test_at_once(self):
        self.fill()
        self.write(CONTENT[::-1])
        done = self.run_verb("delete", "--yes", "--versions")
        self.assertNotIn("keeps old versions", done.stderr)
        self.assertEqual(self.versions(), [])
        self.run_verb("create", size=SIZE)

    def test_of_s3backer(self):
        how = {"layout": "s3backer", "size": SIZE, "object_size": OBJECT}
        self.write(CONTENT, **how)
        self.write(CONTENT[::-1], **how)
        self.run_verb("delete", "--yes", **how)
        self.assertNotEqual(self.versions(), [])
        self.run_verb("delete", "--yes", "--versions", **how)
        self.assertEqual(self.versions(), [])


class OnOthers(ListingCase):
    def keep(self, **how):
        """Versions, from now on."""
        self.kept = self.s3.versions["disk"] = KeptVersions(self.objects, **how)

    def delete(self, *options, code=0):
        """The verb, and what it has said."""
        done = run_s3_command("delete", "--yes", *options, *self.words()[1:])
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_where_nothing_is_kept_nothing_is_said(self):
        self.write_volume()
        self.assertNotIn("version", self.delete())

    def test_who_may_not_list_versions_loses_nothing(self):
        """A user who may not list versions is refused, before anything is removed."""
        self.write_volume()
        before = dict(self.objects)
        self.delete("--versions", code=1)  # 501
        self.keep()
        self.s3.refusal = lambda request: (
            (403, "AccessDenied") if "versions" in request.query else None
        )
        self.assertIn("AccessDenied", self.delete("--versions", code=1))
        self.assertEqual(self.objects, before)

    def kept_of_disk(self):
        """What is there, and what is kept, of the disk's blocks and its descriptor."""
        with self.s3.lock:
            return {
                key: [each.id for each in versions]
                for key, versions in self.kept.history.items()
                if not key.startswith("vm/nbdstack-") or key == "vm/nbdstack-volume.json"
            }

    def test_beside_a_server(self):
        """Beside a server delete --versions is refused."""
        self.keep()
        self.write_volume()
        with self.served() as handle:
            handle.pwrite(b"X" * BLOCK, 0)
            before = self.kept_of_disk()
            for host in ([], _ANOTHER_HOST):
                with self.subTest(host):
                    command = [*host, our_s3_command(), "delete", "--yes", "--versions"]
                    done = subprocess.run(
                        [*command, *self.words()[1:]],
                        capture_output=True, text=True, timeout=120, check=False,
                    )  # fmt: skip
                    self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
                    self.assertIn("has a writer", done.stderr)
                    self.assertEqual(self.kept_of_disk(), before)
            handle.pwrite(b"Y" * BLOCK, BLOCK)
            self.assertEqual(handle.pread(2 * BLOCK, 0), b"X" * BLOCK + b"Y" * BLOCK)

    def test_in_many_pages(self):
        self.keep()
        self.write_volume()
        for number in range(2500):
            self.kept.put(f"vm/{number:016x}", StoredObject(b"x"))
        self.delete("--versions")
        self.assertEqual(self.kept.history, {})

    def test_where_they_are_suspended(self):
        """Where versions are suspended, markers of the null version are removed, too."""
        self.write_volume()
        self.keep(suspended=True)
        self.assertIn("keeps old versions", self.delete())
        self.assertGreater(len(self.kept.history), 16)
        self.delete("--versions")
        self.assertLessEqual(
            set(self.kept.history),
            {"vm/nbdstack-volume.json", "vm/nbdstack-lease.json", "vm/nbdstack-blocks"},
        )
        self.assertEqual(self.objects, {})


if __name__ == "__main__":
    unittest.main()
