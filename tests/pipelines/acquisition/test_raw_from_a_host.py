"""`raw` of an entry behind a host: what is fetched, kept, remembered, noticed and mended."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Callable
from typing import Any

import pytest
from remote_entry import zipped

from medshard.errors import AcquisitionError, MedshardError
from medshard.pipelines.build import is_current
from medshard.registry.acquisition.journal import read_journal
from medshard.registry.acquisition.lock import read_lock


def downloads(serving: Any) -> list[str]:
    """Addresses of files that were asked for, without those of the record."""
    return [url for url, _ in serving.requests if "/api/records/77/files/" in url or "/records/77/files/" in url]


def test_archives_are_unpacked_and_plain_files_kept(remote: Any) -> None:
    with remote.hosts() as serving:
        result = remote.build(serving)
    assert sorted(remote.manifest(result)) == [
        *(f"images/p{n}.nii.gz" for n in range(4)),
        *(f"labels/p{n}.nii.gz" for n in range(4)),
        "patients.csv",
    ]


def test_the_manifest_names_bytes_digest_archive_member_and_address(remote: Any) -> None:
    with remote.hosts() as serving:
        result = remote.build(serving)
    row = remote.manifest(result)["images/p2.nii.gz"]
    data = gzip.compress(bytes([2]) * 5000, mtime=0)
    assert (row.bytes, row.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert (row.archive, row.member) == ("images.zip", "images/p2.nii.gz")
    assert row.archive_sha256 == hashlib.sha256(remote.files["images.zip"]).hexdigest()
    assert row.url is not None
    assert row.url.startswith("https://zenodo.org/")


def test_the_journal_says_when_who_and_from_where(remote: Any) -> None:
    with remote.hosts() as serving:
        result = remote.build(serving)
    (record,) = result.manifest.records
    journal = read_journal(remote.store, "remote", record.key)
    assert journal is not None
    assert journal.who == "tester@here"
    assert journal.place == "Zenodo record 77"
    assert journal.transferred == sum(len(data) for data in remote.files.values())
    assert journal.when.endswith("+00:00")


def test_a_second_build_asks_nobody(remote: Any) -> None:
    with remote.hosts() as serving:
        remote.build(serving)
        asked = len(serving.requests)
        again = remote.build(serving)
        assert len(serving.requests) == asked
    assert (again.done, again.reused) == (0, 1)


def test_two_stores_come_to_the_same_head(make_remote: Callable[..., Any]) -> None:
    heads = []
    for name in ("one", "two"):
        remote = make_remote()
        remote.root = remote.root / name
        remote.root.mkdir()
        with remote.hosts() as serving:
            heads.append(remote.build(serving).head)
    assert heads[0] == heads[1]


def test_nothing_unfinished_is_left(remote: Any) -> None:
    with remote.hosts() as serving:
        remote.build(serving)
    assert not (remote.store.root / "downloads").exists() or not any((remote.store.root / "downloads").iterdir())
    assert list((remote.store.root / "scratch").iterdir()) == []


def test_the_lock_remembers_what_the_record_stated_and_what_came(remote: Any) -> None:
    with remote.hosts() as serving:
        remote.build(serving)
    (locked,) = read_lock(remote.store, "remote").values()
    file = locked.file("patients.csv")
    assert file is not None
    data = remote.files["patients.csv"]
    assert (file.size, file.checksum) == (len(data), f"md5:{hashlib.md5(data).hexdigest()}")
    assert file.sha256 == hashlib.sha256(data).hexdigest()


def test_a_changed_file_at_the_source_is_noticed_and_taken_over_only_on_request(remote: Any) -> None:
    with remote.hosts() as serving:
        before = remote.build(serving)
    remote.store.remove(before.manifest.records[0].output)
    remote.files["patients.csv"] = b"case,age\np0,51\np1,60\n"
    with remote.hosts() as serving:
        with pytest.raises(AcquisitionError, match=r"source.changed(.|\n)*patients.csv") as caught:
            remote.build(serving)
        assert "--accept-changes" in caught.value.action
        after = remote.build(serving, accept_changes=True)
    assert remote.manifest(after)["patients.csv"].sha256 != remote.manifest(before)["patients.csv"].sha256


def test_a_file_that_is_gone_from_the_record_is_noticed(remote: Any) -> None:
    with remote.hosts() as serving:
        before = remote.build(serving)
    remote.store.remove(before.manifest.records[0].output)
    del remote.files["labels.zip"]
    with remote.hosts() as serving, pytest.raises(AcquisitionError, match=r"source.changed(.|\n)*labels.zip is gone"):
        remote.build(serving)


def test_a_missing_file_is_fetched_alone(remote: Any) -> None:
    with remote.hosts() as serving:
        result = remote.build(serving)
        remote.raw_file(result, "patients.csv").unlink()
        serving.requests.clear()
        again = remote.build(serving)
        assert [url.rsplit("/files/")[1].split("/")[0].split("?")[0] for url in downloads(serving)] == ["patients.csv"]
    assert again.details["repaired"] == ["patients.csv"]
    assert remote.raw_file(again, "patients.csv").read_bytes() == remote.files["patients.csv"]


def test_a_damaged_member_comes_back_out_of_the_kept_archive_without_a_download(remote: Any) -> None:
    with remote.hosts() as serving:
        result = remote.build(serving)
        path = remote.raw_file(result, "images/p1.nii.gz")
        good = path.read_bytes()
        path.write_bytes(good[:-8] + b"damaged!")
        serving.requests.clear()
        again = remote.build(serving)
        assert downloads(serving) == []
    assert again.details["repaired"] == ["images/p1.nii.gz"]
    assert path.read_bytes() == good
    assert again.head == result.head


def test_damage_that_keeps_size_and_time_is_found_by_hash(remote: Any) -> None:
    with remote.hosts() as serving:
        result = remote.build(serving)
        path = remote.raw_file(result, "patients.csv")
        times = path.stat().st_atime_ns, path.stat().st_mtime_ns
        path.write_bytes(path.read_bytes().replace(b"50", b"99"))
        os.utime(path, ns=times)
        assert remote.build(serving).details["repaired"] == []
        assert remote.build(serving, verify=True).details["repaired"] == ["patients.csv"]


def test_a_discarded_archive_leaves_the_files_and_the_lineage(remote: Any) -> None:
    with remote.hosts() as serving:
        result = remote.build(serving, discard_archives=True)
        digest = hashlib.sha256(remote.files["images.zip"]).hexdigest()
        assert list(remote.store.files_of_digest(digest)) == []
        assert remote.manifest(result)["images/p0.nii.gz"].archive_sha256 == digest
        remote.raw_file(result, "images/p0.nii.gz").unlink()
        serving.requests.clear()
        again = remote.build(serving, discard_archives=True)
        assert any("images.zip" in url for url in downloads(serving))
        assert not any("labels.zip" in url for url in downloads(serving))
    assert again.head == result.head


def test_keeping_or_discarding_archives_is_no_part_of_the_identity(make_remote: Callable[..., Any]) -> None:
    heads = []
    for name, discard in (("kept", False), ("discarded", True)):
        remote = make_remote()
        remote.root = remote.root / name
        remote.root.mkdir()
        with remote.hosts() as serving:
            heads.append(remote.build(serving, discard_archives=discard).head)
    assert heads[0] == heads[1]


def test_a_gz_member_with_a_bad_trailer_is_named_and_the_rest_is_there(remote: Any) -> None:
    bad = gzip.compress(b"x" * 999, mtime=0)
    bad = bad[:-8] + bytes(4) + bad[-4:]
    remote.files["images.zip"] = zipped(("images/p0.nii.gz", bad), ("images/p1.nii.gz", gzip.compress(b"y" * 99)))
    with remote.hosts() as serving:
        result = remote.build(serving)
    (record,) = result.manifest.records
    assert record.facts["damaged"][0][0] == "images/p0.nii.gz"
    assert "images/p0.nii.gz" in record.warnings[0]
    assert "images/p1.nii.gz" in remote.manifest(result)


def test_a_wrong_checksum_is_an_error_that_keeps_nothing(make_remote: Callable[..., Any]) -> None:
    wrong = {"name": "patients.csv", "checksum": "sha256:" + "0" * 64}
    remote = make_remote({"kind": "zenodo", "record": "77", "files": [wrong]})
    with remote.hosts() as serving, pytest.raises(AcquisitionError, match=r"checksum.mismatch(.|\n)*patients.csv"):
        remote.build(serving)
    assert not (remote.store.root / "heads").exists()


def test_a_size_that_the_host_contradicts_is_told_before_the_download(make_remote: Callable[..., Any]) -> None:
    remote = make_remote({"kind": "zenodo", "record": "77", "files": [{"name": "patients.csv", "size": 5}]})
    with remote.hosts() as serving:
        with pytest.raises(AcquisitionError, match=r"source.differs(.|\n)*expected\s+5"):
            remote.build(serving)
        assert downloads(serving) == []


def test_a_name_that_the_record_does_not_have_gets_the_nearest(make_remote: Callable[..., Any]) -> None:
    remote = make_remote({"kind": "zenodo", "record": "77", "files": [{"name": "image.zip"}]})
    with remote.hosts() as serving, pytest.raises(AcquisitionError, match=r"source.file_gone(.|\n)*images.zip"):
        remote.build(serving)


def test_mirrors_are_tried_in_order(make_remote: Callable[..., Any]) -> None:
    gone = {"kind": "http", "files": [{"name": "images.zip", "url": "https://gone.example/images.zip"}], "part": "data"}
    remote = make_remote(gone, {"kind": "zenodo", "record": "77", "part": "data"})
    with remote.hosts() as serving:
        serving.mirrors["https://gone.example"] = f"{serving.url}/gone.example"
        result = remote.build(serving)
    (record,) = result.manifest.records
    assert record.case == "00-data"
    assert record.facts["place"] == "Zenodo record 77"
    assert any("host.gone" in warning for warning in record.warnings)


def test_when_all_mirrors_fail_each_is_named(make_remote: Callable[..., Any]) -> None:
    files = [{"name": "images.zip", "url": "https://gone.example/images.zip"}]
    remote = make_remote(
        {"kind": "http", "files": files, "part": "data"},
        {"kind": "zenodo", "record": "78", "part": "data", "files": [{"name": "other.zip"}]},
    )
    with remote.hosts() as serving:
        serving.mirrors["https://gone.example"] = f"{serving.url}/gone.example"
        with pytest.raises(AcquisitionError, match=r"(.|\n)*also tried http(.|\n)*host.gone"):
            remote.build(serving)


def test_a_file_that_another_entry_has_fetched_is_not_fetched_again(make_remote: Callable[..., Any]) -> None:
    pinned = f"sha256:{hashlib.sha256(make_remote().files['images.zip']).hexdigest()}"
    first = make_remote({"kind": "zenodo", "record": "77"})
    with first.hosts() as serving:
        first.build(serving)
    other = make_remote({"kind": "zenodo", "record": "77", "files": [{"name": "images.zip", "checksum": pinned}]})
    with other.hosts() as serving:
        result = other.build(serving)
        assert downloads(serving) == []
    assert "images/p0.nii.gz" in other.manifest(result)


def test_optional_parts_come_on_request_and_then_stay(make_remote: Callable[..., Any]) -> None:
    remote = make_remote(
        {"kind": "zenodo", "record": "77", "files": [{"name": "images.zip"}]},
        {"kind": "zenodo", "record": "77", "files": [{"name": "patients.csv"}], "optional": True, "into": "more"},
    )
    with remote.hosts() as serving:
        assert "more/patients.csv" not in remote.manifest(remote.build(serving))
        assert "more/patients.csv" in remote.manifest(remote.build(serving, optional=True))
        assert "more/patients.csv" in remote.manifest(remote.build(serving))


def test_two_parts_that_bring_one_path_ask_for_into(make_remote: Callable[..., Any]) -> None:
    same = {"kind": "zenodo", "record": "77", "files": [{"name": "patients.csv"}]}
    remote = make_remote(same, {**same, "note": "again"})
    with remote.hosts() as serving, pytest.raises(AcquisitionError, match=r"source.clash(.|\n)*into"):
        remote.build(serving)


def test_a_listing_that_would_write_outside_is_refused(remote: Any) -> None:
    remote.files = {"../../evil.csv": b"evil"}
    with remote.hosts() as serving, pytest.raises(AcquisitionError, match=r"evil.csv"):
        remote.build(serving)
    assert not list(remote.root.rglob("evil.csv"))


def test_looking_whether_all_is_current_asks_nobody(remote: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr("medshard.pipelines.stages.raw_parts.connection", refuse)
    assert is_current(remote.store, "remote", catalog=remote.catalog) is False


def test_a_host_that_does_not_answer_is_an_error_of_ours(remote: Any) -> None:
    with remote.hosts() as serving:
        mirrors = dict.fromkeys(serving.mirrors, "http://127.0.0.1:9")
    remote.environment = {"MEDSHARD_MIRRORS": " ".join(f"{a}={b}" for a, b in mirrors.items())}
    with pytest.raises(MedshardError, match="host.unreachable"):
        remote.build()


def test_a_damaged_kept_archive_is_dropped_by_verify_and_never_unpacked(remote: Any) -> None:
    with remote.hosts() as serving:
        result = remote.build(serving)
        digest = hashlib.sha256(remote.files["images.zip"]).hexdigest()
        (archive,) = remote.store.files_of_digest(digest)
        archive.write_bytes(archive.read_bytes()[:-9] + b"otherwise")
        remote.raw_file(result, "images/p3.nii.gz").unlink()
        serving.requests.clear()
        again = remote.build(serving, verify=True)
        assert any("images.zip" in url for url in downloads(serving))
    told, mended = again.details["repaired"]
    assert told.startswith(f"archive {digest[:16]}")
    assert mended == "images/p3.nii.gz"


def test_work_on_a_part_that_the_catalog_no_longer_names_is_swept(remote: Any) -> None:
    stale = remote.store.root / "downloads" / "remote" / "0123456789abcdef" / "files"
    stale.mkdir(parents=True)
    (stale / "old.zip.part").write_bytes(b"half")
    with remote.hosts() as serving:
        remote.build(serving)
    assert not (remote.store.root / "downloads" / "remote").exists()
