#!/usr/bin/python3
"""Whether every folder of the product includes only the folders that tests/style/rooms.txt allows it.

    tests/style/rooms.py [--root=DIRECTORY] [--table=FILE]

The table has a line a folder, from the lowest to the highest: its name, a colon, and the folders that
it includes. Since a line can name only folders of lines above it, no arrow points upwards. A name
that ends with /** is a folder with all that is in it, taken for one. What is allowed and not used is a fault, too: the table says what is, and the last line that is printed
counts it. Exits with 1 where something is wrong, and says what.
"""

import argparse
import collections
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PRODUCT = ("common", "filters", "plugins", "tools")
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


def read_table(path):
    """The folders that each may include, and what is wrong with the table itself."""
    allowed, faults = {}, []
    for line in path.read_text().splitlines():
        line = line.partition("#")[0].strip()
        if not line:
            continue
        folder, _, names = line.partition(":")
        for name in names.split():
            if name not in allowed:
                faults.append(f"{path.name}: {folder} may include {name}, which does not stand above it")
        allowed[folder] = set(names.split())
    return allowed, faults


def sources(root):
    for part in PRODUCT:
        for suffix in ("*.cpp", "*.hpp", "*.c", "*.h"):
            yield from sorted((root / part).rglob(suffix))


def check(root, table):
    allowed, faults = read_table(table)
    wholes = [name.removesuffix("/**") for name in allowed if name.endswith("/**")]

    def room_of(path):
        folder = str(path.parent)
        for whole in wholes:
            if f"{folder}/".startswith(f"{whole}/"):
                return f"{whole}/**"
        return folder

    used = collections.defaultdict(set)
    folders = set()
    for source in sources(root):
        folder = room_of(source.relative_to(root))
        folders.add(folder)
        for name in INCLUDE.findall(source.read_text()):
            if not (root / name).is_file():
                faults.append(f"{source.relative_to(root)}: {name} is no path from the top of the tree")
                continue
            target = room_of(pathlib.PurePosixPath(name))
            if target == folder:
                continue
            used[folder].add(target)
            if target not in allowed.get(folder, set()):
                faults.append(f"{source.relative_to(root)}: {folder} may not include {name}")
    for folder in sorted(folders - allowed.keys()):
        faults.append(f"{table.name}: has no line for {folder}")
    for folder in allowed:
        if folder not in folders:
            faults.append(f"{table.name}: there is no folder {folder} with sources")
        for name in sorted(allowed[folder] - used[folder]):
            faults.append(f"{table.name}: {folder} does not include {name} any more")
    return faults, len(folders), sum(len(names) for names in used.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=pathlib.Path, default=ROOT)
    parser.add_argument("--table", type=pathlib.Path, default=ROOT / "tests/style/rooms.txt")
    arguments = parser.parse_args()
    faults, rooms, arrows = check(arguments.root.resolve(), arguments.table)
    for fault in faults:
        print(fault)
    print(f"{rooms} folders, {arrows} arrows, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
