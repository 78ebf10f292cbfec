"""Pages that come in place of data are recognised; data that only looks odd is left alone."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable

import pytest
from fault_server import FaultServer, Page

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.transfer.download import Wanted, download
from medshard.registry.acquisition.transfer.error_pages import Expected, page_error, page_kind, title_of
from medshard.registry.acquisition.transfer.magic import expected_archive, is_text, mark_of
from medshard.registry.acquisition.transfer.web import Web

Make = Callable[..., Wanted]
Fetching = tuple[FaultServer, Web, Make]
HTML = b"<!DOCTYPE html>\n<html><head><title>\n  Sign in &ndash; Data\n Portal</title></head></html>"
NO_SUCH_KEY = b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code><Message>The key does not exist.</Message></Error>"


@pytest.fixture
def fetching(server: FaultServer, web: Web, wanted: Make) -> Fetching:
    return server, web, wanted


def zip_bytes() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.txt", b"a")
    return stream.getvalue()


def tar_bytes() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.txt"))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content_type", "body", "says"),
    [
        ("scans.zip", "text/html; charset=utf-8", HTML, "Sign in – Data Portal"),
        ("scans.zip", "application/zip", HTML, "Sign in – Data Portal"),
        ("image.nii.gz", "text/html", b"<p>gone</p>", "nothing that could be shown here"),
        ("table.csv", "text/html", b"\n\n  <HTML><body><h1>Moved <b>away</b></h1>", "Moved away"),
        ("scans.tar", "application/json", b'{"error": {"message": "rate limit"}}', "rate limit"),
        ("scans.bin", "application/problem+json", b'{"title": "Forbidden"}', "Forbidden"),
        ("scans.zip", "application/xml", NO_SUCH_KEY, "The key does not exist."),
        ("scans.7z", "application/octet-stream", b"Download quota exceeded\nTry later", "Download quota exceeded"),
    ],
)  # fmt: skip
def test_a_page_in_place_of_a_file_is_reported_with_what_it_says(
    name: str, content_type: str, body: bytes, says: str, fetching: Fetching
) -> None:
    server, web, wanted = fetching
    file = wanted(server.add("/f", b"", faults=[Page(body, content_type)]), name=name, size=10)

    with pytest.raises(AcquisitionError) as caught:
        download([file], web)

    error = caught.value
    assert error.code == "download.page"
    assert error.details["it says"] == says
    assert error.details["found"] == f"status 200, {content_type}, {len(body)} bytes"
    assert "10 bytes" in error.details["expected"]
    assert list(file.target.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content_type", "body"),
    [
        ("scans.zip", "text/html", zip_bytes()),
        ("scans.tar", "text/html", tar_bytes()),
        ("image.nii.gz", "text/html", gzip.compress(b"voxels")),
        ("scans.tar.xz", "application/json", lzma.compress(b"x")),
        ("scans.tar.bz2", "text/html", bz2.compress(b"x")),
        ("index.html", "text/html", HTML),
        ("cases.json", "application/json", b'{"cases": []}'),
        ("readme.xml", "application/xml", b"<?xml version='1.0'?><data/>"),
        ("table.csv", "text/html", b"case,age\n1,40\n"),
        ("notes.txt", "text/plain", b"plain words"),
        ("encrypted.tar.gz", "application/octet-stream", b"Salted__\x00\xff\x01\x02"),
        ("empty.csv", "text/csv", b""),
    ],
)
def test_data_is_data_whatever_the_server_calls_it(name: str, content_type: str, body: bytes) -> None:
    assert page_kind(body[:512], content_type, Expected(name=name, archive=None, size=None)) is None


def test_a_stated_archive_is_expected_whatever_the_name() -> None:
    assert page_kind(b"no such file", "", Expected(name="download", archive="zip", size=None)) == "text"
    assert page_kind(b"no such file", "", Expected(name="a.zip", archive="none", size=None)) is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.zip", "zip"), ("A.ZIP", "zip"), ("a.tar.gz", "tar.gz"), ("a.tgz", "tar.gz"), ("a.nii.gz", "gz"),
     ("a.part2.rar", "rar"), ("a.7z.001", None), ("a.csv", None)],
)  # fmt: skip
def test_names_say_how_files_are_packed(name: str, kind: str | None) -> None:
    assert expected_archive(name, None) == kind


def test_marks_tell_kinds_apart() -> None:
    contents = {"zip": zip_bytes(), "tar": tar_bytes(), "gz": gzip.compress(b""), "bz2": bz2.compress(b"")}
    assert {kind: mark_of(content) for kind, content in contents.items()} == {kind: kind for kind in contents}
    assert mark_of(b"nothing") is None


def test_text_cut_within_a_letter_is_text() -> None:
    assert is_text("größe".encode()[:4])
    assert not is_text(b"\x00\x01")
    assert not is_text(b"\xff\xfe" * 10)
    assert not is_text(b"")


def test_titles_are_short_and_printable() -> None:
    assert title_of(b"<title>" + b"long " * 100 + b"</title>").endswith("...")
    assert title_of(b"<title>a\x00\x1b[31mb</title>") == "a[31mb"
    assert title_of(b'[{"errors": [{"detail": "no"}]}]') == "no"
    assert title_of(b"{broken") == "{broken"


def test_a_file_packed_for_the_way_is_refused(server: FaultServer, web: Web, wanted: Make) -> None:
    url = server.add("/f", gzip.compress(b"a,b"), headers={"Content-Encoding": "gzip"})
    with pytest.raises(AcquisitionError, match=r"download.encoded"):
        download([wanted(url, name="table.csv")], web)
    assert download([wanted(url, name="table.csv.gz")], web)[0].path.read_bytes()[:2] == b"\x1f\x8b"


def test_a_page_in_answer_to_a_question_for_a_part_is_told_in_words() -> None:
    error = page_error(
        "html", HTML, url="https://a.example/scans.zip", status=206, content_type="text/html",
        expected=Expected(name="scans.zip", archive=None, size=None), secrets=(), where="made",
    )  # fmt: skip
    assert error.problem == "the host sent an HTML page in place of scans.zip"
    assert error.details["found"].startswith("status 206 (a part of a file was asked for), text/html")
