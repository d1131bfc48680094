"""The stack over a real S3 service compared with a shadow disk. See model_cases.py."""

import unittest

from e2e.model_cases import StackCases
from e2e.stores import GatewayStore, gateway


class GatewayModel(StackCases, unittest.TestCase):
    def setUp(self):
        self.store = GatewayStore(gateway())
        self.addCleanup(self.store.close)


if __name__ == "__main__":
    unittest.main()
