"""The first commands of the README and of quickstart are what most disks should be served with: how
many GETs they cost, beside what the same layers cost without those parameters.

The load is 60 files of 1 MiB, each read in three places, and all of it again: what the start of a
machine does, twice.
"""

import random
import re
import shlex
import unittest

from servers.memory_s3 import MemoryS3
from support import data
from support.nbdkit import ROOT, Nbdkit

MIB = 1 << 20
FILES = 60
PLACES = (100 << 10, 350 << 10, 800 << 10)
READ_BYTES = 16 << 10
# What costs no GET of a block: the volume's description, its lease, the record of its blocks.
OTHER_GETS = 10
RECOMMENDED = {"cache-on-read=true", "cache-fetch-size=1M"}


def commands(text):
    """The command lines of a text that run nbdkit with our plugin, each as its words."""
    joined = text.replace("\\\n", " ")
    lines = re.findall(r"^\s*(?:build/|\S*/)?nbdkit\"? (.*\bs3 .*?)$", joined, re.MULTILINE)
    return [shlex.split(line.split("9>&-")[0]) for line in lines]


def recommended_commands():
    """name -> words of each first command."""
    readme = commands((ROOT / "README.md").read_text())
    (quickstart,) = commands(
        (ROOT / "quickstart").read_text().replace('"$build/nbdkit"', "nbdkit")
    )
    return {"README, first": readme[0], "README, example": readme[1], "quickstart": quickstart}


class Recommended(unittest.TestCase):
    def setUp(self):
        self.s3 = MemoryS3({"disk": {}})
        self.s3.start()
        self.addCleanup(self.s3.stop)
        self.where = [f"{name}={value}" for name, value in self.s3.parameters("disk").items()]
        # In no order that readahead could learn.
        self.reads = [number * MIB + place for number in range(FILES) for place in PLACES]
        random.Random(1).shuffle(self.reads)
        self.content = data.tagged(1, 0, FILES * MIB)
        with Nbdkit("s3", *self.where, "size=64M") as server:
            handle = server.connect()
            for number in range(FILES):
                handle.pwrite(self.content[number * MIB : (number + 1) * MIB], number * MIB)
            self.assertEqual(server.terminate(), 0, server.log())

    def serve(self, words):
        """A server of this disk, with the filters of a command and the cache's parameters."""
        filters = [word for word in words if word.startswith("--filter=")]
        cache = [word for word in words if word.startswith("cache-")]
        server = Nbdkit(*filters, "s3", *self.where, *cache)
        self.addCleanup(server.stop)
        return server

    def gets(self, words):
        """The GETs of the load."""
        server = self.serve(words)
        handle = server.connect()
        before = self.s3.requests["GET"]
        for at in 2 * self.reads:
            self.assertEqual(handle.pread(READ_BYTES, at), self.content[at : at + READ_BYTES])
        self.assertEqual(server.terminate(), 0, server.log())
        return self.s3.requests["GET"] - before

    def test_gets_of_the_first_commands(self):
        """Each costs a GET for each file; without both parameters six, without the second three."""
        for name, words in recommended_commands().items():
            with self.subTest(name):
                self.assertLessEqual(RECOMMENDED, set(words))
                self.assertLess(self.gets(words), FILES + OTHER_GETS)
        words = [word for word in words if word not in RECOMMENDED]
        self.assertLess(abs(self.gets(words) - 6 * FILES), OTHER_GETS)
        first_only = self.gets([*words, "cache-on-read=true"])
        self.assertLess(abs(first_only - 3 * FILES), OTHER_GETS)

    def test_examples_elsewhere_have_them(self):
        """The guide's and the service's."""
        guide = (ROOT / "man" / "nbdstack-guide.pod").read_text()
        advice = guide[guide.index("do not know what to choose") : guide.index("=head1 THE SIZE")]
        self.assertLessEqual(RECOMMENDED, set(advice.split()))
        service = (ROOT / "systemd" / "example.conf").read_text()
        self.assertLessEqual(RECOMMENDED, set(service.split()))


if __name__ == "__main__":
    unittest.main()
