"""docs/promises.md, the table of who can lose what when: every cell says what happens, and names tests
that exist and hold it."""

import pathlib
import re
import unittest

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_PAGE = _ROOT / "docs" / "promises.md"

# What a cell may say, before the numbers of its tests.
_OUTCOMES = ("kept", "error", "refused", "said", "as documented", "not there")


def rows_of(text, heading):
    """The rows of the first table below `heading`, each a list of cells; without the separator."""
    lines = text[text.index(f"## {heading}\n") :].splitlines()[1:]
    first = next(number for number, line in enumerate(lines) if line.startswith("|"))
    table = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return [table[0], *table[2:]]


def numbered_tests(text):
    """{number: [reference, ...]} of the lines "N. `reference`, `reference`: words"."""
    lines = text[text.index("## The tests\n") :].splitlines()
    found = {}
    for line in lines:
        match = re.match(r"(\d+)\. (`[^:]*`)(?:: .*)?$", line)
        if match:
            found[int(match[1])] = re.findall(r"`([^`]+)`", match[2])
    return found


def exists(reference):
    """tests/FILE.py NAME, or tests/FILE.cpp NAME, where NAME stands as a word in that file."""
    path, _, name = reference.partition(" ")
    file = _ROOT / "tests" / path
    return file.is_file() and (not name or re.search(rf"\b{name}\b", file.read_text()) is not None)


class Promises(unittest.TestCase):
    def setUp(self):
        self.text = _PAGE.read_text()
        self.tests = numbered_tests(self.text)
        self.header, *self.rows = rows_of(self.text, "Who can lose what, when")

    def test_every_cell_says_what_happens_and_names_a_test(self):
        self.assertGreaterEqual(len(self.rows), 14)
        for row in self.rows:
            self.assertEqual(len(row), len(self.header), row)
            for column, cell in zip(self.header[1:], row[1:]):
                with self.subTest(row=row[0], column=column):
                    self.assertNotIn("silent", cell.lower())
                    match = re.fullmatch(rf"({'|'.join(_OUTCOMES)})((?: \d+)*)", cell)
                    self.assertIsNotNone(match, cell)
                    numbers = [int(number) for number in match[2].split()]
                    self.assertTrue(numbers or match[1] == "not there", "no test is named")
                    for number in numbers:
                        self.assertIn(number, self.tests)

    def test_every_test_that_is_named_exists_and_is_needed(self):
        used = {int(n) for row in self.rows for cell in row[1:] for n in re.findall(r"\d+", cell)}
        self.assertEqual(used, set(self.tests))
        for number, references in self.tests.items():
            for reference in references:
                with self.subTest(number=number):
                    self.assertTrue(exists(reference), reference)

    def test_a_test_that_is_not_there_is_noticed(self):
        self.assertFalse(exists("support/test_model.py no_such_name"))
        self.assertFalse(exists("support/no_such_file.py"))
        self.assertTrue(exists("support/test_promises.py exists"))


if __name__ == "__main__":
    unittest.main()
