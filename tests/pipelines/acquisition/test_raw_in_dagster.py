"""The asset `raw` of an entry behind a host: what the UI is told, and what it is never told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from medshard.pipelines.orchestration.assets import entry_assets
from medshard.pipelines.orchestration.resources import StoreResource

SECRET = "tok-0a1b2c3d4e5f"


def materialize(remote: Any, instance: dg.DagsterInstance, **resource: Any) -> dg.ExecuteInProcessResult:
    raw, *_ = entry_assets(remote.catalog.entry("remote"), remote.catalog)
    store = StoreResource(root=str(remote.root / "store"), **resource)
    return dg.materialize([raw], resources={"store": store}, instance=instance, raise_on_error=False)


def everything_told(instance: dg.DagsterInstance, run_id: str) -> str:
    """All events of a run with their metadata, and all that the instance keeps as text."""
    return "\n".join(str(record.event_log_entry) for record in instance.get_records_for_run(run_id).records)


@pytest.fixture
def serving(remote: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    with remote.hosts() as serving:
        pairs = (f"{asked}={instead}" for asked, instead in serving.mirrors.items())
        monkeypatch.setenv("MEDSHARD_MIRRORS", " ".join(pairs))
        yield serving


def test_the_ui_sees_bytes_speed_place_and_manifest_and_no_credential(
    remote: Any, serving: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZENODO_TOKEN", SECRET)
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialize(remote, instance)
        assert result.success
        (event,) = result.asset_materializations_for_node("remote__raw")
        told = everything_told(instance, result.run_id)
    assert event.metadata["transferred_bytes"].value == sum(len(data) for data in remote.files.values())
    assert "Zenodo record 77" in str(event.metadata["acquired"].value)
    assert "images.zip" in str(event.metadata["contents"].value)
    assert any(SECRET in str(headers) for _, headers in serving.requests), "the token was not used"
    output = capfd.readouterr()
    assert SECRET not in told + output.out + output.err
    stored = b"".join(path.read_bytes() for path in remote.root.rglob("*") if path.is_file())
    assert SECRET.encode() not in stored


def test_a_gate_fails_the_asset_with_what_to_do(make_remote: Callable[..., Any]) -> None:
    manual = {"kind": "manual", "instructions": "Write to the hospital.", "page": "https://hospital.example"}
    remote = make_remote(manual, access={"kind": "agreement", "instructions": "Sign", "url": "https://x.example"})
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialize(remote, instance)
        told = everything_told(instance, result.run_id)
    assert not result.success
    assert "Write to the hospital." in told
    assert str(remote.inbox) in told


def test_terms_are_accepted_in_the_launchpad(make_remote: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    remote = make_remote(licence={"id": "CC-BY-NC-4.0"})
    with remote.hosts() as serving, dg.DagsterInstance.ephemeral() as instance:
        pairs = (f"{asked}={instead}" for asked, instead in serving.mirrors.items())
        monkeypatch.setenv("MEDSHARD_MIRRORS", " ".join(pairs))
        assert not materialize(remote, instance).success
        assert materialize(remote, instance, accept_licence=["remote"]).success


def test_commercial_use_is_a_setting_of_the_store(remote: Any) -> None:
    remote.entry["licence"] = {"id": "CC-BY-NC-4.0", "confidence": "verified"}
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialize(remote, instance, use="commercial")
        told = everything_told(instance, result.run_id)
    assert not result.success
    assert "licence.use" in told
