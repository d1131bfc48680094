"""The whole life of volumes on Ceph's RADOS gateway, over http."""

import unittest

from e2e.service_life import LifeCase, ServiceCases
from e2e.stores import gateway


class Rgw(ServiceCases, LifeCase):
    """Conditions, listings, removals of many: all of it."""

    @classmethod
    def setUpClass(cls):
        cls.service = gateway()


if __name__ == "__main__":
    unittest.main()
