"""`medshard sources` tells what a download would do: terms, requests, what is here already, and whom nobody reached."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

from medshard.cli import cli
from medshard.registry.acquisition.gates.acceptance import acceptances


def told_of(remote: Any, *options: str, exit_code: int = 0) -> str:
    told = CliRunner().invoke(cli, ["sources", "remote", "--root", str(remote.root / "store"), *options])
    assert told.exit_code == exit_code, told.output
    return told.stdout


def test_what_came_and_who_accepted_which_terms(
    make_remote: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = make_remote(licence={"id": "CC-BY-NC-4.0", "confidence": "verified"})
    remote.use_as_catalog(monkeypatch)
    assert "terms: have to be accepted (medshard build remote --accept-licence remote)" in told_of(remote)
    with remote.hosts() as serving:
        remote.build(serving)
    told = told_of(remote)
    (acceptance,) = acceptances(remote.store, "remote")
    assert f"terms: accepted {acceptance.when[:10]} by tester@here" in told
    for name, data in remote.files.items():
        assert f"{name}  {len(data):,} bytes  sha256:{hashlib.sha256(data).hexdigest()}" in told


def test_a_host_that_cannot_be_asked_is_told_with_the_reason_and_the_exit_code(
    remote: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote.use_as_catalog(monkeypatch)
    monkeypatch.setenv("MEDSHARD_MIRRORS", "https://zenodo.org=http://127.0.0.1:9")
    told = told_of(remote, "--ask", exit_code=1)
    assert "could not be asked: host.unreachable: https://zenodo.org does not deliver (network error:" in told


def test_long_lists_of_requests_are_cut_and_plain_addresses_need_no_asking(
    make_remote: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [{"name": f"{n}.csv", "url": f"https://a.example/{n}.csv"} for n in range(12)]
    remote = make_remote({"kind": "http", "files": files})
    remote.use_as_catalog(monkeypatch)
    told = told_of(remote)
    assert told.count("asks https://") == 10
    assert "and 2 more requests" in told
    assert "nothing to ask: the addresses stand in the catalog" in told_of(remote, "--ask")
