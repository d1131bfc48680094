"""The whole life of volumes on s3rver and its fork: services that ignore conditions."""

import unittest

from e2e.service_life import LifeCase, ServiceCases
from servers.s3rver import FORK, ORIGINAL, S3rver


class _S3rverCases(ServiceCases):
    package = None
    # Every PUT overwrites, whatever its condition says: a lease cannot be had.
    start_words = ("If-None-Match is ignored", "both may get it")
    knows_what_is_stored = False
    # An object is written in place, its metadata after it, and the original answers before either:
    # who reads it at that moment gets a part of it, which is noticed, and not believed.
    may_fail = ("EIO",)

    @classmethod
    def setUpClass(cls):
        cls.service = S3rver(cls.package)
        cls.addClassCleanup(cls.service.stop)
        cls.service.start()


class Original(_S3rverCases, LifeCase):
    """It looks at no signature."""

    package = ORIGINAL
    checks_signatures = False
    refused_keys = {
        "d1//d2": "404 without a reason of S3's",
        "tr/": "404 without a reason of S3's",
    }


class Fork(_S3rverCases, LifeCase):
    """It encodes prefixes twice in listings, and signatures of some characters are others than
    AWS's."""

    package = FORK
    refused_keys = {
        "d1//d2": "404 without a reason of S3's",
        "tr/": "404 without a reason of S3's",
        'x&<y>"z': "the listing cannot be believed",
        "eq=1&prefix=2": "the listing cannot be believed",
        "it's": "403 SignatureDoesNotMatch",
        "p=q;r@s,t!(u)*[v]{w}~": "403 SignatureDoesNotMatch",
    }


if __name__ == "__main__":
    unittest.main()
