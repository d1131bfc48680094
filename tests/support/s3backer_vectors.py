"""The volumes in tests/vectors/s3backer, and a decoder of s3backer's objects that shares nothing
with the code under test: hashlib and hmac, zlib, the openssl program, and libzstd by ctypes."""

import base64
import ctypes
import functools
import gzip
import hashlib
import hmac
import json
import pathlib
import re
import subprocess
import zlib

from servers.memory_s3 import StoredObject

_DIRECTORY = pathlib.Path(__file__).resolve().parents[1] / "vectors" / "s3backer"
_ROUNDS = 5000
_CIPHER_BLOCK = 16  # of AES
_HMAC = "x-amz-meta-s3backer-hmac"


def names():
    """All volumes."""
    return sorted(path.stem for path in _DIRECTORY.glob("*.json"))


@functools.cache
def image():
    """The disk that all of them hold."""
    return gzip.decompress((_DIRECTORY / "image.raw.gz").read_bytes())


class Vector:
    """A volume as s3backer left it."""

    def __init__(self, name):
        self._json = json.loads((_DIRECTORY / f"{name}.json").read_text())
        self.bucket, self.prefix = self._json["bucket"], self._json["prefix"]
        self.size, self.block_size = self._json["size"], self._json["block_size"]
        self.password = self._json["password"]
        self.options = dict(option.split("=", 1) for option in self._json["options"])

    def objects(self):
        """key -> StoredObject, all of them."""
        return {
            item["key"]: StoredObject(base64.b64decode(item["body_base64"]), dict(item["headers"]))
            for item in self._json["objects"]
        }

    def parameters(self):
        """The options it was written with, as parameters of the plugin."""
        known = {
            "compress": "compress", "compress-level": "compress_level", "encrypt": "encrypt",
            "blockHashPrefix": "block_hash_prefix",
        }  # fmt: skip
        found = {known[n]: value for n, value in self.options.items() if n in known}
        if "prefix" in self.options:
            found["prefix"] = self.options["prefix"]
        elif self.prefix:
            found["key"] = self.prefix.rstrip("/")
        if self.password:
            found["passphrase"] = self.password
        return found

    def content(self, key):
        """What the block of that object holds, by the image."""
        first = self.block_of(key) * self.block_size
        return image()[first : first + self.block_size]

    @staticmethod
    def block_of(key):
        """The number in an object's name."""
        return int(key[-8:], 16)

    def decode(self, key, stored):
        """An object's block. AssertionError for a signature that is wrong or missing."""
        codings = re.split(r",\s*", stored.headers.get("content-encoding", "")) or []
        body = stored.body
        for coding in reversed([coding for coding in codings if coding]):
            if coding.startswith("encrypt-"):
                body = self._decrypt(coding.removeprefix("encrypt-"), key, body, stored.headers)
            elif coding == "zstd":
                body = _unzstd(body, self.block_size)
            else:
                assert coding == "deflate", coding
                body = zlib.decompress(body)
        return body

    def _decrypt(self, cipher, key_name, body, headers):
        block = b"%08x" % self.block_of(key_name)
        length = int(cipher.split("-")[1]) // 8
        salt = f"{self.bucket}/{self.prefix}".encode()
        key = hashlib.pbkdf2_hmac("sha1", self.password.encode(), salt, _ROUNDS, length)
        iv_key = hashlib.pbkdf2_hmac("sha1", key, key, _ROUNDS, length)
        signature = hmac.new(key, block + cipher.encode() + body, "sha1").hexdigest()
        found = headers.get(_HMAC)
        assert found == f'"{signature}"', f"{key_name}: signed {found}, expected {signature}"
        number = block.ljust(_CIPHER_BLOCK, b"\0")
        iv = _openssl("-e", cipher, iv_key, iv_key[:_CIPHER_BLOCK], number, "-nopad")
        return _openssl("-d", cipher, key, iv, body)


def _openssl(direction, cipher, key, iv, text, *options):
    words = ["openssl", "enc", direction, f"-{cipher.lower()}", "-K", key.hex(), "-iv", iv.hex()]
    return subprocess.run([*words, *options], input=text, stdout=subprocess.PIPE, check=True).stdout


def _unzstd(body, size_bytes):
    library = ctypes.CDLL("libzstd.so.1")
    library.ZSTD_decompress.restype = ctypes.c_size_t
    target = ctypes.create_string_buffer(size_bytes)
    count = library.ZSTD_decompress(
        target, ctypes.c_size_t(size_bytes), bytes(body), ctypes.c_size_t(len(body))
    )
    assert count == size_bytes, f"zstd: {ctypes.c_ssize_t(count).value} instead of {size_bytes}"
    return target.raw
