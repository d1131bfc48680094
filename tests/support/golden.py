"""Shows the bytes of a file as a golden vector (tests/vectors), with the name of each field. NAME is
that of the vector, which tells what it is; FILE has the bytes:

    cd tests; python3 -m support.golden cache-directory/life/journal.1.hex FILE
"""

import pathlib
import sys

from support import formats, formats_cache, formats_md5, formats_own


def fields_of(name, data):
    """All fields of a vector that is annotated text."""
    directory, _, file = name.rpartition("/")
    if directory == "md5-file":
        return formats_md5.fields_of(data)
    if directory == "own-layout":
        return formats_own.fields_of(file, data)
    number = file.split(".")[1]
    if file == "records.hex":
        return sum(formats_cache.records(data, 7), [])
    if file in ("index-wide.hex", "index-without-note.hex"):
        return formats_cache.snapshot(data, 5)
    if file.startswith("journal."):
        return sum(formats_cache.records(data, int(number)), [])
    if file.startswith("index."):
        return formats_cache.snapshot(data, int(number))
    return formats_cache.note(data) if file == "committed.hex" else []


if __name__ == "__main__":
    CONTENT = pathlib.Path(sys.argv[2]).read_bytes()
    sys.stdout.write(formats.hex_of_bytes(CONTENT, fields_of(sys.argv[1], CONTENT)))
