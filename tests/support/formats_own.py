"""A reader of what docs/formats/own-layout.md describes."""

import base64
import hashlib
import hmac
import json
import struct
import zlib

from .formats import Damaged, Field, Reader, unseal, unzstd, values_of, xxh3_64, xxh3_128

_COMPRESSIONS = {0: lambda body, _: body, 1: lambda body, _: zlib.decompress(body), 2: unzstd}
_KINDS = ("unknown", "absent", "stored")
_TRAILER_BYTES = 48


# --- Descriptor, lease, mark ---

_VOLUME = {"format", "version", "size", "object-size", "id"}
_LEASE = {"format", "version", "state", "owner", "host", "pid", "start-time", "boot-id",
          "pid-namespace", "since", "renewals", "duration-ms"}  # fmt: skip


def _record(text, kind, fields_of_version):
    record = json.loads(text)
    if record.get("format") != kind:
        raise Damaged("its format is another one")
    allowed = fields_of_version.get(record.get("version"))
    if allowed is None:
        raise Damaged("its version is unknown")
    if set(record) not in allowed:
        raise Damaged("it has not the fields of its version")
    return record


def descriptor(text):
    """nbdstack-volume.json"""
    versions = {1: [_VOLUME], 2: [_VOLUME, _VOLUME | {"encryption"}]}
    return _record(text, "nbdstack-volume", versions)


def lease(text):
    """nbdstack-lease.json"""
    term = _LEASE | {"term", "changed-term"}
    versions = {1: [_LEASE], 2: [term], 3: [term | {"unchanged-terms"}]}
    record = _record(text, "nbdstack-lease", versions)
    if record["version"] == 2:
        record["unchanged-terms"] = list(range(record["changed-term"] + 1, record["term"]))
    return record


def _derive(key, label, context):
    return hmac.new(key, label + b"\0" + context, "sha256").digest()


def volume_key(record, passphrase):
    """The key of an encrypted volume."""
    sealed = record["encryption"]
    cost = {name: sealed[name] for name in "nrp"}
    salt = bytes.fromhex(sealed["salt"])
    wrapping = hashlib.scrypt(passphrase, salt=salt, dklen=32, maxmem=2**30 + 2**20, **cost)
    purpose = b"nbdstack volume key\0" + record["id"].encode()
    key = unseal(wrapping, purpose, bytes.fromhex(sealed["wrapped-key"]))
    geometry = struct.pack(">QI", record["size"], record["object-size"]) + record["id"].encode()
    if _derive(key, b"nbdstack descriptor", geometry).hex() != sealed["mac"]:
        raise Damaged("the geometry was changed without the key")
    return key


# --- Frames ---


def frame_fields(body):
    """The fields of a frame."""
    reader = Reader(body)
    reader.raw("magic", 6)
    for name, size in (("version", 1), ("header_bytes", 1), ("compression", 1), ("cipher", 1),
                       ("unused", 2), ("block_bytes", 4)):  # fmt: skip
        reader.take(name, size, "big")
    header = values_of(reader.fields)
    if header["magic"] != b"NBDOBJ" or header["version"] != 1:
        raise Damaged("no frame, or its version is unknown")
    if header["header_bytes"] != 16 or header["unused"] or header["compression"] > 2:
        raise Damaged("its header is damaged")
    rest = len(body) - reader.offset
    if header["cipher"] == 0:
        reader.raw("compressed", rest - 16)
        if reader.raw("checksum", 16) != xxh3_128(body[:-16]):
            raise Damaged("the checksum does not fit")
    elif header["cipher"] == 1:
        reader.raw("nonce", 12)
        reader.raw("ciphertext", rest - 28)
        reader.raw("tag", 16)
    else:
        raise Damaged("its cipher is unknown")
    return reader.fields


def block_of(body, block_bytes, number=None, volume_id=None, key=None):
    """The content of a block's object; with a key, of a volume that is encrypted."""
    if key is None and len(body) == block_bytes:
        return body
    header = values_of(frame_fields(body))
    if header["block_bytes"] != block_bytes or (key is None) != (header["cipher"] == 0):
        raise Damaged("it is no block of this volume")
    text = body[16:-16]
    if key is not None:
        place = volume_id.encode() + struct.pack(">Q", number)
        block_key = _derive(key, b"nbdstack block key", place)
        text = unseal(block_key, body[:16] + place, body[16:])
    block = _COMPRESSIONS[header["compression"]](text, block_bytes)
    if len(block) != block_bytes:
        raise Damaged("the block has another length")
    return block


# --- Record of blocks ---


def blocks_fields(body):
    """The fields of nbdstack-blocks."""
    if body[-16:] != xxh3_128(body[:-16]):
        raise Damaged("the checksum does not fit")
    line = body.index(b"\n") + 1
    return [
        Field(0, line, "header", ""),
        Field(line, len(body) - 16 - line, "runs", ""),
        Field(len(body) - 16, 16, "checksum", body[-16:]),
    ]


def blocks(body):
    """The header, and the runs: (length, kind)."""
    blocks_fields(body)
    line, _, rest = body[:-16].partition(b"\n")
    header = json.loads(line)
    if header["format"] != "nbdstack-blocks" or header["version"] != 1:
        raise Damaged("its version is unknown")
    runs, number, shift = [], 0, 0
    for digit in unzstd(rest, header["bytes"]) if header["bytes"] else b"":
        number |= (digit & 127) << shift
        shift += 7
        if digit < 128:
            runs.append((number // 4, _KINDS[number % 4]))
            number = shift = 0
    if sum(length for length, _ in runs) != header["blocks"]:
        raise Damaged("the runs do not cover the volume")
    return header, runs


# --- Pieces and files ---


def piece_bytes_of(object_bytes):
    """The length of a piece; None: the object has no checksums of pieces."""
    if not 65536 < object_bytes <= 32 << 20:
        return None
    piece = 65536
    while piece * 128 < object_bytes:
        piece *= 2
    return piece


def pieces(body):
    """The checksums of the pieces of an object, as bytes."""
    size = piece_bytes_of(len(body))
    starts = range(0, len(body), size) if size else ()
    sums = (xxh3_64(body[at : at + size], number) for number, at in enumerate(starts))
    return b"".join(struct.pack(">Q", each) for each in sums)


def pieces_text(body):
    """What is kept with an object as nbdstack-pieces."""
    sums = base64.b64encode(pieces(body)).decode()
    return f"1:{piece_bytes_of(len(body))}:{len(body)}:{sums}"


def file_fields(data):
    """The fields of a file of a directory that is a store: all but the body."""
    reader = Reader(data, len(data) - _TRAILER_BYTES)
    reader.raw("magic", 8)
    for name, size in (("version", 4), ("piece_bytes", 4), ("body_bytes", 8)):
        reader.take(name, size)
    reader.raw("checksum", 16)
    check = reader.raw("check", 8)
    trailer = values_of(reader.fields)
    body_bytes = trailer["body_bytes"]
    body, tail = data[:body_bytes], data[body_bytes:]
    if trailer["magic"] != b"nbdstack" or check != xxh3_128(tail[:-8])[:8]:
        raise Damaged("the trailer is damaged, or there is none")
    expected = {1: (0, b""), 2: (piece_bytes_of(len(body)), pieces(body))}.get(trailer["version"])
    if expected != (trailer["piece_bytes"], tail[:-_TRAILER_BYTES]):
        raise Damaged("the pieces are not those of the body")
    if trailer["checksum"] != xxh3_128(body):
        raise Damaged("the checksum of the body does not fit")
    sums = range(body_bytes, len(data) - _TRAILER_BYTES, 8)
    named = [Field(at, 8, "piece_checksum", data[at : at + 8]) for at in sums]
    return named + reader.fields


def fields_of(name, data):
    """All fields of a vector."""
    if name.startswith("object-file"):
        return file_fields(data)
    return blocks_fields(data) if name == "blocks.hex" else frame_fields(data)
