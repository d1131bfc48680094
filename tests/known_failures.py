#!/usr/bin/python3
"""What goes wrong elsewhere: known failures, run against nbdkit's own filters and against ours.

Prints a Markdown table. Every figure in it is measured by the run that prints it.

    tests/known_failures.py                  everything, ours from build/nbdkit where it is built
    tests/known_failures.py --only A,F
    tests/known_failures.py --check          exit 1 when a case fails, or cannot be run, for ours
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys

import nbd

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from support import cases_cost, cases_data, cases_readahead, nbdkit  # noqa: E402
from support.cases import CASES, CannotRun, Outcome, Side  # noqa: E402

# Importing the modules of cases filled CASES.
MODULES = (cases_data, cases_cost, cases_readahead)


def run_case(letter, side):
    """The case's outcome. Whatever breaks it is a failure of that side, and said."""
    try:
        return CASES[letter](side)
    except CannotRun as reason:
        return Outcome(f"CANNOT RUN: {reason}", False)
    except (nbdkit.NbdkitError, nbd.Error, TimeoutError, subprocess.CalledProcessError) as error:
        return Outcome(f"broke off: {' '.join(str(error).split())[-200:]}", False)


def cell(outcome):
    """An outcome as text in a table."""
    mark = {True: "ok: ", False: "**fails**: ", None: ""}[outcome.ok]
    return (mark + outcome.figure).replace("|", "\\|")


def default_ours():
    """The wrapper's path if it is built, else None."""
    path = os.environ.get("NBDSTACK_NBDKIT", str(nbdkit.ROOT / "build" / "nbdkit"))
    return path if os.access(path, os.X_OK) else None


def require_our_cache(binary):
    """Ends the program when `binary` would load nbdkit's cache filter: a column named ours must not
    show nbdkit against itself."""
    with nbdkit.Nbdkit("--filter=cache", "null", binary=binary, verbose=True) as server:
        loaded = re.search(r"registering filter (\S+nbdkit-cache-filter\.so)", server.log())
    config = subprocess.run(
        [nbdkit.system_nbdkit(), "--dump-config"], check=True, capture_output=True, text=True
    )
    systems = re.search(r"^filterdir=(.*)$", config.stdout, re.MULTILINE)[1]
    if not loaded or loaded[1].startswith(systems + "/"):
        sys.exit(f"known_failures.py: {binary} loads nbdkit's cache filter: build ours first")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--ours", default=default_ours(), help="path of the wrapper nbdkit")
    parser.add_argument("--peer", default=nbdkit.system_nbdkit(), help="the system's nbdkit")
    parser.add_argument("--only", help="letters of cases, with commas")
    parser.add_argument("--check", action="store_true", help="exit 1 when a case fails for ours")
    arguments = parser.parse_args()
    arguments.letters = arguments.only.split(",") if arguments.only else sorted(CASES)
    unknown = [letter for letter in arguments.letters if letter not in CASES]
    if unknown:
        parser.error(f"--only: no case {', '.join(unknown)}; there are {', '.join(sorted(CASES))}")
    if arguments.ours and not os.access(arguments.ours, os.X_OK):
        parser.error(f"--ours: {arguments.ours} cannot be run")
    if arguments.check and not arguments.ours:
        parser.error("--check: nothing to check; build first, or give --ours")
    return arguments


def main():
    arguments = parse_arguments()
    peer = Side("nbdkit's", arguments.peer, is_ours=False)
    if arguments.ours:
        require_our_cache(arguments.ours)
    ours = Side("ours", arguments.ours, is_ours=True) if arguments.ours else None
    failed = []
    print("| case | what happens | nbdkit's | ours |\n|---|---|---|---|")
    for letter in arguments.letters:
        what = " ".join(CASES[letter].__doc__.split())
        theirs = run_case(letter, peer)
        mine = run_case(letter, ours) if ours else Outcome("not built", None)
        if mine.ok is False:
            failed.append(letter)
        print(f"| {letter} | {what} | {cell(theirs)} | {cell(mine)} |", flush=True)
    if arguments.check and failed:
        sys.exit(f"known_failures.py: ours fails {', '.join(failed)}")


if __name__ == "__main__":
    main()
