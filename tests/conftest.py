"""What tests of several rooms need: an empty store, and the catalogs that they build from."""

from __future__ import annotations

from pathlib import Path

import pytest

from medshard.registry.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")
