"""The stack over a local directory compared with a shadow disk. See model_cases.py."""

import unittest

from e2e.model_cases import StackCases
from e2e.stores import LocalStore


class FileModel(StackCases, unittest.TestCase):
    def setUp(self):
        self.store = LocalStore()
        self.addCleanup(self.store.close)


if __name__ == "__main__":
    unittest.main()
