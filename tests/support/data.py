"""Test data, digests, free ports: the small things every end-to-end test needs."""

import array
import hashlib
import random
import socket
import sys
import time

WORD_BYTES = 8
_INDEX_BITS = 40


def tagged(tag, offset, count):
    """`count` bytes for the disk offset `offset`, in which every aligned 8-byte word says (big
    endian) which `tag` wrote it (upper 24 bits) and for which word of the disk (lower 40 bits).

    Data that lands in the wrong place, or that an older write left behind, names its origin:
    see describe_word().
    """
    first = offset // WORD_BYTES
    last = -(-(offset + count) // WORD_BYTES)
    base = (tag & 0xFFFFFF) << _INDEX_BITS
    words = array.array("Q", range(base + first, base + last))
    if sys.byteorder == "little":
        words.byteswap()
    skip = offset - first * WORD_BYTES
    return words.tobytes()[skip : skip + count]


def describe_word(word):
    """Where an 8-byte word made by tagged() came from, for failure messages."""
    value = int.from_bytes(word, "big")
    if value == 0:
        return "zeros"
    tag, index = value >> _INDEX_BITS, value & ((1 << _INDEX_BITS) - 1)
    return f"{word.hex()} (if tagged: write #{tag}, meant for offset {index * WORD_BYTES:#x})"


def random_bytes(seed, count):
    """`count` incompressible bytes, the same for the same seed."""
    return random.Random(seed).randbytes(count)


def sha256(data):
    """Hex SHA-256 of bytes: digests compare and print better than megabytes."""
    return hashlib.sha256(data).hexdigest()


def export_sha256(handle, chunk_bytes=1 << 20):
    """Hex SHA-256 of everything a libnbd handle can read."""
    digest = hashlib.sha256()
    size = handle.get_size()
    for offset in range(0, size, chunk_bytes):
        digest.update(handle.pread(min(chunk_bytes, size - offset), offset))
    return digest.hexdigest()


def free_port(address="127.0.0.1"):
    """A TCP port nobody listens on now. Somebody else may take it before you do."""
    with socket.socket() as listener:
        listener.bind((address, 0))
        return listener.getsockname()[1]


def listens(port, address="127.0.0.1"):
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


def wait_until(condition, timeout_s, what):
    """Polls `condition` and returns its first true value; TimeoutError names `what`."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout_s} s")
        time.sleep(0.01)
