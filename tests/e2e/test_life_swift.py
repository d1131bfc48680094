"""The whole life of volumes on OpenStack Swift's S3 API, which knows no conditional PUTs."""

import unittest

from e2e.service_life import LifeCase, ServiceCases
from servers.swift import Swift


class SwiftS3(ServiceCases, LifeCase):
    """It is slow, and so has less to do; its listings show 100 objects at a time."""

    start_words = ("501 NotImplemented", "both may get it")
    knows_what_is_stored = False
    pages_objects = 130
    requests = 80

    @classmethod
    def setUpClass(cls):
        cls.service = Swift(page=100)
        cls.addClassCleanup(cls.service.stop)
        cls.service.start()


if __name__ == "__main__":
    unittest.main()
