#!/usr/bin/python3
"""Prints what s3backer's encryption makes of one text under several ciphers.

Independent of the code under test: PBKDF2 and HMAC are Python's, the ciphers are the openssl program's.
Columns: cipher, length of the derived key, body, HMAC.
"""

import hashlib
import hmac
import subprocess

PASSWORD = b"secret"
SALT = b"bucket/dir/"
BLOCK = b"%08x" % 0x1234
TEXT = b"the text of a block"

# Cipher, its key length, its block size, --keyLength.
CIPHERS = [
    ("AES-128-CBC", 16, 16, 16),
    ("AES-192-CBC", 24, 16, 24),
    ("AES-128-CBC", 16, 16, 40),
    ("DES-EDE3-CBC", 24, 8, 24),
    ("CAMELLIA-256-CBC", 32, 16, 32),
    ("ARIA-128-CBC", 16, 16, 16),
    ("SM4-CBC", 16, 16, 16),
]


def encrypt(cipher, key, iv, text, *options):
    command = ["openssl", "enc", "-e", "-" + cipher.lower(), "-K", key.hex(), "-iv", iv.hex(), *options]
    return subprocess.run(command, input=text, stdout=subprocess.PIPE, check=True).stdout


def main():
    for cipher, key_bytes, block_bytes, length in CIPHERS:
        key = hashlib.pbkdf2_hmac("sha1", PASSWORD, SALT, 5000, length)
        iv_key = hashlib.pbkdf2_hmac("sha1", key, key, 5000, length)
        number = BLOCK.ljust(16, b"\0")[:block_bytes]
        iv = encrypt(cipher, iv_key[:key_bytes], iv_key[:block_bytes], number, "-nopad")
        body = encrypt(cipher, key[:key_bytes], iv, TEXT)
        signature = hmac.new(key, BLOCK + cipher.encode() + body, "sha1")
        print(cipher, length, body.hex(), signature.hexdigest())


if __name__ == "__main__":
    main()
