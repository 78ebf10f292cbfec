"""The made entry behind a host, and retries that come at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from remote_entry import Remote, made_remote_entry

from medshard.registry.acquisition.transfer.settings import TransferSettings


@pytest.fixture
def make_remote(tmp_path: Path) -> Callable[..., Remote]:
    def make(*sources: dict[str, Any], **changes: Any) -> Remote:
        return Remote(root=tmp_path, entry=made_remote_entry(*sources, **changes))

    return make


@pytest.fixture
def remote(make_remote: Callable[..., Remote]) -> Remote:
    return make_remote()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come at once: their patience has tests of its own."""
    patient = TransferSettings.from_environment

    def impatient(environment: Mapping[str, str]) -> TransferSettings:
        return replace(patient(environment), first_delay_s=0.001, longest_delay_s=0.01)

    monkeypatch.setattr(TransferSettings, "from_environment", staticmethod(impatient))
