"""Comments of C++ fit a window of 100 columns, and those of the product are sentences with a subject
(CONTRIBUTING.md)."""

import pathlib
import re
import tempfile
import unittest

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_PRODUCT = ("bench", "common", "filters", "plugins", "tools")
_COLUMNS = 100
_COMMENT = re.compile(r"^\s*//")
_HEADLESS = re.compile(r"^\s*// (Who|Whose|Whoever|What|Whether)\b|^\s*// (False|True|Nothing|Null|Empty):")
_PERSON = re.compile(r"//.*\b([Hh]e|[Hh]im|[Hh]is|[Hh]imself)\b")


def _sources(root, folders):
    for folder in folders:
        for path in sorted((root / folder).rglob("*.[hc]pp")):
            yield path, path.read_text().splitlines()


def long_lines(root, folders):
    """Lines of comments with more than 100 columns, as PATH:NUMBER; not beside a table of code, which
    is formatted by hand."""
    found = []
    for path, lines in _sources(root, folders):
        by_hand = False
        for number, line in enumerate(lines, 1):
            if "// clang-format o" in line:
                by_hand = line.endswith("off")
            if not by_hand and _COMMENT.match(line) and len(line) > _COLUMNS:
                found.append(f"{path.relative_to(root)}:{number}")
    return found


def without_subject(root, folders):
    """First lines of comments that are a clause without its sentence, and lines that call a thread, a
    caller or a client "he"."""
    found = []
    for path, lines in _sources(root, folders):
        for number, line in enumerate(lines, 1):
            is_first = number == 1 or not _COMMENT.match(lines[number - 2])
            if (is_first and _HEADLESS.match(line)) or _PERSON.search(line):
                found.append(f"{path.relative_to(root)}:{number}")
    return found


class Comments(unittest.TestCase):
    """In the tree, and in files that break each rule."""

    def test_lines_have_100_columns_at_most(self):
        """clang-format does so for code alone."""
        self.assertEqual(long_lines(_ROOT, (*_PRODUCT, "tests")), [])

    def test_comments_of_the_product_are_sentences(self):
        """ "Returns false if ...", and not "False: ..."; a client, and not "he"."""
        self.assertEqual(without_subject(_ROOT, _PRODUCT), [])

    def test_each_fault_is_found(self):
        """The control. A line that continues a sentence may begin with any word."""
        with tempfile.TemporaryDirectory() as name:
            root = pathlib.Path(name)
            (root / "room").mkdir()
            lines = ["// Who calls.", "int a;", "  // False: none.", "int b;  // its caller's: he waits", "// This is",
                     "// What it is.", "// " + "x" * 97, "// " + "x" * 98, "int c" + " " * 99]  # fmt: skip
            (root / "room" / "a.hpp").write_text("\n".join(lines))
            self.assertEqual(without_subject(root, ["room"]), [f"room/a.hpp:{line}" for line in (1, 3, 4)])
            self.assertEqual(long_lines(root, ["room"]), ["room/a.hpp:8"])


if __name__ == "__main__":
    unittest.main()
