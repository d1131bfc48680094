"""Any of the layers, in any order, against the shadow disk: no layer may rely on which others there
are, nor on where it stands. NBDSTACK_STACK_SEED chooses other stacks."""

import os
import pathlib
import random
import unittest

from e2e.model_cases import StackCheck
from e2e.stores import LocalStore
from support.model import Mix

SEED = int(os.environ.get("NBDSTACK_STACK_SEED", "1"))
STACKS = 12
SIZE = (9 << 20) + 4608  # ends inside an object and inside a page

RECOMMENDED = ("readahead", "cache", "cacheextents", "zeroblock", "md5")

# What may be said to each layer; nothing of it may change what a client reads.
PARAMETERS = {
    "readahead": [[], ["readahead-max=1M"], ["readahead-streams=1"]],
    "cache": [
        ["cache-max-size=2M", "cache-min-block-size=16K"],
        ["cache-on-read=true"],
        ["cache=writethrough"],
        ["cache-policy=s3fifo", "cache-max-size=4M"],
    ],
    "cacheextents": [[], ["cacheextents-scan=on"]],
    "zeroblock": [[], ["zeroblock-size=16K"], ["zeroblock-scan=off"]],
    "md5": [
        ["md5-file=OBJECTS.md5"],
        ["md5-file=OBJECTS.md5", "md5-block-size=4K"],
        ["md5-block-size=16K"],
        ["md5-cache-size=100"],
    ],
}


def random_stack(seed):
    """Names of layers, outermost first, and their parameters."""
    rng = random.Random(f"stack {seed}")
    layers = rng.sample(RECOMMENDED, rng.randint(2, len(RECOMMENDED)))
    return layers, [word for layer in layers for word in rng.choice(PARAMETERS[layer])]


class RandomStacks(StackCheck, unittest.TestCase):
    def check_stack(self, seed, layers, words):
        """Random requests of every kind, and then the objects themselves."""
        self.store = LocalStore()
        self.addCleanup(self.store.close)
        mix = Mix(flush=1, fua_share=0.05, cache=1 if "cache" in layers else 0)
        filters = [f"--filter={layer}" for layer in layers]
        words = [word.replace("OBJECTS", str(self.store.directory)) for word in words]
        self.addCleanup(pathlib.Path(f"{self.store.directory}.md5").unlink, missing_ok=True)
        with self.subTest(filters=" ".join(filters), parameters=" ".join(words), seed=seed):
            self.check(seed, *words, size=SIZE, filters=filters, requests=400, mix=mix)

    def test_the_recommended_order(self):
        """As the documentation says, with defaults."""
        self.check_stack(SEED, RECOMMENDED, [])

    def test_any_layers_in_any_order(self):
        """Any layers in any order keep a disk's content."""
        for seed in range(SEED * 1000, SEED * 1000 + STACKS):
            self.check_stack(seed, *random_stack(seed))


if __name__ == "__main__":
    unittest.main()
