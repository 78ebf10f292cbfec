"""What went wrong once: links in the inbox, edited entries, mirrors that differ, repairs without a host."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from record_fakes import Answers, file_reply, record_answers
from remote_entry import FILES, zipped

from medshard.errors import AcquisitionError, StoreError
from medshard.registry.acquisition.attestation import attest
from medshard.registry.acquisition.gates.acceptance import acceptances
from medshard.registry.acquisition.gates.use import Use
from medshard.registry.acquisition.lock import read_lock
from medshard.registry.acquisition.options import AcquisitionOptions
from medshard.registry.acquisition.parts import parts_of

MANUAL = {"kind": "manual", "instructions": "Ask the hospital.", "page": "https://hospital.example"}


def put(folder: Path, name: str, data: bytes) -> Path:
    """A file that was written a while ago."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


def tree_of(remote: Any, result: Any) -> dict[str, bytes]:
    return {path: remote.raw_file(result, path).read_bytes() for path in remote.manifest(result)}


def plain_host(files: dict[str, bytes]) -> Answers:
    """An http server that lists nothing."""

    def route(data: bytes) -> Any:
        return lambda _query, headers: file_reply(data, headers)

    return Answers({f"plain.example/{name}": route(data) for name, data in files.items()})


def plain_source(*names: str, **fields: Any) -> dict[str, Any]:
    return {"kind": "http", "files": [{"name": n, "url": f"https://plain.example/{n}"} for n in names], **fields}


class TestInbox:
    def test_what_a_link_leads_to_is_copied_and_stays(self, make_remote: Callable[..., Any], tmp_path: Path) -> None:
        remote = make_remote({**MANUAL, "files": [{"name": "images.zip"}]})
        mine = put(tmp_path / "home", "images.zip", FILES["images.zip"])
        (remote.inbox / "images.zip").symlink_to(mine)
        result = remote.build()
        mine.unlink()
        assert "images/p0.nii.gz" in remote.manifest(result)
        assert not any(path.is_symlink() for path in (remote.store.root / "objects").rglob("*"))
        assert list(remote.inbox.iterdir()) == []

    def test_a_shared_folder_that_is_linked_is_not_emptied(
        self, make_remote: Callable[..., Any], tmp_path: Path
    ) -> None:
        remote = make_remote({**MANUAL, "files": [{"name": "images.zip"}]})
        mine = put(tmp_path / "shared", "images.zip", FILES["images.zip"])
        (remote.inbox / "all").symlink_to(tmp_path / "shared")
        remote.build()
        assert mine.exists()

    def test_a_second_name_of_a_file_cannot_change_the_store(
        self, make_remote: Callable[..., Any], tmp_path: Path
    ) -> None:
        remote = make_remote({**MANUAL, "files": [{"name": "notes.csv"}]})
        mine = put(tmp_path / "home", "notes.csv", b"a,b\n")
        (remote.inbox / "notes.csv").hardlink_to(mine)
        result = remote.build()
        mine.write_bytes(b"changed")
        assert remote.raw_file(result, "notes.csv").read_bytes() == b"a,b\n"

    def test_files_that_come_later_are_added_to_a_part_whose_files_nobody_names(
        self, make_remote: Callable[..., Any]
    ) -> None:
        remote = make_remote(MANUAL)
        put(remote.inbox, "images.zip", FILES["images.zip"])
        put(remote.inbox, "notes.csv", b"a\n")
        assert len(remote.manifest(remote.build())) == 5
        put(remote.inbox, "labels.zip", FILES["labels.zip"])
        result = remote.build()
        assert len(remote.manifest(result)) == 9
        assert list(remote.inbox.iterdir()) == []
        assert remote.build().done == 0

    def test_a_cut_file_that_is_replaced_by_the_whole_one_is_no_change(self, make_remote: Callable[..., Any]) -> None:
        remote = make_remote({**MANUAL, "files": [{"name": "images.tar.gz"}]})
        put(remote.inbox, "images.tar.gz", b"\x1f\x8b\x08\x00cut off")
        with pytest.raises(AcquisitionError):
            remote.build()
        packed = shutil.make_archive(
            str(remote.root / "images"), "gztar", put(remote.root / "in", "a.nii", b"1").parent
        )
        put(remote.inbox, "images.tar.gz", Path(packed).read_bytes())
        assert "a.nii" in remote.manifest(remote.build())

    def test_all_parts_that_need_a_person_are_named_at_once_and_the_rest_is_fetched(
        self, make_remote: Callable[..., Any]
    ) -> None:
        first = {**MANUAL, "files": [{"name": "a.zip"}]}
        second = {**MANUAL, "files": [{"name": "b.zip"}], "into": "b"}
        remote = make_remote(first, {"kind": "zenodo", "record": "77"}, second)
        with remote.hosts() as serving:
            with pytest.raises(AcquisitionError, match=r"a\.zip(.|\n)*b\.zip"):
                remote.build(serving)
            assert any("images.zip" in url for url, _ in serving.requests)
        assert remote.inbox.is_dir()


class TestChanges:
    def test_another_mirror_with_other_files_is_a_change(self, make_remote: Callable[..., Any]) -> None:
        remote = make_remote(
            plain_source("images.zip", part="data"), {"kind": "zenodo", "record": "77", "part": "data"}
        )
        remote.files = {"images.zip": FILES["images.zip"]}
        with remote.hosts(plain_host({})) as serving:
            serving.mirrors["https://plain.example"] = f"{serving.url}/plain.example"
            result = remote.build(serving)
        remote.store.remove(result.manifest.records[0].output)
        other = plain_host({"images.zip": zipped(("images/p0.nii", b"other"))})
        with remote.hosts(other) as serving:
            serving.mirrors["https://plain.example"] = f"{serving.url}/plain.example"
            with pytest.raises(AcquisitionError, match=r"source\.changed"):
                remote.build(serving)

    def test_accept_changes_takes_over_what_the_host_says_now(self, remote: Any) -> None:
        with remote.hosts() as serving:
            remote.build(serving)
        remote.files["patients.csv"] = b"case,age\np0,51\n"
        with remote.hosts() as serving:
            assert tree_of(remote, remote.build(serving))["patients.csv"] == FILES["patients.csv"]
            assert tree_of(remote, remote.build(serving, accept_changes=True))["patients.csv"] == b"case,age\np0,51\n"

    def test_accept_changes_without_a_change_fetches_nothing(self, remote: Any) -> None:
        with remote.hosts() as serving:
            remote.build(serving)
            serving.requests.clear()
            assert remote.build(serving, accept_changes=True).done == 0
            assert not any("/content" in url for url, _ in serving.requests)

    @pytest.mark.parametrize("discard", [True, False])
    def test_a_change_that_a_repair_meets_can_be_accepted_or_undone(
        self, make_remote: Callable[..., Any], discard: bool
    ) -> None:
        remote = make_remote(plain_source("images.zip"))
        with remote.hosts(plain_host(FILES)) as serving:
            serving.mirrors["https://plain.example"] = f"{serving.url}/plain.example"
            result = remote.build(serving, discard_archives=True)
        path = remote.raw_file(result, "images/p0.nii.gz")
        good = path.read_bytes()
        path.unlink()
        with remote.hosts(plain_host({"images.zip": zipped(("images/p0.nii.gz", b"new"))})) as serving:
            serving.mirrors["https://plain.example"] = f"{serving.url}/plain.example"
            with pytest.raises(AcquisitionError, match=r"source\.changed"):
                remote.build(serving, discard_archives=discard)
        with remote.hosts(plain_host(FILES)) as serving:
            serving.mirrors["https://plain.example"] = f"{serving.url}/plain.example"
            remote.build(serving, discard_archives=discard)
        assert path.read_bytes() == good
        path.unlink()
        with remote.hosts(plain_host({"images.zip": zipped(("images/p0.nii.gz", b"new"))})) as serving:
            serving.mirrors["https://plain.example"] = f"{serving.url}/plain.example"
            result = remote.build(serving, discard_archives=discard, accept_changes=True)
        assert tree_of(remote, result) == {"images/p0.nii.gz": b"new"}

    def test_a_failed_acceptance_leaves_the_lock_of_what_is_here(self, remote: Any) -> None:
        with remote.hosts() as serving:
            remote.build(serving)
        before = read_lock(remote.store, "remote")
        remote.files = {"images.zip": b"PK\x03\x04 not whole"}
        with remote.hosts() as serving, pytest.raises(AcquisitionError):
            remote.build(serving, accept_changes=True)
        assert read_lock(remote.store, "remote") == before

    def test_terms_are_asked_again_for_another_use(self, make_remote: Callable[..., Any]) -> None:
        remote = make_remote(licence={"id": "CC-BY-4.0", "confidence": "verified"}, access={"kind": "open"})
        with remote.hosts() as serving:
            remote.build(serving)
            remote.build(serving, use=Use.COMMERCIAL)
        assert [item.use for item in acceptances(remote.store, "remote")] == [Use.RESEARCH, Use.COMMERCIAL]

    def test_an_edited_entry_is_not_attested_with_files_of_another(self, remote: Any) -> None:
        with remote.hosts() as serving:
            remote.build(serving)
        remote.entry["acquisition"][0]["record"] = "99999"
        with pytest.raises(StoreError, match=r"attest\.other_entry"):
            attest(remote.store, remote.catalog.entry("remote"))


class TestRepair:
    def test_out_of_a_kept_archive_no_host_is_needed(self, remote: Any) -> None:
        with remote.hosts() as serving:
            result = remote.build(serving)
        path = remote.raw_file(result, "images/p1.nii.gz")
        good = path.read_bytes()
        path.unlink()
        remote.environment = {"MEDSHARD_MIRRORS": "https://zenodo.org=http://127.0.0.1:9"}
        assert remote.build().details["repaired"] == ["images/p1.nii.gz"]
        assert path.read_bytes() == good

    def test_of_an_archive_in_several_parts(self, make_remote: Callable[..., Any]) -> None:
        remote = make_remote({"kind": "zenodo", "record": "77"})
        whole = zipped(("scans/a.nii", bytes(range(256)) * 40), ("scans/b.nii", b"b" * 900))
        third = len(whole) // 3
        remote.files = {
            "scans.zip.001": whole[:third],
            "scans.zip.002": whole[third : 2 * third],
            "scans.zip.003": whole[2 * third :],
        }
        for kept in (True, False):
            with remote.hosts() as serving:
                result = remote.build(serving, discard_archives=not kept)
                path = remote.raw_file(result, "scans/b.nii")
                path.unlink()
                remote.build(serving, discard_archives=not kept)
            assert path.read_bytes() == b"b" * 900

    def test_asks_the_mirror_that_gave_the_part(self, make_remote: Callable[..., Any]) -> None:
        remote = make_remote(plain_source("notes.csv", part="d"), plain_source("notes.csv", part="d", into="x"))
        remote.entry["acquisition"][1]["files"][0]["url"] = "https://second.example/notes.csv"
        answers = Answers({"second.example/notes.csv": lambda _query, headers: file_reply(b"a\n", headers)})
        with remote.hosts(answers) as serving:
            serving.mirrors |= {f"https://{n}.example": f"{serving.url}/{n}.example" for n in ("plain", "second")}
            result = remote.build(serving)
            remote.raw_file(result, "notes.csv").unlink()
            serving.requests.clear()
            remote.build(serving)
        assert {url.split("/")[1] for url, _ in serving.requests} == {"second.example"}

    def test_one_of_many_files_of_the_same_name_is_one_request(self, make_remote: Callable[..., Any]) -> None:
        remote = make_remote({"kind": "osf", "project": "abcde"})
        files = [(f"p{n}/seg.csv", f"{n}".encode()) for n in range(9)]
        (source,) = remote.catalog.entry("remote").acquisition
        with remote.hosts(record_answers(source, files)) as serving:
            result = remote.build(serving)
            remote.raw_file(result, "p4/seg.csv").unlink()
            serving.requests.clear()
            remote.build(serving)
            fetched = [url for url, _ in serving.requests if "/download/" in url]
        assert len(fetched) == 1

    def test_a_damaged_tree_is_mended_by_an_acquisition_of_the_same_bytes(self, remote: Any) -> None:
        with remote.hosts() as serving:
            result = remote.build(serving)
            path = remote.raw_file(result, "patients.csv")
            path.write_bytes(b"DAMAGED" + b" " * (len(FILES["patients.csv"]) - 7))
            remote.entry["version"] = "2"
            remote.entry["acquisition"][0]["into"] = "raw"
            remote.build(serving)
        assert path.read_bytes() == FILES["patients.csv"]

    def test_a_copied_store_is_hashed_once(self, remote: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        with remote.hosts() as serving:
            result = remote.build(serving)
        for path in (remote.store.root / "objects").rglob("*.gz"):
            os.utime(path)
        remote.build()
        monkeypatch.setattr("medshard.registry.store.objects.sha256_file", lambda path: pytest.fail(f"hashed {path}"))
        assert remote.store.suspects(result.manifest.records[0].output) == []


def test_begun_optional_downloads_are_not_swept(make_remote: Callable[..., Any]) -> None:
    optional = plain_source("large.zip", optional=True)
    remote = make_remote({"kind": "zenodo", "record": "77"}, optional)
    _, part = parts_of(remote.catalog.entry("remote"), optional=True)
    begun = remote.store.root / "downloads" / "remote" / part.key[:16] / "files" / "large.zip.part"
    put(begun.parent, begun.name, b"half")
    with remote.hosts() as serving:
        remote.build(serving)
    assert begun.exists()


def test_a_file_where_another_archive_has_a_folder_is_a_clash(remote: Any) -> None:
    remote.files = {"a.zip": zipped(("data", b"1")), "b.zip": zipped(("data/x", b"2"))}
    with remote.hosts() as serving, pytest.raises(AcquisitionError, match=r"source\.clash"):
        remote.build(serving)


def test_a_name_that_no_file_may_have_names_the_entry(remote: Any) -> None:
    remote.files = {"aux.nii": b"1"}
    with remote.hosts() as serving, pytest.raises(AcquisitionError, match=r"source\.file_name\] remote/00-zenodo"):
        remote.build(serving)


def test_a_catalog_may_not_hold_a_token(make_remote: Callable[..., Any]) -> None:
    for url in ("https://u:p@plain.example/a", "https://plain.example/a?token=abc"):
        remote = make_remote({"kind": "http", "files": [{"name": "a", "url": url}]})
        with pytest.raises(AssertionError, match="password, token or signature"):
            assert remote.catalog


def test_an_unknown_use_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDSHARD_USE", "Commercial")
    with pytest.raises(AcquisitionError, match=r"settings\.use(.|\n)*research or commercial"):
        AcquisitionOptions.from_environment()


def test_an_unreadable_credential_of_a_fallback_does_not_block_the_first_mirror(
    make_remote: Callable[..., Any], tmp_path: Path
) -> None:
    put(tmp_path / "home" / ".kaggle", "kaggle.json", b"not json")
    kaggle = {"kind": "kaggle", "dataset": "a/b", "part": "d"}
    remote = make_remote({"kind": "zenodo", "record": "77", "part": "d"}, kaggle)
    remote.environment = {"HOME": str(tmp_path / "home")}
    with remote.hosts() as serving:
        assert tree_of(remote, remote.build(serving))["patients.csv"] == FILES["patients.csv"]
