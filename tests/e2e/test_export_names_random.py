"""Clients under random names of one disk, through random stacks of the filters."""

import random
import unittest

import nbd

from e2e.exports_case import FILTERS, ExportsCase
from e2e.test_zeroblock import BLOCK, MIB, scratch_of
from support import data


class RandomNames(ExportsCase):
    """By seed: stacks of the filters in random order, several clients under random names, one
    request at a time; what any of them reads is what was written last, by whomever."""

    SEEDS = range(1, 13)

    def test_clients_under_many_names(self):
        for seed in self.SEEDS:
            with self.subTest(seed=seed):
                self.run_seed(random.Random(seed))

    def run_seed(self, draw):
        stack = draw.sample(FILTERS, draw.randint(1, 3)) + draw.choice([[], ["readahead"]])
        draw.shuffle(stack)
        known = draw.random() < 0.5
        self.disks.make("default", bytes(MIB))
        identity = self.disks.folder / "default.identity"
        if known:
            self.disks.tell("default", id="disk-1")
        else:
            identity.unlink(missing_ok=True)
        file = scratch_of(self) / "file"
        file.write_bytes(bytes(MIB))
        store = scratch_of(self)
        volume = ("s3", "bucket=v", "size=1M", f"endpoint-url=file://{store}")
        own = self.disks.arguments
        plugin = draw.choice([own, own, ("memory", "1M"), ("file", file), volume, volume])
        told = (known and plugin is own) or plugin is volume
        sharing = [] if told else [f"{name}-exports=one" for name in stack if name in FILTERS]
        server = self.serve(*(f"--filter={name}" for name in stack), *plugin, *sharing)
        names = ["", "a", "b", "c"]
        clients, model = {}, bytearray(MIB)
        for _ in range(250):
            name = draw.choice(names)
            if name in clients and draw.random() < 0.05:
                clients.pop(name).shutdown()
            if name not in clients:
                handle = nbd.NBD()
                handle.set_export_name(name)
                handle.connect_unix(str(server.socket_path))
                clients[name] = handle
            self.request(draw, clients[name], model)
        for handle in clients.values():
            self.assertEqual(bytes(handle.pread(MIB, 0)), bytes(model), stack)
            handle.shutdown()
        self.assertEqual(server.terminate(), 0)

    def request(self, draw, handle, model):
        offset = draw.randrange(MIB // 512) * 512
        length = min(draw.choice([512, 4096, BLOCK, 2 * BLOCK]), MIB - offset)
        kind = draw.choice(["read", "write", "write", "zero", "zeros", "flush"])
        span = slice(offset, offset + length)
        if kind == "read":
            self.assertEqual(bytes(handle.pread(length, offset)), bytes(model[span]))
        elif kind == "flush":
            handle.flush()
        elif kind == "zero":
            handle.zero(length, offset)
            model[span] = bytes(length)
        else:
            content = bytes(length) if kind == "zeros" else data.random_bytes(draw.random(), length)
            handle.pwrite(content, offset)
            model[span] = content


if __name__ == "__main__":
    unittest.main()
