"""Running the commands that are built beside the wrapper of nbdkit."""

import os
import pathlib
import subprocess

from support.nbdkit import NbdkitError, environment_with, our_nbdkit


def our_command(name):
    """The program's path."""
    path = pathlib.Path(our_nbdkit()).parent / name
    if not os.access(path, os.X_OK):
        raise NbdkitError(f"{path}: not there; build first")
    return str(path)


def run_command(name, *words, input_text=None, pass_fds=(), timeout_s=120, environment=None):
    """Runs it to its end, away from any terminal; the CompletedProcess with its output as text. A
    signal that ended it is an error: a crash is not a refusal. `environment` as in Nbdkit."""
    done = subprocess.run(
        [our_command(name), *(str(word) for word in words)], capture_output=True, text=True,
        input=input_text if input_text is not None else "", pass_fds=pass_fds, timeout=timeout_s,
        check=False, env=environment_with(environment or {}),
    )  # fmt: skip
    if done.returncode < 0:
        raise NbdkitError(f"{name} {words} ended with {done.returncode}:\n{done.stderr}")
    return done
