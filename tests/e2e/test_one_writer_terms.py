"""What the s3 plugin tells the layers above of the disk: which one it is, the writer's term, and
whether this server may still write. It is the export's description."""

import json
import shutil
import time
import unittest

import nbd

from e2e.leases import LEASE_TIME, lease_record
from e2e.stores import LocalStore
from support.nbdkit import Nbdkit

SIZE = 1 << 20


def told(server, name=""):
    """The fields of the export's description, as a client that comes now is told, without the name
    of the server, which each start has for itself."""
    handle = nbd.NBD()
    handle.set_full_info(True)
    handle.set_export_name(name)
    handle.connect_unix(str(server.socket_path))
    kind, *fields = handle.get_export_description().split(" ")
    assert kind == "nbdstack-disk", kind
    handle.shutdown()
    fields = dict(field.split("=", 1) for field in fields)
    del fields["server"]
    if "unchanged" in fields:
        words = fields["unchanged"]
        fields["unchanged"] = [] if words == "none" else [int(term) for term in words.split(",")]
    return fields | {n: int(fields[n]) for n in ("size", "term", "since") if n in fields}


class Terms(unittest.TestCase):
    """One life after the other, over a directory."""

    def setUp(self):
        self.store = LocalStore()
        self.addCleanup(self.store.close)

    def serve(self, **parameters):
        """A server, until the test ends."""
        merged = {"size": SIZE, "lease_time": LEASE_TIME} | parameters
        server = Nbdkit(*self.store.volume(**merged))
        self.addCleanup(server.stop)
        return server

    def _remove(self, key):
        """By hand."""
        (self.store.directory / self.store.bucket / key).unlink()

    def live(self, changes):
        """A life that ends in order; what was told in it."""
        server = self.serve()
        if changes:
            handle = server.connect()
            handle.pwrite(b"x" * 512, 0)
        identity = told(server)
        self.assertEqual(server.terminate(), 0, server.log())
        return identity

    def test_one_disk_under_every_name(self):
        """The volume's own id, whatever the client calls it."""
        server = self.serve()
        identity = told(server)
        self.assertEqual(identity, told(server, "another"))
        self.assertRegex(identity["id"], "^s3-[0-9a-f]{32}$")
        self.assertEqual((identity["size"], identity["right"]), (SIZE, "held"))

    def test_each_life_has_a_term_and_knows_the_last_change(self):
        """Who changed nothing leaves that as it was; who crashed may have changed something."""
        first = self.live(changes=True)
        self.assertEqual(first["since"], first["term"], "nothing is known of what was before")
        second = self.live(changes=False)
        self.assertEqual((second["since"], second["unchanged"]), (first["term"], []))
        third = self.live(changes=False)
        self.assertEqual((third["since"], third["unchanged"]), (first["term"], [second["term"]]))
        crashes = self.serve()
        crashed = told(crashes)
        crashes.kill()
        self.assertEqual(crashed["since"], first["term"])
        self.assertEqual(crashed["unchanged"], [second["term"], third["term"]])
        last = self.live(changes=False)
        self.assertEqual((last["since"], last["unchanged"]), (crashed["term"], []))
        lives = [first, second, third, crashed, last]
        self.assertEqual(lives, sorted(lives, key=lambda life: life["term"]))
        self.assertEqual(len({life["term"] for life in lives}), len(lives))
        self.assertEqual(len({life["id"] for life in lives}), 1)

    def test_a_restored_bucket_gives_no_term_a_second_time(self):
        """A bucket restored from a backup gives no term a second time."""
        self.live(changes=True)
        bucket = self.store.directory / self.store.bucket
        backup = self.store.directory / "backup"
        shutil.copytree(bucket, backup)
        lives = [self.live(changes) for changes in (False, True, False)]
        shutil.rmtree(bucket)
        backup.rename(bucket)
        forgotten = {life["term"] for life in lives}
        for life in [self.live(changes) for changes in (False, True, False, False)]:
            self.assertFalse(forgotten & {life["term"], life["since"], *life["unchanged"]})

    def test_a_count_that_was_lost_begins_elsewhere(self):
        """A count of terms that was lost begins at another number."""
        first = self.live(changes=True)
        self._remove("nbdstack-lease.json")
        second = self.live(changes=True)
        self.assertEqual(second["since"], second["term"])
        self.assertGreater(abs(second["term"] - first["term"]), 1000)

    def test_a_lease_of_an_older_version(self):
        """One that counts by one is gone on with; of one that counts nothing no term is known."""
        first = self.live(changes=True)
        path = self.store.directory / self.store.bucket / "nbdstack-lease.json"
        record = lease_record(self.store)
        self.assertEqual((record["term"], record["version"]), (first["term"], 3))
        del record["unchanged-terms"]
        by_one = {"version": 2, "changed-term": first["term"], "term": first["term"] + 2}
        path.write_text(json.dumps(record | by_one))
        second = self.live(changes=False)
        self.assertEqual(second["since"], first["term"])
        self.assertEqual(second["unchanged"], [first["term"] + 1, first["term"] + 2])
        del record["term"], record["changed-term"]
        path.write_text(json.dumps(record | {"version": 1}))
        third = self.live(changes=False)
        self.assertEqual(third["since"], third["term"])
        self.assertGreater(abs(third["term"] - second["term"]), 1 << 25)

    def test_a_volume_made_anew_is_another_disk(self):
        """Under the same key."""
        first = self.live(changes=True)
        for key in self.store.keys():
            self._remove(key)
        self.assertNotEqual(self.live(changes=True)["id"], first["id"])

    def test_who_loses_the_lease_says_so(self):
        """To the layers above as well."""
        loser = self.serve()
        before = told(loser)
        winner = self.serve(own="force")
        end = time.monotonic() + 60
        while told(loser)["right"] != "lost" and time.monotonic() < end:
            time.sleep(0.1)
        self.assertEqual(told(loser), before | {"right": "lost"})
        now = told(winner)
        self.assertGreater(now["term"], before["term"])
        changed = {"term": now["term"], "since": before["term"], "unchanged": []}
        self.assertEqual(now, before | changed)

    def test_readers_have_no_right(self):
        """Beside a writer or alone: the term is the last writer's."""
        writer = self.serve()
        term = told(writer)["term"]
        reader = self.serve(readonly="true", size=None)
        expected = {"since": term, "unchanged": [], "right": "none"}
        self.assertEqual(told(reader), told(writer) | expected)
        self.assertEqual(lease_record(self.store)["pid"], writer.pid)
        self.assertNotIn("term", told(self.serve(own="none")))
        self.assertEqual(told(self.serve(own="none"))["right"], "none")

    def test_a_volume_without_an_id_is_known_by_its_place(self):
        """One that another program wrote: the same disk in each life."""
        self.live(changes=True)
        self._remove("nbdstack-volume.json")
        words = {"object_size": "1M"}
        identity = told(self.serve(**words))
        self.assertRegex(identity["id"], "^s3-at-[0-9a-f]{32}$")
        self.assertIn("term", identity)


if __name__ == "__main__":
    unittest.main()
