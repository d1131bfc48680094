"""A reader of what docs/formats/md5-file.md describes."""

from .formats import Damaged, Field, Reader, key_values, values_of, xxh3_64

LIST, RECORDS, REGION_BLOCKS = 16384, 65536, 256


def identity(data):
    """What an md5-file says it is: from the first of its two copies that is whole."""
    for offset in (0, 8192):
        text = data[offset:LIST].split(b"\0", 1)[0]
        lines, found, check = text.rpartition(b"check=")
        if found and check == b"%016x\n" % xxh3_64(lines):
            values = key_values(text.decode("ascii"))
            if values["md5-file"] not in ("1", "2"):
                raise Damaged("its version is unknown")
            return values
    raise Damaged("neither copy of the identity is whole")


def entries(data, seed):
    """The list of regions."""
    entries = []
    for at in range(LIST, LIST + 1024 * 32, 32):
        if not any(data[at : at + 32]):
            continue
        reader = Reader(data, at)
        for name in ("region_plus_1", "settled", "records_checksum"):
            reader.take(name, 8)
        if reader.take("checksum", 8) != xxh3_64(data[at : at + 24], seed):
            raise Damaged("an entry of the list is damaged")
        entries.append(reader.fields)
    return entries


def is_doubted(data, entry, seed):
    """Whether the records of an entry's region prove nothing."""
    values = values_of(entry)
    region = values["region_plus_1"] - 1
    size = REGION_BLOCKS * 64
    records = data[RECORDS + region * size :][:size].ljust(size, b"\0")
    return not values["settled"] or values["records_checksum"] != xxh3_64(records, seed + region)


def record(data, block, seed):
    """A block's record; None: nothing is known of it."""
    at = RECORDS + 64 * block
    if not any(data[at : at + 64]):
        return None
    reader = Reader(data, at)
    reader.raw("digest", 16)
    reader.raw("previous_digest", 16)
    for name, size in (("written_at_s", 8), ("length", 4), ("previous_length", 4), ("state", 1),
                       ("unused", 3), ("generation", 4)):  # fmt: skip
        reader.take(name, size)
    if reader.take("checksum", 8) != xxh3_64(data[at : at + 56], seed + block):
        raise Damaged("the record is damaged")
    if values_of(reader.fields)["state"] not in (1, 2):
        raise Damaged("the state is unknown")
    return reader.fields


def fields_of(data):
    """All fields of a file."""
    seed = xxh3_64(identity(data)["uuid"].encode())
    first, second = (data[at:LIST].split(b"\0", 1)[0] for at in (0, 8192))
    fields = [Field(0, len(first), "identity", ""), Field(8192, len(second), "copy", "")]
    for entry in entries(data, seed):
        fields += entry
    for block in range((len(data) - RECORDS) // 64):
        fields += record(data, block, seed) or []
    return fields
