"""s3backer's volumes behind a gateway that drops the Content-Encoding of what it was given."""

import os
import unittest

from e2e.listing_case import OBJECT, SIZE, ListingCase
from support.nbdkit import run_expecting_failure


class DroppedEncodings(ListingCase):
    def written(self, **how):
        """A volume whose objects have lost their Content-Encoding; its content and parameters."""
        content = os.urandom(OBJECT // 2) + bytes(OBJECT // 2) + os.urandom(15 * OBJECT)
        parameters = {"layout": "s3backer"} | how
        with self.served(size=SIZE, object_size="64K", **parameters) as handle:
            handle.pwrite(content, 0)
        dropped = {stored.headers.pop("content-encoding", "") for stored in self.objects.values()}
        return content, parameters, dropped

    def test_of_an_encrypted_volume(self):
        """Compressed before it is encrypted, as s3backer has it."""
        content, parameters, dropped = self.written(passphrase="secret")
        self.assertEqual(dropped, {"deflate, encrypt-AES-128-CBC"})
        _, errors = run_expecting_failure(*self.words(**parameters))
        self.assertIn("not encrypted", errors)
        encoding = {"default_content_encoding": "deflate,encrypt-AES-128-CBC"}
        with self.served(**parameters, **encoding) as handle:
            self.assertEqual(handle.pread(16 * OBJECT, 0), content)
            handle.pwrite(content[:512], 5 * OBJECT)  # from now on with its encoding
        with self.served(**parameters, **encoding) as handle:
            self.assertEqual(handle.pread(512, 5 * OBJECT), content[:512])
            self.assertEqual(handle.pread(OBJECT, 4 * OBJECT), content[4 * OBJECT : 5 * OBJECT])
        _, errors = run_expecting_failure(*self.words(**parameters, default_content_encoding="x"))
        self.assertIn("not encrypted", errors)

    def test_of_a_compressed_volume(self):
        content, parameters, dropped = self.written(compress="deflate")
        self.assertEqual(dropped, {"deflate"})
        with self.served(**parameters, default_content_encoding="deflate") as handle:
            self.assertEqual(handle.pread(16 * OBJECT, 0), content)
        self.run_verb("check", default_content_encoding="deflate", **parameters)


if __name__ == "__main__":
    unittest.main()
