"""Every test that lies in the tree is built: a source of a unit test that no CMakeLists.txt names
would be a test that never runs, and nobody would notice."""

import pathlib
import tempfile
import unittest

_TESTS = pathlib.Path(__file__).resolve().parents[1]
_NOT_TESTS = ("style",)  # a control of another test is compiled by that one


def not_built(root):
    """Sources below `root` that no CMakeLists.txt there names. A name is that of the file, or, of a
    fuzzer, what comes before _fuzzer.cpp; a listed path has to lead to the file."""
    named, fuzzers = set(), set()
    for page in root.rglob("CMakeLists.txt"):
        for word in page.read_text().replace("(", " ").replace(")", " ").split():
            word = word.replace("${PROJECT_SOURCE_DIR}/tests", str(root.resolve()))
            if word.endswith(".cpp"):
                named.add((page.parent / word).resolve())
            fuzzers.add((page.parent / f"{word}_fuzzer.cpp").resolve())
    sources = [path.resolve() for path in root.rglob("*.cpp")]
    return [path for path in sources
            if path not in named | fuzzers
            and path.relative_to(root.resolve()).parts[0] not in _NOT_TESTS]  # fmt: skip


class AllAreBuilt(unittest.TestCase):
    """Unit tests, crash tests, fuzzers."""

    def test_each_source_is_named(self):
        """In the tree."""
        self.assertEqual(not_built(_TESTS), [])

    def test_a_source_that_is_not_named_is_found(self):
        """The control: one that was moved without its line, and one that is named."""
        with tempfile.TemporaryDirectory() as name:
            root = pathlib.Path(name)
            for folder in ("unit", "unit/room"):
                (root / folder).mkdir()
            page = root / "unit" / "CMakeLists.txt"
            page.write_text("add_executable(t SOURCES room/a_test.cpp)\n")
            for file in ("room/a_test.cpp", "b_test.cpp"):
                (root / "unit" / file).touch()
            self.assertEqual([path.name for path in not_built(root)], ["b_test.cpp"])


if __name__ == "__main__":
    unittest.main()
