"""What a person puts into the inbox is recognised, checked against all that is known, and only then taken over."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from made_entries import made_entry

from medshard.errors import AcquisitionError
from medshard.registry import Entry
from medshard.registry.acquisition.gates.inbox import InboxState, look
from medshard.registry.hosts.host import ListedFile, Listing, LocalAddress

PAGE = b"\n<!DOCTYPE html>\n<html><head><title>Sign in &amp;\n continue</title></head></html>"
LONG_AGO_S = 3600.0


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    return tmp_path / "inbox" / "scans"


def put(inbox: Path, name: str, data: bytes = b"data", *, age_s: float = LONG_AGO_S) -> Path:
    path = inbox / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    written = time.time() - age_s
    os.utime(path, (written, written))
    return path


def zipped(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def by_hand(*files: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"kind": "manual", "instructions": "Ask.", "files": list(files), **fields}


def entry(*sources: dict[str, Any]) -> Entry:
    return made_entry("scans", acquisition=list(sources))


def state(inbox: Path, *sources: dict[str, Any], number: int = 0, listing: Listing | None = None) -> InboxState:
    made = entry(*sources)
    return look(inbox, made, number, made.acquisition[number], listing)


def names(found: InboxState, inbox: Path) -> list[str]:
    return [path.relative_to(inbox).as_posix() for path in found.found]


def wrong(found: InboxState) -> AcquisitionError:
    with pytest.raises(AcquisitionError) as caught:
        dict(found.by_name)
    assert caught.value.code == "inbox.wrong_file"
    return caught.value


# Files that somebody names


def test_an_inbox_that_is_not_there_misses_everything(inbox: Path) -> None:
    found = state(inbox, by_hand({"name": "a.csv"}, {"name": "b.csv"}))
    assert found.missing == ("a.csv", "b.csv")
    assert not found.complete


@pytest.mark.parametrize("place", ["a.csv", "folder/deep/a.csv", "00-manual/a.csv"])
def test_a_named_file_is_found_in_any_folder(inbox: Path, place: str) -> None:
    put(inbox, place, b"one,two")
    found = state(inbox, by_hand({"name": "a.csv"}))
    assert found.complete
    taken = found.by_name["a.csv"]
    assert (taken.name, taken.path, taken.size) == ("a.csv", inbox / place, 7)
    assert taken.sha256 == hashlib.sha256(b"one,two").hexdigest()


def test_a_name_with_folders_is_found_by_its_end(inbox: Path) -> None:
    put(inbox, "download/train/labels.csv")
    put(inbox, "download/test/labels.csv")
    found = state(inbox, by_hand({"name": "test/labels.csv"}, {"name": "train/labels.csv"}))
    assert names(found, inbox) == ["download/test/labels.csv", "download/train/labels.csv"]


def test_one_file_is_not_taken_for_two(inbox: Path) -> None:
    put(inbox, "all/train/labels.csv")
    found = state(inbox, by_hand({"name": "train/labels.csv"}, {"name": "all/train/labels.csv"}))
    assert found.missing == ("train/labels.csv",)


def test_the_spelling_of_accents_does_not_matter(inbox: Path) -> None:
    put(inbox, "ae\u0301.csv")
    assert state(inbox, by_hand({"name": "a\u00e9.csv"})).complete


def test_what_is_there_and_what_is_missing_is_told(inbox: Path) -> None:
    put(inbox, "a.csv")
    put(inbox, "letter.txt")
    found = state(inbox, by_hand({"name": "a.csv"}, {"name": "b.csv"}))
    assert names(found, inbox) == ["a.csv"]
    assert (found.missing, found.unknown) == (("b.csv",), ("letter.txt",))
    assert list(found.by_name) == ["a.csv"]


@pytest.mark.parametrize("copy", ["scans (1).tar.gz", "scans.tar (12).gz"])
@pytest.mark.parametrize(
    ("stated", "fits"),
    [({"size": 4}, True), ({"size": 5}, False), ({"checksum": f"sha256:{'0' * 64}"}, True), ({}, False)],
    ids=["size fits", "size does not", "checksum will tell", "nothing can tell"],
)
def test_a_copy_that_a_browser_numbered_is_taken_when_it_can_be_told(
    inbox: Path, copy: str, stated: dict[str, Any], fits: bool
) -> None:
    put(inbox, copy)
    found = state(inbox, by_hand({"name": "scans.tar.gz", **stated}))
    assert names(found, inbox) == ([copy] if fits else [])
    assert found.unknown == (() if fits else (copy,))


def test_the_file_itself_goes_before_its_copy(inbox: Path) -> None:
    put(inbox, "a (1).csv")
    put(inbox, "deep/folder/a.csv")
    assert names(state(inbox, by_hand({"name": "a.csv", "size": 4})), inbox) == ["deep/folder/a.csv"]


def test_the_host_may_name_the_files(inbox: Path) -> None:
    put(inbox, "01-left.zip", zipped(a="b"))
    listed = tuple(ListedFile(name=name, address=LocalAddress(path=Path())) for name in ("01-left.zip", "02.zip"))
    found = state(inbox, {"kind": "zenodo", "record": "1"}, listing=Listing(files=listed))
    assert (list(found.by_name), found.missing) == (["01-left.zip"], ("02.zip",))


def test_litter_of_file_managers_is_no_file(inbox: Path) -> None:
    for name in (".DS_Store", "._a.csv", "Thumbs.db", "__MACOSX/a.csv", "desktop.ini"):
        put(inbox, name)
    assert state(inbox, by_hand()) == InboxState(where="scans/00-manual")


def test_links_to_files_and_folders_are_followed_once(inbox: Path, tmp_path: Path) -> None:
    put(tmp_path / "elsewhere", "a.csv")
    put(inbox, "b.csv")
    (inbox / "disk").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "round").symlink_to(inbox)
    assert names(state(inbox, by_hand()), inbox) == ["b.csv", "disk/a.csv"]


# Files that nobody names


def test_the_only_source_takes_the_whole_inbox_under_its_own_names(inbox: Path) -> None:
    put(inbox, "images/1.png")
    put(inbox, "labels.csv")
    found = state(inbox, by_hand())
    assert found.complete
    assert list(found.by_name) == ["images/1.png", "labels.csv"]


def test_its_own_folder_is_no_part_of_the_names(inbox: Path) -> None:
    put(inbox, "00-manual/images/1.png")
    assert list(state(inbox, by_hand()).by_name) == ["images/1.png"]


def test_an_empty_inbox_is_not_complete(inbox: Path) -> None:
    inbox.mkdir(parents=True)
    assert not state(inbox, by_hand()).complete


def test_several_sources_have_a_folder_each(inbox: Path) -> None:
    sources = (by_hand(), {"kind": "grand-challenge", "challenge": "scans"})
    put(inbox, "00-manual/a.png")
    put(inbox, "01-grand-challenge/b.png")
    put(inbox, "c.png")
    first, second = (state(inbox, *sources, number=number) for number in (0, 1))
    assert (list(first.by_name), first.folder) == (["a.png"], "00-manual")
    assert (list(second.by_name), second.folder) == (["b.png"], "01-grand-challenge")
    assert first.unknown == second.unknown == ("c.png",)


def test_files_that_another_source_names_are_not_taken(inbox: Path) -> None:
    sources = (by_hand({"name": "a.csv"}), by_hand())
    put(inbox, "a.csv")
    put(inbox, "b.csv")
    assert list(state(inbox, *sources, number=0).by_name) == ["a.csv"]
    assert list(state(inbox, *sources, number=1).by_name) == ["b.csv"]


def test_a_source_that_comes_by_hand_goes_before_one_that_need_not(inbox: Path) -> None:
    sources = ({"kind": "kaggle", "dataset": "ada/scans"}, by_hand())
    put(inbox, "a.csv")
    assert state(inbox, *sources, number=0).folder == "00-kaggle"
    assert not state(inbox, *sources, number=0).complete
    assert list(state(inbox, *sources, number=1).by_name) == ["a.csv"]


def test_sources_with_files_of_one_name_do_not_take_each_others(inbox: Path) -> None:
    sources = (by_hand({"name": "scans.zip"}, into="old"), by_hand({"name": "scans.zip"}, into="new"))
    put(inbox, "old/scans.zip", zipped(a="old"))
    put(inbox, "01-manual/scans.zip", zipped(a="new"))
    first, second = (state(inbox, *sources, number=number) for number in (0, 1))
    assert (names(first, inbox), first.folder) == (["old/scans.zip"], "00-manual")
    assert (names(second, inbox), second.folder) == (["01-manual/scans.zip"], "01-manual")


def test_a_file_that_two_sources_could_mean_is_nobodys_until_it_lies_in_a_folder_of_one(inbox: Path) -> None:
    sources = (by_hand({"name": "scans.zip"}), by_hand({"name": "scans.zip"}, note="Others."))
    put(inbox, "scans.zip", zipped(a="whose?"))
    assert [state(inbox, *sources, number=number).missing for number in (0, 1)] == [("scans.zip",)] * 2


def test_mirrors_share_a_file(inbox: Path) -> None:
    sources = (by_hand({"name": "a.csv"}, part="data"), by_hand({"name": "a.csv"}, part="data", note="Elsewhere."))
    put(inbox, "a.csv")
    assert all(state(inbox, *sources, number=number).complete for number in (0, 1))


def test_the_manifest_of_a_download_tool_is_not_the_data(inbox: Path) -> None:
    source = {"kind": "tcia", "collection": "Scans", "files": [{"name": "scans.tcia"}]}
    put(inbox, "1.2.3/1.dcm")
    assert list(state(inbox, source).by_name) == ["1.2.3/1.dcm"]


# Files that are still on their way


@pytest.mark.parametrize(("age_s", "grows"), [(0.0, True), (-1.0, True), (LONG_AGO_S, False), (-LONG_AGO_S, False)])
@pytest.mark.parametrize("files", [[], [{"name": "a.csv"}]], ids=["unnamed", "named"])
def test_a_file_that_was_just_written_is_waited_for(
    inbox: Path, files: list[dict[str, Any]], age_s: float, grows: bool
) -> None:
    put(inbox, "a.csv", age_s=age_s)
    found = state(inbox, by_hand(*files))
    assert found.still_growing == (("a.csv",) if grows else ())
    assert found.complete is not grows


def test_a_file_of_the_stated_size_is_there_at_once(inbox: Path) -> None:
    put(inbox, "a.csv", age_s=0)
    assert state(inbox, by_hand({"name": "a.csv", "size": 4})).complete


@pytest.mark.parametrize("draft", ["a.csv.part", "a.csv.crdownload", "a.csv.aria2", ".a.csv.Xy12Zk"])
def test_the_draft_of_a_download_tool_is_waited_for(inbox: Path, draft: str) -> None:
    put(inbox, draft)
    found = state(inbox, by_hand({"name": "a.csv"}))
    assert (found.still_growing, found.drafts) == (("a.csv",), (draft,))
    assert not state(inbox, by_hand()).complete


def test_a_file_that_grows_is_not_taken(inbox: Path) -> None:
    put(inbox, "a.csv", age_s=0)
    assert dict(state(inbox, by_hand({"name": "a.csv"}, {"name": "b.csv"})).by_name) == {}


# Files that are not what they should be


def test_another_size_is_told(inbox: Path) -> None:
    path = put(inbox, "a.csv")
    error = wrong(state(inbox, by_hand({"name": "a.csv", "size": 4000})))
    assert error.where == "scans/00-manual"
    assert error.problem == "a.csv in the inbox is not what the source describes"
    assert error.details == {"file": str(path), "expected": "4000 bytes", "found": "4 bytes"}
    assert "fetch the file again" in error.action


@pytest.mark.parametrize("kind", ["md5", "sha1", "sha256"])
def test_checksums_of_each_kind_are_compared(inbox: Path, kind: str) -> None:
    put(inbox, "a.csv")
    right = f"{kind}:{hashlib.new(kind, b'data').hexdigest()}"
    taken = state(inbox, by_hand({"name": "a.csv", "checksum": right})).by_name["a.csv"]
    assert taken.sha256 == hashlib.sha256(b"data").hexdigest()
    other = f"{kind}:{hashlib.new(kind, b'other').hexdigest()}"
    error = wrong(state(inbox, by_hand({"name": "a.csv", "checksum": other})))
    assert (error.details["expected"], error.details["found"]) == (other, right)


@pytest.mark.parametrize(
    "stated",
    [{}, {"size": 4000}, {"checksum": f"md5:{'0' * 32}"}],
    ids=["nothing is stated", "its size is stated", "its checksum is stated"],
)
@pytest.mark.parametrize("name", ["scans.zip", "table.csv"])
def test_a_page_saved_as_data_is_recognised_by_its_title(inbox: Path, name: str, stated: dict[str, Any]) -> None:
    put(inbox, name, PAGE)
    error = wrong(state(inbox, by_hand({"name": name, **stated})))
    assert error.details["found"] == "a web page, `Sign in & continue`"


@pytest.mark.parametrize(
    "head",
    [b"<html>", b"\xef\xbb\xbf<HTML lang='en'>", b'<?xml version="1.0"?>\n<!-- x -->\n<!doctype html>', b"<head>"],
)
def test_a_page_without_a_title_is_one_too(inbox: Path, head: bytes) -> None:
    put(inbox, "a.csv", head + b"<p>Please wait.")
    assert wrong(state(inbox, by_hand())).details["found"] == "a web page without a title"


def test_pages_may_lie_among_data_but_be_no_data_alone(inbox: Path) -> None:
    put(inbox, "read me.html", PAGE)
    assert "a web page" in wrong(state(inbox, by_hand())).details["found"]
    put(inbox, "a.csv")
    assert list(state(inbox, by_hand()).by_name) == ["a.csv", "read me.html"]


def test_xml_and_text_about_pages_are_data(inbox: Path) -> None:
    put(inbox, "a.xml", b'<?xml version="1.0"?><annotation><html/></annotation>')
    put(inbox, "b.txt", b"Saved from <html> pages")
    assert len(state(inbox, by_hand()).by_name) == 2


def made_tar(mode: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        archive.addfile(tarfile.TarInfo("a"))
    return buffer.getvalue()


ARCHIVES = {
    "a.zip": zipped(a="b" * 100),
    "a.tar": made_tar("w"),
    "a.tar.gz": made_tar("w:gz"),
    "a.tgz": made_tar("w:gz"),
    "a.tar.xz": made_tar("w:xz"),
    "a.nii.gz": gzip.compress(b"scan"),
    "a.7z": b"7z\xbc\xaf\x27\x1c\x00\x04",
    "a.rar": b"Rar!\x1a\x07\x01\x00",
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_must_open_as_what_its_name_says(inbox: Path, name: str) -> None:
    put(inbox, name, ARCHIVES[name])
    assert state(inbox, by_hand({"name": name})).by_name[name].size == len(ARCHIVES[name])
    put(inbox, name, b"text that is no archive" * 50)
    error = wrong(state(inbox, by_hand({"name": name})))
    assert error.details["expected"].startswith("a whole ")
    assert error.details["found"] == "1150 bytes that do not open as one"


def test_a_zip_that_was_cut_is_told(inbox: Path) -> None:
    put(inbox, "a.zip", ARCHIVES["a.zip"][:-30])
    assert "do not open" in wrong(state(inbox, by_hand({"name": "a.zip"}))).details["found"]


def test_the_one_file_of_a_source_must_be_the_stated_archive(inbox: Path) -> None:
    put(inbox, "download", ARCHIVES["a.tar"])
    assert wrong(state(inbox, by_hand(archive="zip"))).details["expected"] == "a whole zip file"
    assert state(inbox, by_hand(archive="tar")).by_name["download"].size


def test_a_download_that_came_unpacked_is_taken_too(inbox: Path) -> None:
    put(inbox, "scans/1.png")
    put(inbox, "scans/2.png")
    assert len(state(inbox, by_hand(archive="zip")).by_name) == 2


def test_a_right_checksum_needs_no_right_content(inbox: Path) -> None:
    """Such as an archive that its owner has encrypted."""
    checksum = f"sha256:{hashlib.sha256(b'Salted__').hexdigest()}"
    put(inbox, "a.tar.gz", b"Salted__")
    assert state(inbox, by_hand({"name": "a.tar.gz", "checksum": checksum})).by_name["a.tar.gz"].size == 8


def test_a_file_that_stays_packed_promises_nothing(inbox: Path) -> None:
    put(inbox, "a.zip", b"packed in its own way")
    assert state(inbox, by_hand({"name": "a.zip", "archive": "none"})).by_name["a.zip"].size


def test_an_empty_file_is_no_file(inbox: Path) -> None:
    put(inbox, "a.csv", b"")
    assert wrong(state(inbox, by_hand())).details["found"] == "0 bytes"


def test_a_file_that_changes_while_it_is_read_is_not_taken(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from medshard.registry.acquisition.gates import taking

    path = put(inbox, "a.csv")
    read = taking._digests

    def read_slowly(path: Path, checksum: str | None) -> tuple[str, str | None]:
        digests = read(path, checksum)
        path.write_bytes(b"data and more")
        return digests

    monkeypatch.setattr(taking, "_digests", read_slowly)
    found = state(inbox, by_hand())
    with pytest.raises(AcquisitionError, match="inbox.growing"):
        dict(found.by_name)
    assert path.exists()


def test_the_last_volume_of_a_divided_zip_is_a_zip(inbox: Path) -> None:
    data = bytearray(ARCHIVES["a.zip"])
    end = data.rindex(b"PK\x05\x06")
    data[end + 4 : end + 8] = b"\x02\x00\x02\x00"  # this disk, and where the directory starts: the third
    put(inbox, "a.zip", bytes(data[-60:]))
    assert state(inbox, by_hand({"name": "a.zip"})).by_name["a.zip"].size == 60
