"""Running nbdstack-s3."""

from support.command import our_command, run_command


def our_s3_command():
    """The program's path."""
    return our_command("nbdstack-s3")


def run_s3_command(*words, **how):
    """run_command()."""
    return run_command("nbdstack-s3", *words, **how)
