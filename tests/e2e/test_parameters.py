"""Parameters: what is wrong is refused with a message that names it; what is right, taken."""

import pathlib
import re
import subprocess
import tempfile
import unittest

from e2e.test_man_pages import PAGES, parameters_of_help
from support.nbdkit import (
    Nbdkit,
    NbdkitError,
    nbdkit_version,
    our_nbdkit,
    run_expecting_failure,
    system_nbdkit,
)

FILTERS, PLUGINS = ("cache", "cacheextents", "md5", "readahead", "zeroblock"), ("s3",)

# Words of a filter's or plugin's command line, and what the message must contain: always the
# parameter, and nbdkit's own words where nbdkit has the parameter.
BAD_CACHE = [
    ("cache=writeboth", "invalid cache parameter, should be writeback|writethrough|unsafe"),
    ("cache=", "invalid cache parameter, should be writeback|writethrough|unsafe"),
    *(
        (
            f"cache-min-block-size={size}",
            "cache-min-block-size is not a power of 2, or is too small or too large",
        )
        for size in ("0", "1", "2048", "4095", "5000", "65537", "3M", "2G", "1T")
    ),
    ("cache-min-block-size=many", "cache-min-block-size"),
    ("cache-max-size=4K", "cache-max-size is too small"),
    ("cache-max-size=0", "cache-max-size is too small"),
    ("cache-max-size=-1", "cache-max-size"),
    ("cache-max-size=1X", "cache-max-size"),
    ("cache-high-threshold=0", "cache-high-threshold must be greater than zero"),
    ("cache-low-threshold=0", "cache-low-threshold must be greater than zero"),
    ("cache-high-threshold=101", "cache-high-threshold"),
    ("cache-high-threshold=x", "cache-high-threshold"),
    ("cache-low-threshold=-5", "cache-low-threshold"),
    (
        "cache-high-threshold=50 cache-low-threshold=50",
        "cache-low-threshold must be less than cache-high-threshold",
    ),
    (
        "cache-high-threshold=50 cache-low-threshold=60",
        "cache-low-threshold must be less than cache-high-threshold",
    ),
    ("cache-low-threshold=96", "cache-low-threshold must be less than cache-high-threshold"),
    ("cache-on-read=maybe", "cache-on-read"),
    ("cache-on-reads=true", "cache-on-reads"),
]
BAD_MD5 = [
    *((f"md5-block-size={size}", "md5-block-size") for size in ("0", "256", "5000", "64M", "x")),
    *((f"md5-cache-size={count}", "md5-cache-size") for count in ("0", "-1", "1M", "99999999999")),
    *((f"md5-cache-time={time}", "md5-cache-time") for time in ("-1", "soon", "1y", "nan", "inf")),
    *((f"md5-retry-time={time}", "md5-retry-time") for time in ("-1", "soon", "", "1e300")),
    ("md5-min-write-delay=-1", "md5-min-write-delay"),
    ("md5-file=/nonexistent/x.md5", "md5-file"),
    ("md5-file=/tmp", "md5-file"),
    ("md5-min-write-delay=5 md5-cache-time=2", "md5-min-write-delay"),
    ("md5-cache=1", "md5-cache"),
]
BAD_CACHEEXTENTS = [
    *((f"cacheextents-max-runs={n}", "cacheextents-max-runs") for n in ("0", "-1", "x", "999")),
    ("cacheextents-scan=perhaps", "cacheextents-scan"),
]
BAD_READAHEAD = [
    *((f"readahead-streams={n}", "readahead-streams") for n in ("0", "-1", "many")),
    *((f"readahead-min={size}", "readahead-min") for size in ("0", "x", "-1")),
    *((f"readahead-max={size}", "readahead-max") for size in ("0", "x", "-1")),
    *((f"readahead-inflight={size}", "readahead-inflight") for size in ("0", "x")),
    ("readahead-min=2M readahead-max=1M", "readahead-m"),
]
BAD_ZEROBLOCK = [
    *((f"zeroblock-size={size}", "zeroblock-size") for size in ("0", "256", "5000", "x")),
    ("zeroblock-scan=perhaps", "zeroblock-scan"),
]
KEYS = "bucket=x access-key=A secret-key=S"
BAD_S3 = [
    ("", "bucket"),
    ("bucket=", "bucket"),
    ("bucket=x size=0", "size"),
    ("bucket=x size=big", "size"),
    *(
        (f"bucket=x object-size={size}", "object-size")
        for size in ("0", "256", "5000", "2G", "3M", "x")
    ),
    (f"{KEYS} endpoint-url=example.com", "endpoint-url"),
    (f"{KEYS} endpoint-url=ftp://example.com", "endpoint-url"),
    ("bucket=x endpoint-url=file://relative/path", "endpoint-url"),
    (f"{KEYS} endpoint-url=http://example.com:port", "endpoint-url"),
    (f"{KEYS} endpoint-url=http://", "endpoint-url"),
    *((f"bucket=x connections={count}", "connections") for count in ("0", "-1", "257", "x")),
    *((f"bucket=x timeout={time}", "timeout") for time in ("-1", "x", "1y")),
    *((f"bucket=x retries={count}", "retries") for count in ("-1", "101", "x")),
    ("bucket=x tls-verify=perhaps", "tls-verify"),
    ("bucket=x layout=nbdkit", "layout"),
    ("bucket=x own=me", "own"),
    ("bucket=x lease-time=soon", "lease-time"),
    ("bucket=x readonly=true own=force", "own=force"),
    ("bucket=x volumes=true size=1G", "size="),
    ("bucket=x compress=gzip", "compress"),
    ("bucket=x compress-level=high", "compress-level"),
    ("bucket=x passphrase=", "passphrase"),
    ("bucket=x key-length=2000", "key-length"),
    ("bucket=x sse=yes", "sse"),
    ("bucket=x sse-kms-key=k", "sse-kms-key"),
    ("bucket=x header=none", "header"),
    ("bucket=x header=Host:other", "host"),
    ("bucket=x upload-limit=1", "upload-limit"),
    ("bucket=x download-limit=x", "download-limit"),
    ("bucket=x virtual-host=perhaps", "virtual-host"),
    ("bucket=x secret-key=-99", "secret-key"),
    ("bucket=x buckets=1", "buckets"),
]


class BadValues(unittest.TestCase):
    def check_table(self, table, *before):
        """Every row of the table is refused in its words."""
        for words, expected in table:
            with self.subTest(words):
                _, errors = run_expecting_failure(*before, *words.split(), timeout_s=10)
                self.assertIn(expected, errors)

    def test_cache(self):
        """Bad values are refused, by the parameter's name."""
        self.check_table(BAD_CACHE, "--filter=cache", "null", "1M")

    def test_md5(self):
        """Bad values are refused, by the parameter's name."""
        self.check_table(BAD_MD5, "--filter=md5", "null", "1M")

    def test_other_filters(self):
        """Bad values are refused, by the parameter's name."""
        self.check_table(BAD_CACHEEXTENTS, "--filter=cacheextents", "null", "1M")
        self.check_table(BAD_READAHEAD, "--filter=readahead", "null", "1M")
        self.check_table(BAD_ZEROBLOCK, "--filter=zeroblock", "null", "1M")

    def test_s3(self):
        """Bad values are refused, by the parameter's name."""
        self.check_table(BAD_S3, "s3")

    def test_cache_directory_that_cannot_be_used(self):
        """A cache directory that cannot be used ends the start."""
        _, errors = run_expecting_failure(
            "--filter=cache", "null", "1M", environment={"TMPDIR": "/nonexistent"}
        )
        self.assertIn("/nonexistent", errors)

    def test_words_are_those_of_nbdkit(self):
        """Where nbdkit's own filter refuses a value, ours refuses it in the same words."""
        same = 0
        for words, expected in BAD_CACHE:
            if " " not in expected:
                continue  # the bare name: our own words
            try:
                _, errors = run_expecting_failure(
                    "--filter=cache", "null", "1M", *words.split(), binary=system_nbdkit(),
                    timeout_s=1,
                )  # fmt: skip
            except NbdkitError:  # starts: nbdkit is not that strict
                continue
            self.assertIn(expected, errors)
            same += 1
        self.assertGreater(same, 10)


class GoodValues(unittest.TestCase):
    def test_values_at_their_bounds(self):
        """Values at their documented bounds are accepted."""
        with tempfile.TemporaryDirectory() as directory:
            cache = [
                "cache=writethrough", "cache=unsafe", "cache=writeback",
                "cache-min-block-size=4096",
                "cache-min-block-size=1G", "cache-min-block-size=64k", "cache-max-size=64K",
                "cache-max-size=1E", "cache-high-threshold=100 cache-low-threshold=99",
                "cache-high-threshold=2 cache-low-threshold=1", "cache-on-read=1",
                "cache-on-read=off", "cache-on-read=/nonexistent/file",
            ]  # fmt: skip
            md5 = [
                "md5-block-size=512", "md5-block-size=32M", "md5-cache-size=1", "md5-cache-time=0",
                "md5-cache-time=0.5", "md5-cache-time=500ms", "md5-cache-time=2m",
                "md5-retry-time=0", "md5-min-write-delay=1 md5-cache-time=1",
                "md5-min-write-delay=1h md5-cache-time=0",
            ]  # fmt: skip
            s3 = [
                "object-size=4K", "object-size=32M", "connections=1", "connections=256",
                "timeout=0.5", "retries=0", "retries=100", "key=a/b/c", "region=eu-west-1",
                "tls-verify=false", "virtual-host=true", "ca-file=/nonexistent",
            ]  # fmt: skip
            for name, rows in (("cache", cache), ("md5", md5)):
                before = [f"--filter={name}", "null", "1M"]
                for words in rows:
                    with self.subTest(words), Nbdkit(*before, *words.split()) as server:
                        server.connect().pread(512, 0)
            for number, words in enumerate(s3):
                volume = ["s3", f"bucket=b{number}", "size=1M", f"endpoint-url=file://{directory}"]
                with self.subTest(words), Nbdkit(*volume, *words.split()) as server:
                    server.connect().pwrite(b"x", 5)


class Modules(unittest.TestCase):
    def run_nbdkit(self, *words):
        """The standard output of an nbdkit that must succeed."""
        return subprocess.run(
            [our_nbdkit(), *words], check=True, capture_output=True, text=True, timeout=30
        ).stdout

    def test_help(self):
        """--help is ours, and names every parameter."""
        helps = {name: self.run_nbdkit(f"--filter={name}", "null", "--help") for name in FILTERS}
        helps |= {name: self.run_nbdkit(name, "--help") for name in PLUGINS}
        for name, text in helps.items():
            self.assertIn("nbdstack", text)
            self.assertIn("bucket=" if name == "s3" else f"{name}-", text)

    def test_parameters_of_filters_that_are_missing(self):
        """Each is said to be of which filter, and that filter is to be added."""
        count = 0
        for page, command in PAGES.items():
            layer = page.split("-")[1]
            # s3 has metrics= itself, as all layers have.
            for name in parameters_of_help(command).keys() - {"metrics"} if layer != "s3" else ():
                with self.subTest(name):
                    _, errors = run_expecting_failure("s3", "bucket=x", f"{name}=1")
                    self.assertIn(f"'{name}': it is for nbdstack's {layer} filter", errors)
                    self.assertIn(f"add --filter={layer}", errors)
                    count += 1
        self.assertGreater(count, 30)

    def test_misspelt_parameters(self):
        """What may have been meant is named, whatever filters there are."""
        for words, meant in (
            (["s3", "cache-max-sise=1G"], "cache-max-size (of the cache filter)"),
            (["--filter=cache", "s3", "cache-dri=/x"], "cache-dir (of the cache filter)"),
            (["--filter=cache", "s3", "md5_file=/tmp/x"], "md5-file (of the md5 filter)"),
            (["--filter=md5", "s3", "endpoint=https://x"], "endpoint-url (of the s3 plugin)"),
        ):
            with self.subTest(words):
                _, errors = run_expecting_failure(*words)
                self.assertIn(f"': did you mean {meant}?", errors)
        _, errors = run_expecting_failure("--filter=cache", "s3", "cow-on-read=true")
        self.assertIn("unknown parameter 'cow-on-read'; nbdkit s3 --help lists them all", errors)

    def test_a_filter_given_twice(self):
        """A filter given twice is refused."""
        for name in FILTERS:
            twice = [f"--filter={name}", f"--filter={name}"]
            _, errors = run_expecting_failure(*twice, "null", timeout_s=10)
            self.assertIn(f"--filter={name} is given twice", errors)

    def test_filters_named_behind_the_plugin(self):
        """A filter that is named behind the plugin is ours, too."""
        for name in FILTERS:
            self.assertIn("nbdstack", self.run_nbdkit("null", f"--filter={name}", "--help"))
            self.assertIn("nbdstack", self.run_nbdkit("null", "1M", "--filter", name, "--help"))

    def test_dump_plugin(self):
        """--dump-plugin needs no parameters."""
        fields = dict(line.split("=", 1) for line in self.run_nbdkit("s3", "--dump-plugin").split())
        self.assertEqual((fields["name"], fields["thread_model"]), ("s3", "parallel"))
        self.assertEqual(fields["magic_config_key"], "bucket")
        self.assertRegex(fields["version"], r"^\d+\.\d+")
        text = self.run_nbdkit("--filter=cache", "--filter=md5", "s3", "--dump-plugin")
        self.assertIn("name=s3", text)
        versions = re.findall(r"^(\w+)_nbdstack_version=\d+\.\d+", text, re.M)
        asks_filters = nbdkit_version() >= (1, 36)
        self.assertEqual(sorted(versions), ["cache", "md5"] if asks_filters else [])

    def test_only_the_entry_point_is_exported(self):
        """A module exports its entry point only."""
        build = pathlib.Path(our_nbdkit()).parent
        modules = sorted(build.glob("*/*/nbdkit-*.so"))
        self.assertEqual(len(modules), len(FILTERS) + len(PLUGINS))
        for module in modules:
            _, name, kind = module.stem.split("-")
            lines = subprocess.run(
                ["nm", "-D", "--defined-only", str(module)], check=True, capture_output=True,
                text=True,
            ).stdout.splitlines()  # fmt: skip
            exported = [line.split()[-1] for line in lines]
            self.assertIn(f"{kind}_init", exported)
            allowed = re.compile(rf"{kind}_init|{name}_debug_\w+")
            self.assertEqual([s for s in exported if not allowed.fullmatch(s)], [], module)

    def test_debug_flags(self):
        """-D NAME.verbose=1 prints debug messages."""
        stack = [f"--filter={name}" for name in ("readahead", *sorted(set(FILTERS) - {"readahead"}))]
        verbose = [word for name in FILTERS for word in ("-D", f"{name}.verbose=1")]
        logs = []
        for flags in ((), verbose):
            with Nbdkit(*flags, *stack, "memory", "1M", verbose=True) as server:
                handle = server.connect()
                handle.pwrite(b"x" * 65536, 0)
                handle.flush()
                handle.block_status(1 << 19, 1 << 19, lambda *_: 0)  # not cached yet
                for offset in range(0, 1 << 20, 32768):
                    handle.pread(32768, offset)
                server.terminate()
                logs.append(server.log())
        tales = {
            "cache": r"cache: .*\bblock 0\b", "cacheextents": "cacheextents: asked about",
            "md5": r"md5: .*\bblock 0\b", "readahead": "readahead: asking for",
            "zeroblock": "zeroblock: .* go below",
        }  # fmt: skip
        for name in FILTERS:
            told = [bool(re.search(tales[name], log)) for log in logs]
            self.assertEqual(told, [False, True], name)


if __name__ == "__main__":
    unittest.main()
