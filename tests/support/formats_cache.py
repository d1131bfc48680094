"""A reader of what docs/formats/cache-directory.md describes."""

import base64
import hashlib
import hmac
import re
import struct

from .formats import Cipher, Damaged, Reader, key_values, unseal, values_of, xxh3_64

_PAGE_SIZE_MIN = 4096
_XTS_LABELS = (b"nbdstack unit text", b"nbdstack unit tweak")
RECORD_KINDS = (
    "", "wrote", "rewrote", "zeroed", "forgotten", "cleaned", "dropped", "damaged", "zeros_added",
    "zeros_removed", "commit",
)  # fmt: skip


def identity(data):
    """The file `identity`."""
    values = key_values(data.decode("ascii"))
    if values.get("format") not in ("1", "2", "3"):
        raise Damaged("its format is unknown")
    return values


def key(identity, passphrase):
    """The key of the pages, out of an identity of format 3."""
    salt, sealed = base64.b64decode(identity["salt"]), base64.b64decode(identity["wrapped_key"])
    cost = {name: int(identity[f"scrypt_{name}"]) for name in "nrp"}
    wrapping = hashlib.scrypt(passphrase, salt=salt, dklen=32, maxmem=2**30 + 2**20, **cost)
    return unseal(wrapping, b"nbdstack cache pages", sealed)


def page(data, position, file_number, key):
    """Units of 4 KiB of `data` (0) or `data2` (1), decrypted."""
    text = b""
    for at in range(0, len(data), _PAGE_SIZE_MIN):
        tweak = struct.pack("<QB7x", (position + at) // _PAGE_SIZE_MIN, file_number)
        cipher = Cipher("EVP_aes_256_xts", _xts_key(key), tweak, False)
        text += cipher.update(data[at : at + _PAGE_SIZE_MIN])
    return text


def _xts_key(key):
    halves = (hmac.new(key, label + b"\0", "sha256").digest() for label in _XTS_LABELS)
    return b"".join(halves)



# Behind checksum, length and kind.
_RECORD_FIELDS = (
    ("flag", 1), ("pages", 2), ("sequence", 8), ("durable_sequence", 8), ("slot", 4), ("unused", 4),
    ("first", 8), ("second", 8), ("copies", 8),
)  # fmt: skip


def records(data, generation):
    """The records of a journal: a list of lists of fields. It ends where no record begins."""
    records, offset = [], 0
    while offset + 64 <= len(data) and any(data[offset : offset + 64]):
        record = _record(data, offset, generation)
        records.append(record)
        offset += values_of(record)["length"]
    return records


def _record(data, offset, generation):
    reader = Reader(data, offset)
    checksum = reader.take("checksum", 8)
    length = reader.take("length", 4)
    kind = reader.take("kind", 1)
    for name, size in _RECORD_FIELDS:
        reader.take(name, size)
    pages = values_of(reader.fields)["pages"]
    if pages > 64 or length != 64 + 16 * pages or offset + length > len(data):
        raise Damaged("the length is impossible")
    if checksum != xxh3_64(data[offset + 8 : offset + length], generation):
        raise Damaged("the checksum does not fit")
    if not 1 <= kind < len(RECORD_KINDS):
        raise Damaged("the kind is unknown")
    for which in ("new", "old"):
        for page in range(pages):
            reader.take(f"{which}_checksum_{page}", 8)
    return reader.fields


def snapshot(data, generation):
    """index.N: the fields of header, slots and zeros."""
    reader = Reader(data)
    checksum = reader.take("checksum", 8)
    for name in ("magic", "generation", "sequence", "slots", "zeros", "entry_bytes", "has_note"):
        reader.take(name, 8)
    header = values_of(reader.fields)
    if checksum != xxh3_64(data[8:64], generation) or data[8:16] != b"BNDSIDX1":
        raise Damaged("the header is damaged")
    if header["generation"] != generation or header["entry_bytes"] not in (32, 64):
        raise Damaged("the header is another file's")
    word = 2 if header["entry_bytes"] == 32 else 8
    masks = ("valid", "dirty", "zero", "hole", "copies")
    slot = [("block", 8), ("page_checksum", 8), *((mask, word) for mask in masks)]
    slot += [("unused", 2), ("slot", 4)] if word == 2 else [("slot", 4), ("unused", 4)]
    _snapshot_chunks(reader, header["slots"], slot, generation)
    zeros = [("offset", 8), ("length", 8), ("may_trim", 8)]
    _snapshot_chunks(reader, header["zeros"], zeros, generation)
    return reader.fields


def _snapshot_chunks(reader, count, layout, generation):
    for first in range(0, count, 1024):
        some = min(1024, count - first)
        checksum = reader.take("chunk_checksum", 8)
        begin = reader.offset
        for _ in range(some):
            for name, size in layout:
                reader.take(name, size)
        if checksum != xxh3_64(reader.data[begin : reader.offset], generation):
            raise Damaged("a chunk is damaged")


def note(data):
    """The file `committed`: the fields of its two places."""
    fields = []
    for place in range(2):
        part = data[512 * place : 512 * place + 40]
        if not any(part):
            continue
        reader = Reader(data, 512 * place)
        checksum = reader.take("checksum", 8)
        for name in ("magic", "turn", "sequence", "anything_dirty"):
            reader.take(name, 8)
        magic = int.from_bytes(b"BCOMMIT1", "little")
        if part[8:16] != b"BCOMMIT1" or checksum != xxh3_64(part[8:], magic):
            raise Damaged("a place is damaged")
        fields += reader.fields
    return fields


_MASKS = ("valid", "dirty", "zero", "hole", "copies")
_EFFECTS = {
    "wrote": lambda flag: {"valid": 1, "dirty": flag, "zero": 0, "hole": 0},
    "zeroed": lambda flag: {"valid": 1, "dirty": 1, "zero": 1, "hole": flag},
    "forgotten": lambda _: {"valid": 0, "dirty": 0, "zero": 0, "hole": 0},
    "cleaned": lambda _: {"dirty": 0, "hole": 0},
}


class Index:
    """What the files of a directory say, all of whose records have been committed: `slots`, by
    number, and `zeros`, the blocks of the ranges of zeros. `files` maps names to bytes."""

    def __init__(self, files, block_size):
        self.slots, self.zeros, self._block_size = {}, set(), block_size
        numbers = {kind: sorted(int(name.partition(".")[2]) for name in files
                                if re.fullmatch(kind + r"\.[0-9]+", name))
                   for kind in ("index", "journal")}  # fmt: skip
        latest = numbers["index"][-1] if numbers["index"] else 0
        if latest:
            self._load(snapshot(files[f"index.{latest}"], latest))
        for number in numbers["journal"]:
            if number >= latest:
                for record in records(files[f"journal.{number}"], number):
                    self._apply(values_of(record))
        self.slots = {number: slot for number, slot in self.slots.items()
                      if slot["block"] not in self.zeros}  # fmt: skip

    def _blocks(self, offset, length):
        return set(range(offset // self._block_size, (offset + length) // self._block_size))

    def _load(self, fields):
        slot, begin = {}, None
        for field in fields:
            if field.name == "block":
                slot = {}
            slot[field.name] = field.value
            if field.name == "slot":
                self.slots[field.value] = slot
            elif field.name == "offset":
                begin = field.value
            elif field.name == "length":
                self.zeros |= self._blocks(begin, field.value)

    def _apply(self, record):
        kind, pages, flag = RECORD_KINDS[record["kind"]], record["second"], record["flag"]
        if kind in ("zeros_added", "zeros_removed"):
            blocks = self._blocks(record["first"], record["second"])
            self.zeros = self.zeros | blocks if kind == "zeros_added" else self.zeros - blocks
            return
        if kind in ("wrote", "zeroed"):
            self.zeros.discard(record["first"])
            if self.slots.get(record["slot"], {"block": None})["block"] != record["first"]:
                self.slots[record["slot"]] = dict.fromkeys(_MASKS, 0) | {"block": record["first"]}
        slot = self.slots.get(record["slot"])
        if slot is None or kind in ("commit", "rewrote"):
            return
        if kind == "dropped":
            del self.slots[record["slot"]]
            return
        if kind == "damaged":
            slot["valid"] &= slot["zero"]
            slot["copies"] = 0
            return
        for mask, is_set in _EFFECTS[kind](flag).items():
            slot[mask] = slot[mask] | pages if is_set else slot[mask] & ~pages
        if kind == "wrote":
            slot["copies"] = slot["copies"] & ~pages | record["copies"]
