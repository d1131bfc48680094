"""The documents name what exists: every path in README.md, in the other pages at the top and in docs
is a file or directory of the repository, every function stands in the file it is said to stand in,
and every parameter of a command line is in a manual page."""

import pathlib
import re
import unittest

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_README_LINES_MAX = 130

# The first parts of what is a path of the repository, and not one of the reader's.
_TOP = ("bench", "cmake", "common", "docs", "filters", "man", "plugins", "scripts", "tests", "tools")
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
_FUNCTION = re.compile(r"`([A-Za-z_:~]+)\(\)` in `([^`\s]+)`")


def documents():
    """All pages, sorted."""
    return sorted([*_ROOT.glob("*.md"), *(_ROOT / "docs").rglob("*.md"),
                   *(_ROOT / "tests").rglob("*.md")])  # fmt: skip


def paths_in(text):
    """Paths of the repository that a text names as code: `common/block/range.hpp`."""
    for words in _CODE.findall(text):
        for word in words.split():
            word = word.rstrip(".,:;").removeprefix("./")
            if word.split("/")[0] in _TOP and "/" in word and "NAME" not in word:
                yield word


def is_there(word):
    """Whether a path is one of the repository's. It may have a `*`, and `{a,b}`."""
    if brace := re.search(r"\{([^}]*)\}", word):
        parts = brace[1].split(",")
        return all(is_there(word[: brace.start()] + part + word[brace.end() :]) for part in parts)
    return any(_ROOT.glob(word))


def buckets_in(text):
    """The buckets of the command lines of a text: what bucket= says, or the bare word of the plugin
    and of nbdstack-s3. Capital letters stand for a name of the reader's."""
    for found in re.findall(
        r"\bbucket=([\w.-]+)|\ss3 ([\w.-]+)/|^ +\S*nbdstack-s3 [a-z]+ ([\w.-]+)[/\s]", text, re.M
    ):
        if not (name := "".join(found)).isupper() and name != "...":
            yield name


def is_bucket_name(word):
    """Whether S3 takes it as the name of a bucket ("General purpose bucket naming rules" of AWS)."""
    return bool(re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", word)) and ".." not in word


def faults_of(text, folder):
    """What a page in `folder` names that is not there."""
    for word in paths_in(text):
        if not is_there(word):
            yield f"`{word}` is not there"
    for link in _LINK.findall(text):
        if "://" not in link and not (folder / link).exists():
            yield f"the link to {link} leads nowhere"
    for name, word in _FUNCTION.findall(text):
        file = _ROOT / word
        last = name.rpartition("::")[2]
        if not file.is_file() or not re.search(rf"\b{re.escape(last)}\(", file.read_text()):
            yield f"{name}() is not in {word}"


class Documents(unittest.TestCase):
    """All pages."""

    def test_what_they_name_is_there(self):
        """Paths, links, functions."""
        self.assertGreater(len(documents()), 5)
        for page in documents():
            with self.subTest(page.relative_to(_ROOT)):
                self.assertEqual(list(faults_of(page.read_text(), page.parent)), [])

    def test_what_is_not_there_is_found(self):
        """The control: a path, a link and a function that do not exist."""
        text = "`common/none.hpp` [x](none.md) `nothing()` in `common/error.hpp` `docs/{a,b}.md`"
        self.assertEqual(len(list(faults_of(text, _ROOT))), 4)
        fine = "`common/error.hpp` [x](README.md) `system_error()` in `common/error.hpp` `tests/*/`"
        self.assertEqual(list(faults_of(fine, _ROOT)), [])

    def test_buckets_of_examples_are_names_that_s3_takes(self):
        """In the documents, the manual and quickstart: an example can be pasted and run against AWS."""
        count = 0
        for page in [*documents(), *(_ROOT / "man").glob("*.pod"), _ROOT / "quickstart"]:
            for name in buckets_in(page.read_text()):
                count += 1
                with self.subTest(f"{page.relative_to(_ROOT)}: {name}"):
                    self.assertTrue(is_bucket_name(name))
        self.assertGreater(count, 30)

    def test_buckets_that_s3_does_not_take_are_found(self):
        """The control: too short, too long, other characters, a hyphen at an end."""
        text = "s3 bucket=x bucket=ab `bucket=My_disks` bucket=-abc bucket=abc- bucket=a..b s3 x/vm1"
        commands = " nbdstack-s3 show x/vm1\n  build/nbdstack-s3 show x\n"
        names = [*buckets_in(text + " bucket=" + "a" * 64), *buckets_in(commands)]
        self.assertEqual(len(names), 10)
        self.assertEqual([name for name in names if is_bucket_name(name)], [])
        self.assertEqual(list(buckets_in("bucket=BUCKET bucket=... the s3 plugin bucket=abc")), ["abc"])

    def test_the_readme_is_short(self):
        """It says what there is; the rest stands where it says."""
        lines = (_ROOT / "README.md").read_text().splitlines()
        self.assertLessEqual(len(lines), _README_LINES_MAX)

    def test_parameters_of_commands_are_in_the_manual(self):
        """What a command line of README.md and the recipes passes to a layer has an =item there."""
        manual = "".join(page.read_text() for page in sorted((_ROOT / "man").glob("*.pod")))
        known = set(re.findall(r"=item B<([a-z0-9-]+)=", manual))
        for page in ("README.md", "docs/recipes.md"):
            text = (_ROOT / page).read_text()
            commands = "\n".join(re.findall(r"^    (?!qemu-).*$", text, re.MULTILINE))
            used = set(re.findall(r"(?<=\s)([a-z][a-z0-9-]*)=\S", commands))
            self.assertGreater(len(used), 4)
            self.assertEqual(used - known, set(), page)


if __name__ == "__main__":
    unittest.main()
