"""What a person has to do first: a build says it in three lines, and goes on when it is done."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from medshard.cli import cli
from medshard.errors import AcquisitionError
from medshard.registry.acquisition.gates.acceptance import acceptances
from medshard.registry.hosts.host import Secret

MANUAL = {
    "kind": "manual",
    "instructions": "Sign the form, then download both files.",
    "page": "https://hospital.example/data",
    "files": [{"name": "images.zip"}, {"name": "labels.zip"}],
}
AGREEMENT = {"kind": "agreement", "instructions": "Sign the form", "url": "https://hospital.example/form"}
SECRET = "tok-9f8e7d6c5b4a"


@pytest.fixture
def gated(make_remote: Callable[..., Any]) -> Any:
    return make_remote(MANUAL, access=AGREEMENT)


def test_a_gated_entry_says_what_where_and_which_folder(gated: Any) -> None:
    with pytest.raises(AcquisitionError) as caught:
        gated.build()
    error = caught.value
    assert error.code == "gate.agreement"
    assert "Sign the form" in error.details["do"]
    assert "https://hospital.example/form" in error.details["where"]
    assert str(gated.inbox) in error.details["put"]
    assert "images.zip, labels.zip" in error.details["put"]


def test_half_of_the_files_leaves_the_gate_shut_and_names_the_other_half(gated: Any) -> None:
    (gated.inbox / "images.zip").write_bytes(gated.files["images.zip"])
    with pytest.raises(AcquisitionError) as caught:
        gated.build()
    assert "still missing, labels.zip" in caught.value.details["put"]


def old(path: Path) -> None:
    """As if it had been written a while ago: a file that is still being copied is left alone."""
    import os

    os.utime(path, (1_700_000_000, 1_700_000_000))


def test_files_in_the_inbox_are_verified_and_taken_over(gated: Any) -> None:
    for name in ("images.zip", "labels.zip"):
        (gated.inbox / name).write_bytes(gated.files[name])
        old(gated.inbox / name)
    result = gated.build()
    assert len(gated.manifest(result)) == 8
    assert list(gated.inbox.iterdir()) == []
    assert gated.build().done == 0


def test_a_wrong_file_in_the_inbox_is_refused_and_left_there(make_remote: Callable[..., Any]) -> None:
    digest = hashlib.sha256(b"what it should be").hexdigest()
    files = [{"name": "images.zip", "checksum": f"sha256:{digest}"}]
    gated = make_remote({**MANUAL, "files": files}, access=AGREEMENT)
    (gated.inbox / "images.zip").write_bytes(gated.files["images.zip"])
    old(gated.inbox / "images.zip")
    with pytest.raises(AcquisitionError, match=r"inbox.wrong_file(.|\n)*images.zip"):
        gated.build()
    assert (gated.inbox / "images.zip").exists()


def test_a_login_page_saved_as_an_archive_is_called_by_its_title(gated: Any) -> None:
    for name in ("images.zip", "labels.zip"):
        (gated.inbox / name).write_bytes(b"<!doctype html><title>Please log in</title>")
        old(gated.inbox / name)
    with pytest.raises(AcquisitionError, match="Please log in"):
        gated.build()


def test_a_file_that_somebody_has_already_is_not_downloaded(remote: Any) -> None:
    """The inbox serves open entries too: a colleague's copy saves the line."""
    (remote.inbox / "images.zip").write_bytes(remote.files["images.zip"])
    old(remote.inbox / "images.zip")
    remote.entry["acquisition"][0]["files"] = [{"name": "images.zip"}, {"name": "patients.csv"}]
    with remote.hosts() as serving:
        result = remote.build(serving)
        assert not any("images.zip" in url for url, _ in serving.requests)
    assert {"images/p0.nii.gz", "patients.csv"} <= set(remote.manifest(result))


def test_terms_that_restrict_have_to_be_accepted_once(make_remote: Callable[..., Any]) -> None:
    remote = make_remote(licence={"id": "CC-BY-NC-4.0", "confidence": "verified"})
    with remote.hosts() as serving:
        with pytest.raises(AcquisitionError, match=r"licence.not_accepted(.|\n)*--accept-licence remote"):
            remote.build(serving, accept=frozenset())
        assert serving.requests == []
        remote.build(serving, accept=frozenset({"remote"}))
        remote.build(serving, accept=frozenset())
    (acceptance,) = acceptances(remote.store, "remote")
    assert (acceptance.who, acceptance.licence, acceptance.how) == ("tester@here", "CC-BY-NC-4.0", "option")


def test_a_person_is_shown_the_terms_and_may_refuse(make_remote: Callable[..., Any]) -> None:
    remote = make_remote(licence={"id": "CC-BY-NC-4.0"})
    shown: list[str] = []

    def refuse(terms: Any) -> bool:
        shown.append(terms.text)
        return False

    with remote.hosts() as serving, pytest.raises(AcquisitionError, match="licence.not_accepted"):
        remote.build(serving, accept=frozenset(), ask=refuse)
    assert "CC-BY-NC-4.0" in shown[0]


def test_commercial_use_is_refused_with_the_clause(make_remote: Callable[..., Any]) -> None:
    from medshard.registry.acquisition.gates.use import Use

    remote = make_remote(licence={"id": "CC-BY-NC-4.0", "confidence": "verified"})
    with pytest.raises(AcquisitionError, match=r"licence.use(.|\n)*CC-BY-NC-4.0(.|\n)*forbidden"):
        remote.build(use=Use.COMMERCIAL)


def test_commercial_use_is_refused_of_what_is_in_the_store_already(make_remote: Callable[..., Any]) -> None:
    from medshard.registry.acquisition.gates.use import Use

    remote = make_remote(licence={"id": "CC-BY-NC-4.0", "confidence": "verified"})
    with remote.hosts() as serving:
        remote.build(serving)
    with pytest.raises(AcquisitionError, match="licence.use"):
        remote.build(use=Use.COMMERCIAL)


def everything_written(root: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file())


def test_credentials_are_in_no_log_no_error_and_nowhere_in_the_store(
    remote: Any, caplog: pytest.LogCaptureFixture
) -> None:
    remote.environment = {"ZENODO_TOKEN": SECRET}
    with caplog.at_level(logging.DEBUG), remote.hosts() as serving:
        result = remote.build(serving)
        sent = [headers for url, headers in serving.requests if SECRET in str(headers)]
        assert sent, "the token was not used: this test would prove nothing"
        remote.store.remove(result.manifest.records[0].output)
        del remote.files["labels.zip"]
    with caplog.at_level(logging.DEBUG), remote.hosts() as serving, pytest.raises(AcquisitionError) as caught:
        remote.build(serving)
    for text in (str(caught.value), repr(caught.value), caplog.text, repr(result), repr(Secret(headers={"a": SECRET}))):
        assert SECRET not in text
    assert SECRET.encode() not in everything_written(remote.store.root)


def test_the_command_shows_gates_and_the_plan(gated: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gated.use_as_catalog(monkeypatch)
    told = CliRunner().invoke(cli, ["sources", "remote", "--root", str(gated.root / "store")])
    assert told.exit_code == 0, told.output
    assert "Sign the form" in told.output
    assert str(gated.inbox) in told.output


def test_the_command_asks_the_hosts_on_request(remote: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    remote.use_as_catalog(monkeypatch)
    with remote.hosts() as serving:
        monkeypatch.setenv("MEDSHARD_MIRRORS", " ".join(f"{a}={b}" for a, b in serving.mirrors.items()))
        command = ["sources", "remote", "--root", str(remote.root / "store"), "--json"]
        offline = json.loads(CliRunner().invoke(cli, command).stdout)
        assert serving.requests == []
        asked = json.loads(CliRunner().invoke(cli, [*command, "--ask"]).stdout)
    assert offline["remote"][0]["sources"][0]["requests"] == ["https://zenodo.org/api/records/77"]
    files = asked["remote"][0]["sources"][0]["files"]
    assert {file["name"]: file["size"] for file in files} == {name: len(data) for name, data in remote.files.items()}


def test_evidence_of_a_real_acquisition_is_written(remote: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import yaml

    remote.entry["source"] = {"cases": 9}
    labels = {"organ": {"path": "labels/{case}.nii.gz", "classes": {1: "liver"}}}
    images = {"ct": {"path": "images/{case}.nii.gz"}}
    remote.entry["cases"] = [{"modality": "CT", "images": images, "labels": labels}]
    with remote.hosts() as serving:
        remote.build(serving)
    remote.use_as_catalog(monkeypatch)
    output = remote.root / "remote.attestation.yaml"
    command = ["attest", "remote", "--root", str(remote.root / "store"), "--output", str(output)]
    told = CliRunner().invoke(cli, command)
    assert told.exit_code == 0, told.output
    evidence = yaml.safe_load(output.read_text())
    assert evidence["cases"]["found"] == 4
    assert any("4 cases, the catalog states 9" in surprise for surprise in evidence["surprises"])
    assert evidence["proposal"]["maturity"] == "acquired"
    (pins,) = evidence["proposal"]["files"].values()
    digest = hashlib.sha256(remote.files["images.zip"]).hexdigest()
    assert {"name": "images.zip", "size": len(remote.files["images.zip"]), "checksum": f"sha256:{digest}"} in pins
    assert str(remote.root) not in output.read_text()


def test_a_damaged_store_gives_no_evidence(remote: Any) -> None:
    from medshard.errors import StoreError
    from medshard.registry.acquisition.attestation import attest

    with remote.hosts() as serving:
        result = remote.build(serving)
    remote.raw_file(result, "patients.csv").write_bytes(b"other")
    with pytest.raises(StoreError, match="object.corrupt"):
        attest(remote.store, remote.catalog.entry("remote"))
