"""What the readers of docs/formats (formats_cache.py, formats_md5.py, formats_own.py) have in common.
They follow the documents, and share nothing with the code under test: XXH3, AES and zstd come from
their libraries by ctypes.

Each reader takes bytes and returns a list of Field, or raises Damaged.
"""

import ctypes
import pathlib
import re
import struct
from typing import NamedTuple

VECTORS = pathlib.Path(__file__).resolve().parents[1] / "vectors"
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


class Cipher:
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
    cipher = Cipher("EVP_aes_256_gcm", key, nonce, True)
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
    cipher = Cipher("EVP_aes_256_gcm", key, nonce, False)
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


class Reader:
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


def values_of(fields):
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
