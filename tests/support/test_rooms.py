"""The check of tests/style/rooms.py finds what it is there for."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOMS = pathlib.Path(__file__).resolve().parents[1] / "style" / "rooms.py"
TABLE = "common:\nfilters/low: common\nfilters/high: common filters/low\n"
SOURCES = {
    "common/error.hpp": "",
    "filters/low/a.hpp": '#include "common/error.hpp"\n',
    "filters/high/b.cpp": '#include "common/error.hpp"\n#include "filters/low/a.hpp"\n',
}


class RoomsTest(unittest.TestCase):
    def check(self, table=TABLE, **changed):
        with tempfile.TemporaryDirectory() as name:
            root = pathlib.Path(name)
            for part in ("common", "filters", "plugins", "tools"):
                (root / part).mkdir()
            for path, text in (SOURCES | {key.replace("__", "/") + ".hpp": text for key, text in changed.items()}).items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text)
            (root / "rooms.txt").write_text(table)
            ended = subprocess.run(
                [sys.executable, str(ROOMS), f"--root={root}", f"--table={root / 'rooms.txt'}"],
                capture_output=True,
                text=True,
            )
        self.assertEqual(ended.stderr, "")
        return ended.returncode, ended.stdout

    def assert_refused(self, fault, **given):
        status, said = self.check(**given)
        self.assertEqual(status, 1, said)
        self.assertIn(fault, said)

    def test_a_tree_that_fits_its_table_is_counted(self):
        self.assertEqual(self.check(), (0, "3 folders, 3 arrows, 0 faults\n"))

    def test_an_include_upwards_is_refused(self):
        upwards = '#include "common/error.hpp"\n#include "filters/high/b.cpp"\n'
        self.assert_refused("filters/low may not include filters/high/b.cpp", filters__low__a=upwards)

    def test_a_table_that_points_upwards_is_refused(self):
        self.assert_refused("does not stand above it", table=TABLE.replace("low: common", "low: common filters/high"))

    def test_a_folder_without_a_line_is_refused(self):
        self.assert_refused("has no line for filters/new", filters__new__c="")

    def test_what_is_allowed_and_not_used_is_refused(self):
        self.assert_refused("filters/low does not include common any more", filters__low__a="")

    def test_a_path_that_is_none_is_refused(self):
        self.assert_refused("is no path from the top", filters__low__a='#include "a.hpp"\n')

    def test_a_folder_can_be_taken_whole(self):
        table = "common:\nfilters/**: common\n"
        self.assertEqual(self.check(table=table), (0, "2 folders, 1 arrows, 0 faults\n"))


if __name__ == "__main__":
    unittest.main()
