"""nbdkit itself reads values as tests/support/spellings.txt says; unit-common holds our own reading to that."""

import pathlib
import unittest

import nbd

TABLE = pathlib.Path(__file__).resolve().parents[1] / "support" / "spellings.txt"
# Parameters of nbdkit's own that are read by the function in question.
SERVED_WITH = {
    "size": ["null", "size={}"],
    "bool": ["--filter=retry", "null", "retry-exponential={}"],
    "unsigned": ["--filter=retry", "null", "retries={}"],
}


def size_served(kind, spelling):
    """The size of the disk that nbdkit serves then, or None where it refuses."""
    words = [word.format(spelling) for word in SERVED_WITH[kind]]
    client = nbd.NBD()
    try:
        client.connect_command(["nbdkit", "--single", "--exit-with-parent", *words])
    except nbd.Error:
        return None
    return client.get_size()


class SpellingsTest(unittest.TestCase):
    def test_nbdkit_reads_each_spelling_as_the_table_says(self):
        lines = [line for line in TABLE.read_text().splitlines() if not line.startswith("#")]
        self.assertGreater(len(lines), 50)
        for line in lines:
            kind, spelling, value = line.split("|")
            with self.subTest(line):
                served = size_served(kind, spelling)
                self.assertEqual(served is None, value == "-")
                if kind == "size" and served is not None:
                    self.assertEqual(served, int(value))


if __name__ == "__main__":
    unittest.main()
