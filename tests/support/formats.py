"""Readers of the files and objects that docs/formats describes. They follow the documents, and share
nothing with the code under test: XXH3, AES and zstd come from their libraries by ctypes.

Each reader takes bytes and returns a list of Field, or raises Damaged. As a program it shows a file
as a golden vector (tests/vectors), with the name of each field:

    python3 -m support.formats KIND FILE [generation=N] [block_size=N]
"""

import base64
import ctypes
import hashlib
import hmac
import pathlib
import re
import struct
import sys
from typing import NamedTuple

VECTORS = pathlib.Path(__file__).resolve().parents[1] / "vectors"
_PAGE_SIZE_MIN = 4096
_ROW_BYTES = 16


class Damaged(Exception):
    """The bytes are not what the document says."""


class Field(NamedTuple):
    """Some bytes, what they are called and what they say."""

    offset: int
    length: int
    name: str
    value: object


# --- Libraries ---


def xxh3_64(data, seed=0):
    """XXH3 with 64 bits."""
    library = ctypes.CDLL("libxxhash.so.0")
    library.XXH3_64bits_withSeed.restype = ctypes.c_uint64
    length, number = ctypes.c_size_t(len(data)), ctypes.c_uint64(seed & (2**64 - 1))
    return library.XXH3_64bits_withSeed(bytes(data), length, number)


class _Hash128(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


def xxh3_128(data):
    """XXH3 with 128 bits, as 16 bytes, the most significant first."""
    library = ctypes.CDLL("libxxhash.so.0")
    library.XXH3_128bits.restype = _Hash128
    found = library.XXH3_128bits(bytes(data), ctypes.c_size_t(len(data)))
    return struct.pack(">QQ", found.high, found.low)


def _crypto():
    library = ctypes.CDLL("libcrypto.so.3")
    for name in ("EVP_CIPHER_CTX_new", "EVP_aes_256_gcm", "EVP_aes_256_xts"):
        getattr(library, name).restype = ctypes.c_void_p
    return library


class _Cipher:
    """One text through OpenSSL."""

    def __init__(self, cipher, key, nonce, encrypt):
        self._library = _crypto()
        self._context = ctypes.c_void_p(self._library.EVP_CIPHER_CTX_new())
        kind = ctypes.c_void_p(getattr(self._library, cipher)())
        init = self._library.EVP_CipherInit_ex
        assert init(self._context, kind, None, key, nonce, int(encrypt)) == 1

    def update(self, data, associated=False):
        """Takes data in, and returns what comes out; nothing of what is only associated."""
        out = None if associated else ctypes.create_string_buffer(len(data) + 16)
        length = ctypes.c_int()
        update = self._library.EVP_CipherUpdate
        size = ctypes.c_int(len(data))
        assert update(self._context, out, ctypes.byref(length), bytes(data), size) == 1
        return b"" if associated else out.raw[: length.value]

    def control(self, kind, size, place):
        """EVP_CIPHER_CTX_ctrl: 0x10 gets GCM's tag and 0x11 sets it."""
        assert self._library.EVP_CIPHER_CTX_ctrl(self._context, kind, size, place) == 1

    def finish(self):
        """Whether the tag fits."""
        out, length = ctypes.create_string_buffer(16), ctypes.c_int()
        return self._library.EVP_CipherFinal_ex(self._context, out, ctypes.byref(length)) == 1


def seal(key, associated, text, nonce):
    """nonce | ciphertext | tag, by AES-256-GCM."""
    cipher = _Cipher("EVP_aes_256_gcm", key, nonce, True)
    cipher.update(associated, associated=True)
    sealed = cipher.update(text)
    assert cipher.finish()
    tag = ctypes.create_string_buffer(16)
    cipher.control(0x10, 16, tag)
    return nonce + sealed + tag.raw


def unseal(key, associated, sealed):
    """The text of what seal() makes."""
    if len(sealed) < 28:
        raise Damaged("a sealed text is cut off")
    nonce, body, tag = sealed[:12], sealed[12:-16], sealed[-16:]
    cipher = _Cipher("EVP_aes_256_gcm", key, nonce, False)
    cipher.update(associated, associated=True)
    text = cipher.update(body)
    cipher.control(0x11, 16, ctypes.create_string_buffer(tag, 16))
    if not cipher.finish():
        raise Damaged("the tag does not fit")
    return text


def unzstd(body, size_bytes):
    """Exactly so many bytes out of zstd frames."""
    library = ctypes.CDLL("libzstd.so.1")
    library.ZSTD_decompress.restype = ctypes.c_size_t
    target = ctypes.create_string_buffer(max(1, size_bytes))
    size, length = ctypes.c_size_t(size_bytes), ctypes.c_size_t(len(body))
    if library.ZSTD_decompress(target, size, bytes(body), length) != size_bytes:
        raise Damaged("it does not decompress to the length that is said")
    return target.raw[:size_bytes]


# --- What the files of this machine have in common ---


class _Reader:
    """Takes little-endian fields off bytes, one after the other."""

    def __init__(self, data, offset=0):
        self.data, self.offset, self.fields = data, offset, []

    def take(self, name, length, order="little"):
        """A number."""
        part = self.raw(name, length)
        value = int.from_bytes(part, order)
        self.fields[-1] = self.fields[-1]._replace(value=value)
        return value

    def raw(self, name, length):
        """Bytes."""
        part = bytes(self.data[self.offset : self.offset + length])
        if len(part) < length:
            raise Damaged(f"it ends within {name}")
        self.fields.append(Field(self.offset, length, name, part))
        self.offset += length
        return part


def _values(fields):
    return {field.name: field.value for field in fields}


def key_values(text):
    """The lines "key=value" of a text."""
    values = {}
    for line in text.split("\n")[:-1]:
        key, equals, value = line.partition("=")
        if not equals:
            raise Damaged(f"{line!r} is no key=value")
        decoded = re.sub("%([0-9A-F]{2})", lambda match: chr(int(match[1], 16)), value)
        values.setdefault(key, decoded)
    if not text.endswith("\n"):
        raise Damaged("the last line has no end")
    return values


# --- Cache directory ---

RECORD_KINDS = (
    "", "wrote", "rewrote", "zeroed", "forgotten", "cleaned", "dropped", "damaged", "zeros_added",
    "zeros_removed", "commit",
)  # fmt: skip


def cache_identity(data):
    """The file `identity`."""
    values = key_values(data.decode("ascii"))
    if values.get("format") not in ("1", "2", "3"):
        raise Damaged("its format is unknown")
    return values


def cache_key(identity, passphrase):
    """The key of the pages, out of an identity of format 3."""
    salt, sealed = _base64(identity["salt"]), _base64(identity["wrapped_key"])
    cost = {name: int(identity[f"scrypt_{name}"]) for name in "nrp"}
    wrapping = hashlib.scrypt(passphrase, salt=salt, dklen=32, maxmem=2**30 + 2**20, **cost)
    return unseal(wrapping, b"nbdstack cache pages", sealed)


def cache_page(data, position, file_number, key):
    """Units of 4 KiB of `data` (0) or `data2` (1), decrypted."""
    text = b""
    for at in range(0, len(data), _PAGE_SIZE_MIN):
        tweak = struct.pack("<QB7x", (position + at) // _PAGE_SIZE_MIN, file_number)
        cipher = _Cipher("EVP_aes_256_xts", _xts_key(key), tweak, False)
        text += cipher.update(data[at : at + _PAGE_SIZE_MIN])
    return text


def _xts_key(key):
    halves = (hmac.new(key, label + b"\0", "sha256").digest() for label in _XTS_LABELS)
    return b"".join(halves)


_XTS_LABELS = (b"nbdstack unit text", b"nbdstack unit tweak")


def cache_records(data, generation):
    """The records of a journal: a list of lists of fields. It ends where no record begins."""
    records, offset = [], 0
    while offset + 64 <= len(data) and any(data[offset : offset + 64]):
        record = _cache_record(data, offset, generation)
        records.append(record)
        offset += _values(record)["length"]
    return records


def _cache_record(data, offset, generation):
    reader = _Reader(data, offset)
    checksum = reader.take("checksum", 8)
    length = reader.take("length", 4)
    kind = reader.take("kind", 1)
    for name, size in (("flag", 1), ("pages", 2), ("sequence", 8), ("durable_sequence", 8),
                       ("slot", 4), ("unused", 4), ("first", 8), ("second", 8), ("copies", 8)):  # fmt: skip
        reader.take(name, size)
    pages = _values(reader.fields)["pages"]
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


def cache_snapshot(data, generation):
    """index.N: the fields of header, slots and zeros."""
    reader = _Reader(data)
    checksum = reader.take("checksum", 8)
    for name in ("magic", "generation", "sequence", "slots", "zeros", "entry_bytes", "has_note"):
        reader.take(name, 8)
    header = _values(reader.fields)
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


def cache_note(data):
    """The file `committed`: the fields of its two places."""
    fields = []
    for place in range(2):
        part = data[512 * place : 512 * place + 40]
        if not any(part):
            continue
        reader = _Reader(data, 512 * place)
        checksum = reader.take("checksum", 8)
        for name in ("magic", "turn", "sequence", "anything_dirty"):
            reader.take(name, 8)
        magic = int.from_bytes(b"BCOMMIT1", "little")
        if part[8:16] != b"BCOMMIT1" or checksum != xxh3_64(part[8:], magic):
            raise Damaged("a place is damaged")
        fields += reader.fields
    return fields


# --- md5-file ---

MD5_LIST, MD5_RECORDS, MD5_REGION_BLOCKS = 16384, 65536, 256


def md5_identity(data):
    """What an md5-file says it is: from the first of its two copies that is whole."""
    for offset in (0, 8192):
        text = data[offset:MD5_LIST].split(b"\0", 1)[0]
        lines, found, check = text.rpartition(b"check=")
        if found and check == b"%016x\n" % xxh3_64(lines):
            values = key_values(text.decode("ascii"))
            if values["md5-file"] not in ("1", "2"):
                raise Damaged("its version is unknown")
            return values
    raise Damaged("neither copy of the identity is whole")


def md5_entries(data, seed):
    """The list of regions."""
    entries = []
    for at in range(MD5_LIST, MD5_LIST + 1024 * 32, 32):
        if not any(data[at : at + 32]):
            continue
        reader = _Reader(data, at)
        for name in ("region_plus_1", "settled", "records_checksum"):
            reader.take(name, 8)
        if reader.take("checksum", 8) != xxh3_64(data[at : at + 24], seed):
            raise Damaged("an entry of the list is damaged")
        entries.append(reader.fields)
    return entries


def md5_is_doubted(data, entry, seed):
    """Whether the records of an entry's region prove nothing."""
    values = _values(entry)
    region = values["region_plus_1"] - 1
    size = MD5_REGION_BLOCKS * 64
    records = data[MD5_RECORDS + region * size :][:size].ljust(size, b"\0")
    return not values["settled"] or values["records_checksum"] != xxh3_64(records, seed + region)


def md5_record(data, block, seed):
    """A block's record; None: nothing is known of it."""
    at = MD5_RECORDS + 64 * block
    if not any(data[at : at + 64]):
        return None
    reader = _Reader(data, at)
    reader.raw("digest", 16)
    reader.raw("previous_digest", 16)
    for name, size in (("written_at_s", 8), ("length", 4), ("previous_length", 4), ("state", 1),
                       ("unused", 3), ("generation", 4)):  # fmt: skip
        reader.take(name, size)
    if reader.take("checksum", 8) != xxh3_64(data[at : at + 56], seed + block):
        raise Damaged("the record is damaged")
    if _values(reader.fields)["state"] not in (1, 2):
        raise Damaged("the state is unknown")
    return reader.fields


# --- Annotated text ---


def bytes_of_hex(text):
    """The bytes that an annotated text shows."""
    data = bytearray()
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if not words:
            continue
        if words[0] == "size":
            data = data.ljust(int(words[1]), b"\0")[: int(words[1])]
            continue
        position = int(words[0], 16)
        for word in words[1:]:
            value, _, count = word.partition("*")
            part = bytes([int(value, 16)]) * int(count or 1)
            data = data.ljust(position, b"\0")
            data[position : position + len(part)] = part
            position += len(part)
    return bytes(data)


def vector(name):
    """The bytes of a golden vector."""
    path = VECTORS / name
    return bytes_of_hex(path.read_text()) if name.endswith(".hex") else path.read_bytes()


def hex_of_bytes(data, fields=()):
    """The other way: a line for each field, and lines of 16 for what no field names."""
    lines, position = [], 0
    for field in [*sorted(fields), Field(len(data), 0, "", None)]:
        lines += _plain_lines(data, position, field.offset)
        if field.length:
            value = field.value.hex() if isinstance(field.value, bytes) else field.value
            shown = data[field.offset : field.offset + field.length].hex(" ")
            lines.append(f"{field.offset:06x} {shown}  # {field.name} {value}")
        position = field.offset + field.length
    return "\n".join([*lines, f"size {len(data)}"]) + "\n"


def _plain_lines(data, begin, end):
    lines = []
    while begin < end:
        run = 1
        while begin + run < end and data[begin + run] == data[begin]:
            run += 1
        if run >= _ROW_BYTES or not data[begin]:
            if data[begin]:
                lines.append(f"{begin:06x} {data[begin]:02x}*{run}")
            begin += run
            continue
        row = data[begin : min(begin + _ROW_BYTES, end)]
        lines.append(f"{begin:06x} {row.hex(' ')}")
        begin += len(row)
    return lines


def _base64(text):
    return base64.b64decode(text, validate=True)


# --- Vectors ---


def _md5_fields(data):
    identity = md5_identity(data)
    seed = xxh3_64(identity["uuid"].encode())
    first, second = (data[at:MD5_LIST].split(b"\0", 1)[0] for at in (0, 8192))
    fields = [Field(0, len(first), "identity", ""), Field(8192, len(second), "copy", "")]
    for entry in md5_entries(data, seed):
        fields += entry
    for block in range((len(data) - MD5_RECORDS) // 64):
        fields += md5_record(data, block, seed) or []
    return fields


def fields_of(name, data):
    """All fields of a vector that is annotated text."""
    file = name.rpartition("/")[2]
    if file == "records.hex":
        return sum(cache_records(data, 7), [])
    if file.startswith("journal."):
        return sum(cache_records(data, int(file.split(".")[1])), [])
    if file == "index-wide.hex":
        return cache_snapshot(data, 5)
    if file.startswith("index."):
        return cache_snapshot(data, int(file.split(".")[1]))
    if file == "committed.hex":
        return cache_note(data)
    return _md5_fields(data) if name.startswith("md5-file/") else []


if __name__ == "__main__":
    CONTENT = pathlib.Path(sys.argv[2]).read_bytes()
    sys.stdout.write(hex_of_bytes(CONTENT, fields_of(sys.argv[1], CONTENT)))
