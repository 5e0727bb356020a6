"""The store in memory keeps the contract."""

import pytest

from steelyard.server.storage import BlobStore
from steelyard.server.storage.memory import MemoryStore
from tests.server.storage.contract import BlobStoreContract


class TestMemoryStore(BlobStoreContract):
    @pytest.fixture
    def store(self) -> BlobStore:
        return MemoryStore()
