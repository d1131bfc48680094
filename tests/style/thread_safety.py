#!/usr/bin/python3
"""clang's thread-safety analysis over every source of the product that includes common/sync/mutex.hpp, and over the control: a
file with mistakes, each of which has to be found.

    thread_safety.py SOURCE_DIRECTORY BUILD_DIRECTORY

Nothing is generated: the files are only read and analysed, with the options that the build compiles them with. Where the build
compiles several files as one, so does this: most of the time goes into the headers that they share.
"""

import concurrent.futures
import json
import pathlib
import re
import shlex
import subprocess
import sys

HEADER = "common/sync/mutex.hpp"
PRODUCT = ("common/", "filters/", "plugins/", "tools/")
CONTROL = "tests/style/thread_safety_control.cpp"
CLANG = ["clang++", "-fsyntax-only", "-Wthread-safety", "-Werror"]


def includes(path):
    return re.findall(r'^#include "([^"]+)"', path.read_text(), re.MULTILINE)


def reaches(root, name, known):
    """Whether a file of the repository includes the header, at whatever depth."""
    if name not in known:
        known[name] = name == HEADER
        path = root / name
        known[name] = known[name] or (
            path.is_file() and any(reaches(root, included, known) for included in includes(path))
        )
    return known[name]


def options(command):
    """What says how a file is read: definitions, directories and the language."""
    words = shlex.split(command)
    kept = [word for word in words if re.match(r"-(D|I|std=)", word)]
    return kept + [f"-isystem{words[i + 1]}" for i, word in enumerate(words[:-1]) if word == "-isystem"]


def jobs(root, build):
    """(file, options) of what is to be analysed."""
    known, found = {}, {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        path = pathlib.Path(entry["file"])
        together = path.is_relative_to(build) and path.is_file()
        sources = map(pathlib.Path, includes(path)) if together else [path]
        names = [str(source.relative_to(root)) for source in sources if source.is_relative_to(root)]
        if any(name.startswith(PRODUCT) and reaches(root, name, known) for name in names):
            found[path] = options(entry["command"])
    return sorted(found.items())


def analyse(job):
    source, how = job
    done = subprocess.run([*CLANG, *how, str(source)], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def main(root, build):
    control = subprocess.run(
        [*CLANG, "-std=c++20", "-Xclang", "-verify", f"-I{root}", str(root / CONTROL)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if control.returncode != 0:
        sys.exit(f"The control's mistakes are not found as it says:\n{control.stderr}")
    found = jobs(root, build)
    if not found:
        sys.exit(f"No source includes {HEADER}")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        failures = [output for code, output in pool.map(analyse, found) if code != 0]
    print(f"{len(found)} compilations analysed, {len(failures)} with mistakes", *failures, sep="\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*(pathlib.Path(argument).resolve() for argument in sys.argv[1:3])))
