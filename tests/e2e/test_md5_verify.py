"""nbdstack-md5-verify: damage is named, nothing else is, also beside a server that writes."""

import json
import os
import pty
import random
import re
import subprocess
import threading
import time
import unittest

from e2e.md5_verify_case import BLOCK, BLOCKS, NAME, SIZE, VerifyCase, content, verify
from e2e.stores import LocalStore
from support.command import our_command
from support.nbdkit import Nbdkit

WRITING_S = 3


class OnAFile(VerifyCase):
    def setUp(self):
        super().setUp()
        self.disk = self.directory / "disk"
        with open(self.disk, "wb") as disk:
            disk.truncate(SIZE)

    def serve_disk(self, **how):
        """A server of the file."""
        return self.serve("file", self.disk, **how)

    def write(self, *writes):
        """Each a block's number and what is written from there on; by a server of its own."""
        server = self.serve_disk(filtered=True)
        handle = server.connect()
        for block, written in writes:
            handle.pwrite(written, block * BLOCK)
        handle.flush()
        server.stop()

    def overwrite(self, block, written, within=0):
        """Behind everybody's back."""
        with open(self.disk, "r+b") as disk:
            disk.seek(block * BLOCK + within)
            disk.write(written)

    def verify_disk(self, *options, code=0):
        """Beside any server."""
        return verify(*options, self.md5_file, self.serve_disk().uri(), code=code)

    def test_a_disk_as_it_was_written(self):
        """A disk as it was written passes, and a pass changes nothing."""
        self.write((0, content(1, 10)), (12, content(2)))
        before = self.disk.read_bytes(), self.md5_file.read_bytes(), os.stat(self.md5_file).st_mtime
        done = self.verify_disk()
        self.assertEqual(done.stdout, "")
        self.assertEqual(done.stderr, "16 blocks: 11 verified, 5 unknown, 0 damaged\n")
        after = self.disk.read_bytes(), self.md5_file.read_bytes(), os.stat(self.md5_file).st_mtime
        self.assertEqual(after, before)

    def test_damaged_blocks_are_named(self):
        """Damaged blocks are named, with the kind of damage."""
        self.write((0, content(1, BLOCKS)))
        self.write((3, content(2)), (4, content(3)))
        self.overwrite(3, content(1, BLOCKS)[3 * BLOCK : 4 * BLOCK])
        self.overwrite(5, bytes(BLOCK))
        self.overwrite(7, b"\0" * 16, within=BLOCK - 16)
        done = self.verify_disk(code=1)
        self.assertEqual(self.found(done), {3: "old", 5: "lost", 7: "damaged"})
        self.assertIn("13 verified, 0 unknown, 3 damaged (1 lost, 1 old)", done.stderr)

    def test_json(self):
        """The JSON document parses, and tells the same."""
        self.write((0, content(1, 10)))
        self.overwrite(5, bytes(BLOCK))
        server = self.serve_disk()
        done = verify("--json", "--requests=1", self.md5_file, server.uri(), code=1)
        report = json.loads(done.stdout)
        finding = report.pop("findings")
        self.assertRegex(finding[0].pop("written"), "^20.*Z$")
        self.assertEqual(
            finding, [{"block": 5, "offset": 5 * BLOCK, "length": BLOCK, "state": "lost"}]
        )
        self.assertEqual(
            report,
            {
                "md5-file": str(self.md5_file), "uri": server.uri(), "size": SIZE,
                "block-size": BLOCK, "blocks": 16, "verified": 9, "unknown": 6,
                "doubtful-right": 0, "doubtful-different": 0, "changed": 0, "lost": 1, "old": 0,
                "damaged": 0, "unreadable": 0,
            },
        )  # fmt: skip
        self.overwrite(5, content(1, 10)[5 * BLOCK : 6 * BLOCK])
        self.assertEqual(json.loads(self.verify_disk("--json").stdout)["findings"], [])

    def test_another_disks_file_is_called_that(self):
        """The md5-file of another disk is reported as that."""
        self.write((0, content(1, BLOCKS)))
        self.overwrite(0, content(2, BLOCKS))
        done = self.verify_disk(code=1)
        self.assertEqual(self.found(done), {block: "damaged" for block in range(BLOCKS)})
        self.assertIn("none of 16 blocks holds what", done.stderr)
        self.assertIn("another disk's", done.stderr)

    def test_copy_that_was_cut_short_is_refused(self):
        """A copy that was cut short is refused."""
        self.write((0, content(1, BLOCKS)))
        os.truncate(self.disk, 10 * BLOCK)
        done = self.verify_disk(code=2)
        self.assertIn("cut short", done.stderr)
        self.assertEqual(done.stdout, "")
        command = re.search(r"truncate --size=\d+ \S+$", done.stderr)[0]
        subprocess.run(command.split(), check=True)
        # The list of regions vouches for records that are no longer there.
        self.assertRegex(self.verify_disk().stderr, r"10 blocks: .*10 (verified|right)")

    def test_disk_that_has_grown(self):
        """Of a disk that has grown, the former part is verified."""
        self.write((0, content(1, BLOCKS)))
        os.truncate(self.disk, 20 * BLOCK)
        self.assertIn("20 blocks: 16 verified, 4 unknown", self.verify_disk().stderr)

    def test_what_a_killed_server_has_not_flushed_is_doubtful(self):
        """What a killed server has not flushed is doubtful, not damaged."""
        self.write((0, content(1, BLOCKS)))
        server = self.serve_disk(filtered=True)
        server.connect().pwrite(content(2), 5 * BLOCK)
        server.kill()
        self.overwrite(5, content(1, BLOCKS)[5 * BLOCK : 6 * BLOCK])
        self.assertIn("16 doubtful (15 right, 1 different)", self.verify_disk().stderr)

    # --- beside a server that runs ---

    def test_beside_a_writer_nothing_is_accused(self):
        """Beside a writer only true damage is reported."""
        server = self.serve_disk(filtered=True)
        server.connect().pwrite(content(0, BLOCKS), 0)
        beside = self.serve_disk()
        ended = threading.Event()
        writers = [
            threading.Thread(target=self._write_at_random, args=(server.connect(), seed, ended))
            for seed in (1, 2)
        ]
        for writer in writers:
            writer.start()
        self.addCleanup(ended.set)
        deadline, judged = time.monotonic() + WRITING_S, 0
        while time.monotonic() < deadline or judged <= BLOCKS:
            self.assertLess(time.monotonic(), deadline + 60, "hardly anything could be verified")
            for uri in (beside.uri(), server.uri()):
                done = verify("--json", self.md5_file, uri, code=0)
                judged += json.loads(done.stdout)["verified"]
        ended.set()
        for writer in writers:
            writer.join()
        handle = server.connect()
        handle.pwrite(content(3, BLOCKS), 0)
        handle.flush()
        self.overwrite(7, b"bad")
        done = verify(self.md5_file, beside.uri(), code=1)
        self.assertEqual(self.found(done), {7: "damaged"})
        done = verify(self.md5_file, server.uri(), code=1)
        self.assertEqual(self.found(done), {7: "unreadable"})

    def _write_at_random(self, handle, seed, ended):
        """All but the last block, which is written by nobody else."""
        rng = random.Random(seed)
        while not ended.is_set():
            block, what = rng.randrange(BLOCKS - 1), rng.randrange(8)
            if what == 0:
                handle.flush()
            elif what == 1:
                handle.zero(BLOCK, block * BLOCK)
            elif what == 2:
                handle.trim(BLOCK, block * BLOCK)
            elif what == 3:
                handle.pwrite(rng.randbytes(512), block * BLOCK + 1024)
            else:
                handle.pwrite(rng.randbytes(BLOCK), block * BLOCK)
            time.sleep(0.001)

    def test_what_a_cache_holds_back_is_no_damage(self):
        """What a cache above holds back is no damage."""
        self.write((0, content(1, BLOCKS)))
        server = self.serve_disk(filtered=True, filters=("cache",))
        handle = server.connect()
        handle.pwrite(content(2), 5 * BLOCK)
        done = verify(self.md5_file, server.uri(), code=0)
        self.assertIn("16 verified", done.stderr)

    # --- what is shown meanwhile ---

    def test_progress_on_a_terminal(self):
        """On a terminal progress is shown."""
        self.write((0, content(1, BLOCKS)))
        slow = Nbdkit("--filter=delay", "file", self.disk, "rdelay=300ms")
        self.addCleanup(slow.stop)
        ours, terminal = pty.openpty()
        with subprocess.Popen(
            [our_command(NAME), self.md5_file, slow.uri()], stdout=subprocess.PIPE, stderr=terminal
        ) as process:
            os.close(terminal)
            shown = b""
            try:
                while piece := os.read(ours, 1000):
                    shown += piece
            except OSError:
                pass  # how a terminal says that nobody is left who writes to it
            finally:
                os.close(ours)
            self.assertEqual(process.stdout.read(), b"")
            self.assertEqual(process.wait(60), 0)
        self.assertRegex(
            shown.decode(), r"^\r\x1b\[K\d+ %: 1.0 MiB read, 0 damaged\r\x1b\[K16 blocks: 16 verif"
        )

    def test_no_progress_elsewhere_unless_it_is_asked_for(self):
        """Elsewhere no progress is shown unless it is asked for."""
        self.write((0, content(1, 2)))
        for options in ((), ("--progress",)):
            done = self.verify_disk(*options)
            self.assertEqual(done.stderr, "16 blocks: 2 verified, 14 unknown, 0 damaged\n")


class OnObjects(VerifyCase):
    """Over the s3 plugin, with its volume in a directory."""

    def setUp(self):
        super().setUp()
        self.store = LocalStore()
        self.addCleanup(self.store.close)

    def serve_volume(self, *, filtered=False, **parameters):
        """A server of the volume."""
        return self.serve(
            *self.store.volume(size=SIZE, object_size=BLOCK, **parameters), filtered=filtered
        )

    def test_lost_old_and_unreadable_objects(self):
        """Removed, old and damaged objects are named."""
        server = self.serve_volume(filtered=True)
        handle = server.connect()
        handle.pwrite(content(1, BLOCKS), 0)
        keys = self.store.block_keys()
        self.assertEqual(len(keys), BLOCKS)
        old = self.store.body(keys[9])
        handle.pwrite(content(2), 9 * BLOCK)
        handle.flush()
        (self.store.directory / self.store.bucket / keys[4]).unlink()
        self.store.replace(keys[9], old)
        self.store.corrupt(keys[14], index=BLOCK // 2)
        # Beside the server, which has the volume open.
        beside = self.serve_volume(readonly="true")
        done = verify(self.md5_file, beside.uri(), code=1)
        self.assertEqual(self.found(done), {4: "lost", 9: "old", 14: "unreadable"})
        self.assertRegex(done.stderr, r"error: block 14 \(offset \d+, \d+ bytes\) cannot be read: ")
        self.assertIn("13 verified, 0 unknown, 2 damaged (1 lost, 1 old), 1 unread", done.stderr)

    def test_as_the_command_of_nbdkit(self):
        """As the command of nbdkit --run, its exit status is passed on."""
        server = self.serve_volume(filtered=True)
        handle = server.connect()
        handle.pwrite(content(1, BLOCKS), 0)
        handle.flush()
        server.stop()
        words = self.store.volume(size=SIZE, object_size=BLOCK, readonly="true")
        command = f'{our_command(NAME)} {self.md5_file} "$uri"'
        run = [our_command("nbdkit"), "-U", "-", "-r", *words, "--run", command]
        done = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)
        (self.store.directory / self.store.bucket / self.store.block_keys()[4]).unlink()
        done = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(self.found(done), {4: "lost"})


if __name__ == "__main__":
    unittest.main()
