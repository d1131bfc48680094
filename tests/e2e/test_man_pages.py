"""The man pages say what --help says: every parameter, no other, with the same default."""

import re
import subprocess
import unittest

from support.command import run_command
from support.nbdkit import ROOT, our_nbdkit

PAGES = {
    "nbdkit-cache-filter": ["--filter=cache", "null"],
    "nbdkit-cacheextents-filter": ["--filter=cacheextents", "null"],
    "nbdkit-md5-filter": ["--filter=md5", "null"],
    "nbdkit-readahead-filter": ["--filter=readahead", "null"],
    "nbdkit-zeroblock-filter": ["--filter=zeroblock", "null"],
    "nbdkit-s3-plugin": ["s3"],
}
COMMANDS = ("nbdstack-cache", "nbdstack-md5-verify", "nbdstack-metrics", "nbdstack-s3", "nbdstack-top")
OVERVIEW = "nbdstack"
GUIDE = "nbdstack-guide"
SETTINGS = "nbdstack-s3-config"  # which test_boto3_agrees.py holds against boto3
SERVICE = "nbdstack-serve"  # which test_service.py holds against the units


def own_help(command):
    """The module's own part of --help."""
    text = subprocess.run(
        [our_nbdkit(), *command, "--help"], check=True, capture_output=True, text=True, timeout=30
    ).stdout
    return text[text.index("(nbdstack ") :].split("\n\n")[0]


def parameters_of_help(command):
    """name -> (the words it is a choice of; its default, "" where there is none), from the module's own
    part of --help."""
    found = {}
    for line in own_help(command).splitlines():
        name = re.match(r"([a-z0-9-]+)=(\S+)", line)
        if name:
            default = re.search(r"\[default: (.*)\]$", line)
            choices = {word for word in name[2].split("|") if word != name[2] and word.islower()}
            found[name[1]] = (choices - {"true", "false"}, default[1] if default else "")
    return found


def values_of_help(command):
    """name -> what its value may be, from the module's own part of --help: {"SIZE", "N%"}."""
    text = own_help(command)
    return {
        name: set(value.split("|"))
        for name, value in re.findall(r"^([a-z0-9-]+)=(\S+)", text, re.M)
    }


def values_of_page(page):
    """The same of the `=item B<NAME=value>` of its man page, which may be several."""
    text = plain(plain_values((ROOT / "man" / f"{page}.pod").read_text()))
    found = {}
    for name, value in re.findall(r"^=item ([a-z0-9-]+)=(\S+)", text, re.M):
        # An ARN is a name of S3's that the one line of --help has no room for.
        if not value.startswith("[s3://]arn:"):
            found.setdefault(name, set()).update(value.split("|"))
    return found


def sections_of_page(page):
    """name -> [(value, text)] of each `=item B<NAME=value>`; items that follow each other without
    text share the text."""
    text = (ROOT / "man" / f"{page}.pod").read_text()
    found, waiting, fresh = {}, [], False
    for paragraph in re.split(r"\n\s*\n", text):
        item = re.match(r"=item \[?B<([a-z0-9-]+)=([^>]*)>", plain_values(paragraph))
        if item:
            section = [item[2], ""]
            waiting = [*waiting, section] if fresh else [section]
            fresh = True
            found.setdefault(item[1], []).append(section)
        elif paragraph.startswith(("=back", "=head")):
            waiting, fresh = [], False
        else:
            fresh = False
            for section in waiting:
                section[1] += plain(paragraph) + "\n"
    return found


def plain_values(item):
    """`B<NAME=>I<VALUE>` as `B<NAME=VALUE>`."""
    return re.sub(r">I<([^>]*)>", r"\1>", item)


def plain(pod):
    """POD without its formatting codes."""
    while (less := re.sub(r"[A-Z]<+\s*([^<>]*?)\s*>+", r"\1", pod)) != pod:
        pod = less
    return pod


def words_of_command_help(command):
    """The verbs, options and own parameters that a command's --help names."""
    own = run_command(command, "--help").stdout.split("\nParameters of the s3 plugin:")[0]
    indented = re.findall(r"^  ([a-z0-9-]+)(?:=\w+)? ", own, re.M)
    return {*indented, *re.findall(r"^([a-z-]+)=", own, re.M)}


def words_of_command_page(command):
    """The same of its man page's items: of what comes behind the description and the examples."""
    text = (ROOT / "man" / f"{command}.pod").read_text()
    text = text[text.index("=head1 EXAMPLES") :]
    return set(re.findall(r"^=item B<([a-z][a-z-]*|--[a-z-]+)=?>", text, re.M))


class ManPages(unittest.TestCase):
    def test_every_page_is_there(self):
        """Every module has a page, and every page a test."""
        pages = {path.stem for path in (ROOT / "man").glob("*.pod")}
        self.assertEqual(pages, {*PAGES, *COMMANDS, OVERVIEW, GUIDE, SETTINGS, SERVICE})

    def test_overview_leads_to_every_page(self):
        """nbdstack(7) names every page."""
        text = (ROOT / "man" / f"{OVERVIEW}.pod").read_text()
        see_also = text[text.index("=head1 SEE ALSO") :]
        ours = set(re.findall(r"L<(nbd(?:kit-\w+-(?:filter|plugin)|stack-[\w-]+))\([17]\)>", see_also))
        self.assertEqual(ours, {*PAGES, *COMMANDS, GUIDE, SETTINGS, SERVICE})

    def test_page_of_a_command_is_its_help(self):
        """The page of a command documents the verbs and options of --help, and no others."""
        some = {
            "nbdstack-cache": {"show", "export", "discard", "--yes"},
            "nbdstack-md5-verify": {"--requests", "--json", "--help"},
            "nbdstack-metrics": {"--listen", "--file", "--prices"},
            "nbdstack-s3": {"create", "delete", "--yes", "new-passphrase", "prices"},
            "nbdstack-top": {"--once", "--count", "--interval"},
        }
        for command in COMMANDS:
            with self.subTest(command):
                offered = words_of_command_help(command)
                self.assertLess(some[command], offered)
                self.assertEqual(words_of_command_page(command), offered)

    def test_parameters_are_those_of_help(self):
        """A page documents the parameters of --help, and no others."""
        for page, command in PAGES.items():
            with self.subTest(page):
                offered = parameters_of_help(command)
                self.assertGreater(len(offered), 1)
                self.assertEqual(set(sections_of_page(page)), set(offered))

    def test_words_are_those_of_help(self):
        """The section of a choice says what each of its words means."""
        for page, command in PAGES.items():
            sections = sections_of_page(page)
            for name, (words, _) in parameters_of_help(command).items():
                text = "\n".join(f"{value}\n{said}" for value, said in sections.get(name, []))
                for word in sorted(words):
                    with self.subTest(f"{page} {name}={word}"):
                        self.assertRegex(text, rf"(?<![\w-]){re.escape(word)}(?![\w-])")

    def test_values_are_those_of_help(self):
        """An item names the value as --help does. A switch may have an item for true only."""
        for page, command in PAGES.items():
            written = values_of_page(page)
            for name, values in values_of_help(command).items():
                with self.subTest(f"{page} {name}"):
                    self.assertEqual(written.get(name, set()) | {"false"}, values | {"false"})

    def test_synopsis_of_a_filter_is_its_help(self):
        """It shows every parameter, with the same kind of value."""
        for page, command in PAGES.items():
            if page.endswith("-filter"):
                with self.subTest(page):
                    text = (ROOT / "man" / f"{page}.pod").read_text()
                    synopsis = text[: text.index("=head1 DESCRIPTION")]
                    shown = re.findall(r"\[([a-z0-9-]+)=([^\s\]]+)\]", synopsis)
                    offered = re.findall(r"^([a-z0-9-]+)=(\S+)", own_help(command), re.M)
                    self.assertEqual(sorted(shown), sorted(offered))

    def test_defaults_are_those_of_help(self):
        """The defaults of a page are those of --help."""
        for page, command in PAGES.items():
            sections = sections_of_page(page)
            for name, (_, default) in parameters_of_help(command).items():
                with self.subTest(f"{page} {name}"):
                    if default:
                        self.check_default(sections.get(name, []), default)

    def check_default(self, sections, default):
        """A word with an item of its own is called the default there, and no other word is. Any
        other value stands in the text, which says that it is the default."""
        words = [value for value, _ in sections]
        if len(words) > 1 and default in words:
            for value, text in sections:
                self.assertEqual("the default" in text, value == default, f"{value}: {text}")
            return
        text = "\n".join(text for _, text in sections)
        self.assertIn("default", text.lower())
        # Defaults in words ("what the layer below prefers, else 64K") may be said in other words,
        # but with the same figures.
        for figure in re.findall(r"\b\d+\w*\b", default) or [default]:
            self.assertRegex(text, rf"(?<![\w.]){re.escape(figure)}(?!\w)")

    def test_pod_is_clean(self):
        """Every page is free of POD errors."""
        for page in (*PAGES, *COMMANDS, OVERVIEW, GUIDE, SETTINGS, SERVICE):
            with self.subTest(page):
                done = subprocess.run(
                    ["podchecker", "-warnings", "-warnings", str(ROOT / "man" / f"{page}.pod")],
                    capture_output=True, text=True, timeout=60, check=False,
                )  # fmt: skip
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertNotRegex(done.stderr, "(?i)warning")


if __name__ == "__main__":
    unittest.main()
