"""A file system that is soon full, seen by one server only."""

import os
import subprocess


class CannotMount(Exception):
    """The message says why."""


def in_small_file_system(directory, size):
    """Words before a command that mount a file system of `size` ("2M"; 0: without a bound, which then
    states no size either) on `directory` for it alone: in a mount namespace of its own, so that nothing is left behind."""
    # Made private by hand: unshare would insist, and cannot where the root is no mount point (a
    # chroot).
    mount = ["unshare", "--mount", "--propagation", "unchanged"]
    if os.geteuid() != 0:
        mount = ["unshare", "--user", "--map-root-user", "--mount"]
    private = "mount --make-rprivate / 2>/dev/null"
    script = f'{private}; mount -t tmpfs -o size={size} tmpfs {directory} && exec "$@"'
    mount += ["sh", "-c", script, "sh"]
    probe = subprocess.run([*mount, "true"], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        raise CannotMount(f"no file system can be mounted on {directory}: {probe.stderr.strip()}")
    return mount
