"""The documents of docs/formats are right: readers that follow them (support/formats*.py) read the
golden vectors, which the unit tests hold the code to."""

import struct
import unittest

from support import formats, formats_cache, formats_md5, formats_own, golden

_PASSPHRASE = b"correct horse battery staple"
_BLOCK, _PAGE = 16384, 4096


def _annotated():
    return sorted(str(path.relative_to(formats.VECTORS)) for path in formats.VECTORS.rglob("*.hex"))


_values = formats.values_of


class Vectors(unittest.TestCase):
    """All annotated vectors."""

    def test_each_line_names_what_is_there(self):
        """The text of a vector is what its reader finds in its bytes."""
        self.assertGreater(len(_annotated()), 10)
        for name in _annotated():
            with self.subTest(name):
                data = formats.vector(name)
                text = formats.hex_of_bytes(data, golden.fields_of(name, data))
                self.assertEqual(text, (formats.VECTORS / name).read_text())

    def test_every_changed_byte_is_noticed(self):
        """A byte of a field that is changed makes the reader refuse, or end before it."""
        for name in _annotated():
            data = formats.vector(name)
            fields = golden.fields_of(name, data)
            shown = [(field.name, field.value) for field in fields]
            # Of an identity there are two copies: test_a_torn_identity_has_a_copy.
            for field in (each for each in fields if each.name not in ("identity", "copy")):
                with self.subTest(name, offset=field.offset, field=field.name):
                    changed = bytearray(data)
                    changed[field.offset] ^= 0x41
                    self.assertNotEqual(self._read(name, bytes(changed)), shown)

    def _read(self, name, data):
        try:
            return [(field.name, field.value) for field in golden.fields_of(name, data)]
        except formats.Damaged as error:
            return str(error)


class CacheDirectory(unittest.TestCase):
    """docs/formats/cache-directory.md"""

    def _records(self, name):
        generation = int(name.rpartition("/")[2].split(".")[1])
        return [_values(each) for each in formats_cache.records(formats.vector(name), generation)]

    def _page(self, directory, record, page):
        second = record["copies"] >> page & 1
        data = formats.vector(f"cache-directory/{directory}/{'data2' if second else 'data'}.hex")
        at = record["slot"] * _BLOCK + page * _PAGE
        return data[at : at + _PAGE].ljust(_PAGE, b"\0"), at, second

    def test_the_journal_of_a_life(self):
        """Records are numbered through, all kinds come, and the note names the last commit."""
        records = self._records("cache-directory/life/journal.1.hex")
        kinds = [formats_cache.RECORD_KINDS[record["kind"]] for record in records]
        self.assertEqual(set(kinds) | {"", "damaged"}, set(formats_cache.RECORD_KINDS))
        numbered = [r["sequence"] for r, kind in zip(records, kinds) if kind != "commit"]
        self.assertEqual(numbered, list(range(1, len(numbered) + 1)))
        commits = [r["sequence"] for r, kind in zip(records, kinds) if kind == "commit"]
        note = formats_cache.note(formats.vector("cache-directory/life/committed.hex"))
        places = [f.value for f in note if f.name == "sequence"]
        self.assertEqual(max(places), max(commits))

    def test_the_index_of_a_life(self):
        """Snapshot and journal together name the blocks; a stop leaves the same in a snapshot."""
        for directory in ("life", "stopped"):
            folder = formats.VECTORS / "cache-directory" / directory
            files = {path.stem: formats.bytes_of_hex(path.read_text()) for path in folder.iterdir()}
            index = formats_cache.Index(files, _BLOCK)
            masks = {
                number: (slot["block"], slot["valid"], slot["dirty"], slot["zero"], slot["copies"])
                for number, slot in index.slots.items()
            }
            expected = {
                0: (0, 3, 0, 0, 1), 1: (1, 4, 0, 0, 0), 2: (2, 3, 3, 3, 0), 3: (3, 1, 1, 0, 0),
            }  # fmt: skip
            self.assertEqual(masks, expected, directory)
            self.assertEqual(index.zeros, {9, 20})

    def test_the_last_checksum_of_a_page_is_that_of_the_page(self):
        """The checksum of a page is seeded with its number, over the bytes of the file it is in."""
        found = {}
        for record in self._records("cache-directory/life/journal.1.hex"):
            kind = formats_cache.RECORD_KINDS[record["kind"]]
            if kind not in ("wrote", "rewrote"):
                continue
            pages = [page for page in range(64) if record["second"] >> page & 1]
            for place, page in enumerate(pages):
                checksum = record[f"new_checksum_{place}"]
                found[record["slot"], page] = (record, checksum)
        self.assertGreaterEqual(len(found), 4)
        for (slot, page), (record, checksum) in found.items():
            with self.subTest(slot=slot, page=page):
                data, _, _ = self._page("life", record, page)
                self.assertEqual(checksum, formats.xxh3_64(data, page))

    def test_the_snapshot_after_a_stop(self):
        """The checksum of a slot is the exclusive or of its stored pages'."""
        fields = formats_cache.snapshot(formats.vector("cache-directory/stopped/index.2.hex"), 2)
        slots, slot = [], {}
        for field in fields:
            if field.name == "block":
                slots.append(slot := {})
            slot[field.name] = field.value
        self.assertEqual(len(slots), _values(fields[:8])["slots"])
        for each in slots:
            combined = 0
            for page in range(4):
                if each["valid"] & ~each["zero"] & 1 << page:
                    combined ^= formats.xxh3_64(self._page("stopped", each, page)[0], page)
            self.assertEqual(each["page_checksum"], combined)

    def test_identities(self):
        """Each format has its keys, and is padded to whole sectors."""
        keys = {"format", "export", "disk_size", "block_size", "cache_id", "uuid", "pad"}
        disk = {"disk_id", "term", "alone"}
        cipher = {"cipher", "scrypt_n", "scrypt_r", "scrypt_p", "salt", "wrapped_key"}
        cases = {"identity-1": keys, "identity-2": keys | disk,
                 "encrypted/identity": keys | disk | cipher}  # fmt: skip
        for name, expected in cases.items():
            data = formats.vector(f"cache-directory/{name}")
            self.assertEqual(len(data) % 512, 0)
            values = formats_cache.identity(data)
            self.assertEqual(set(values), expected)
            self.assertEqual(values["cache_id"], "shelf 100%")
        with self.assertRaises(formats.Damaged):
            formats_cache.identity(b"format=4\n")

    def test_pages_of_an_encrypted_directory(self):
        """They are decrypted by the key that the passphrase unwraps, for their place."""
        identity = formats_cache.identity(formats.vector("cache-directory/encrypted/identity"))
        key = formats_cache.key(identity, _PASSPHRASE)
        with self.assertRaises(formats.Damaged):
            formats_cache.key(identity, b"another one")
        records = self._records("cache-directory/encrypted/journal.1.hex")
        contents = []
        for record in records:
            if formats_cache.RECORD_KINDS[record["kind"]] == "wrote":
                page, at, second = self._page("encrypted", record, 1)
                contents.append(formats_cache.page(page, at, second, key))
        self.assertEqual(contents, [b"\x51" * _PAGE, b"\x52" * _PAGE])


class Md5File(unittest.TestCase):
    """docs/formats/md5-file.md"""

    def test_identities(self):
        """Version 1 says nothing of a disk."""
        life = formats_md5.identity(formats.vector("md5-file/life.hex"))
        self.assertEqual((life["md5-file"], life["generation"]), ("2", "2"))
        self.assertEqual(life["export"], "disk one")
        first = formats_md5.identity(formats.vector("md5-file/version-1.hex"))
        self.assertEqual(first["md5-file"], "1")
        self.assertNotIn("disk", first)

    def test_a_torn_identity_has_a_copy(self):
        """Either copy is enough."""
        data = bytearray(formats.vector("md5-file/life.hex"))
        expected = formats_md5.identity(data)
        data[3] ^= 1
        self.assertEqual(formats_md5.identity(data), expected)
        data[8195] ^= 1
        with self.assertRaises(formats.Damaged):
            formats_md5.identity(data)

    def test_doubted_regions(self):
        """An entry that is open is doubted, and one whose checksum does not fit."""
        data = bytearray(formats.vector("md5-file/life.hex"))
        seed = formats.xxh3_64(formats_md5.identity(data)["uuid"].encode())
        entries = formats_md5.entries(data, seed)
        doubted = [formats_md5.is_doubted(data, entry, seed) for entry in entries]
        self.assertEqual(doubted, [False, True])
        struct.pack_into("<I", data, formats_md5.RECORDS + 40, 1)
        self.assertTrue(formats_md5.is_doubted(data, entries[0], seed))

    def test_records_after_a_crash(self):
        """What was in a region to be doubted is doubtful, and the list is empty."""
        data = formats.vector("md5-file/recovered.hex")
        seed = formats.xxh3_64(formats_md5.identity(data)["uuid"].encode())
        self.assertEqual(formats_md5.entries(data, seed), [])
        states = {}
        for block in (0, 1, 2, 300, 301):
            record = formats_md5.record(data, block, seed)
            states[block] = record and _values(record)["state"]
        self.assertEqual(states, {0: 1, 1: 1, 2: None, 300: 2, 301: 2})


class OwnLayout(unittest.TestCase):
    """docs/formats/own-layout.md"""

    _ID = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
    _BLOCK_BYTES, _NUMBER = 4096, 0x123456789A

    def _text(self, name):
        return formats.vector(f"own-layout/{name}").decode()

    def test_descriptors(self):
        """Each version has its fields, and another one is refused."""
        self.assertEqual(formats_own.descriptor(self._text("volume-1.json"))["version"], 1)
        self.assertEqual(formats_own.descriptor(self._text("volume-2.json"))["version"], 2)
        for change in (('"version": 1', '"version": 3'), ('"id"', '"name"')):
            with self.assertRaises(formats.Damaged):
                formats_own.descriptor(self._text("volume-1.json").replace(*change))
        with self.assertRaises(formats.Damaged):
            formats_own.descriptor(self._text("being-deleted.json"))

    def test_the_key_of_an_encrypted_volume(self):
        """The passphrase unwraps it, and it vouches for the geometry."""
        record = formats_own.descriptor(self._text("volume-2-encrypted.json"))
        self.assertEqual(formats_own.volume_key(record, _PASSPHRASE), b"\2" * 32)
        with self.assertRaises(formats.Damaged):
            formats_own.volume_key(record, b"another one")
        record["size"] += 1
        with self.assertRaises(formats.Damaged):
            formats_own.volume_key(record, _PASSPHRASE)

    def test_leases(self):
        """A lease of version 2 counts by one, one of version 1 has no term."""
        self.assertEqual(formats_own.lease(self._text("lease-3.json"))["unchanged-terms"], [55, 61])
        self.assertEqual(formats_own.lease(self._text("lease-2.json"))["unchanged-terms"], [6])
        self.assertNotIn("term", formats_own.lease(self._text("lease-1.json")))

    def test_the_record_of_blocks(self):
        """Runs from block 0 to the end."""
        header, runs = formats_own.blocks(formats.vector("own-layout/blocks.hex"))
        self.assertEqual(header["volume"], self._ID)
        lengths, kinds = zip(*runs)
        self.assertEqual(lengths, (3, 500, 97, 1, 399))
        self.assertEqual(kinds, ("stored", "absent", "unknown", "stored", "unknown"))

    def test_blocks(self):
        """A plain one, two frames, and one that is sealed for its place."""
        read = formats_own.block_of
        plain = b"x" * self._BLOCK_BYTES
        self.assertEqual(read(plain, self._BLOCK_BYTES), plain)
        for name in ("frame-deflate", "frame-zstd"):
            body = formats.vector(f"own-layout/{name}.hex")
            self.assertEqual(read(body, self._BLOCK_BYTES), b"a" * self._BLOCK_BYTES)
        sealed = formats.vector("own-layout/sealed-zstd.hex")
        key = b"\2" * 32
        found = read(sealed, self._BLOCK_BYTES, self._NUMBER, self._ID, key)
        self.assertEqual(found, b"b" * self._BLOCK_BYTES)
        elsewhere = ((self._NUMBER + 1, self._ID), (self._NUMBER, "f" * 32))
        for number, volume_id in elsewhere:
            with self.assertRaises(formats.Damaged):
                read(sealed, self._BLOCK_BYTES, number, volume_id, key)
        for at in range(len(sealed)):
            changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
            with self.assertRaises(formats.Damaged):
                read(changed, self._BLOCK_BYTES, self._NUMBER, self._ID, key)

    def test_pieces(self):
        """The text that is kept with an object."""
        text = self._text("pieces.txt").strip()
        self.assertEqual(text, formats_own.pieces_text(b"a" * 65536 + b"b" * 32768))
        self.assertEqual(formats_own.piece_bytes_of(65536), None)
        self.assertEqual(formats_own.piece_bytes_of(32 << 20), 256 << 10)


if __name__ == "__main__":
    unittest.main()
