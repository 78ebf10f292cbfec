"""A server that misbehaves as told, and a patient downloader that does not wait long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_server import HASTY, FaultServer

from medshard.registry.acquisition.transfer.download import Wanted
from medshard.registry.acquisition.transfer.web import Web
from medshard.registry.hosts.host import HttpAddress


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.fixture
def web() -> Iterator[Web]:
    with Web(HASTY) as opened:
        yield opened


@pytest.fixture
def wanted(tmp_path: Path) -> Callable[..., Wanted]:
    """Makes a request for a file of the entry `made`, below the test's folder."""

    def make(url: str, *, name: str = "scans.bin", ranges: bool = True, **fields: Any) -> Wanted:
        address = HttpAddress(url=url, ranges=ranges)
        return Wanted(name=name, address=address, target=tmp_path / "here" / name, where="made", **fields)

    return make
