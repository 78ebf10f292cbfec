"""Pages that come in place of data, recognised by what the server calls them and by their first bytes."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.transfer.addresses import public_address
from medshard.registry.acquisition.transfer.magic import expected_archive, is_marked_as, is_text, mark_of
from medshard.registry.hosts.source import Archive

PAGE_BYTES = 1 << 20  # what is read of a page
_TITLE_LETTERS = 200
_CALLED = {"html": "an HTML page", "json": "a JSON page", "xml": "an XML page", "text": "a text page"}
_NAMED_AS = {
    "html": (".html", ".htm", ".xhtml", ".mhtml"),
    "json": (".json", ".geojson", ".jsonl", ".ndjson", ".ipynb"),
    "xml": (".xml", ".svg", ".gpx", ".kml", ".xsd", ".xsl", ".html", ".htm", ".xhtml", ".xmp", ".vtk", ".vtp", ".vti",
            ".vtu", ".gii", ".anns"),
}  # fmt: skip
_HTML = re.compile(rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)[\s>]", re.IGNORECASE | re.DOTALL)
_XML_ERROR = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?<(?:\w+:)?Error[\s>]", re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
_HEADING = re.compile(r"<h1[^>]*>(.*?)</h1", re.IGNORECASE | re.DOTALL)
_XML_MESSAGE = re.compile(r"<Message>(.*?)</", re.IGNORECASE | re.DOTALL)
_XML_CODE = re.compile(r"<Code>(.*?)</", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What should have come. size: bytes; None when nobody states it."""

    name: str
    archive: Archive | None
    size: int | None


def page_kind(head: bytes, content_type: str, expected: Expected) -> str | None:
    """`html`, `json`, `xml` or `text` when the beginning of an answer is no beginning of the file; else None.

    An archive that is called text/html by a careless server is an archive, and a file whose name says HTML is HTML.
    """
    archive = expected_archive(expected.name, expected.archive)
    if is_marked_as(head, archive) or mark_of(head) is not None:
        return None
    kind = _kind(head, content_type)
    if kind is not None and expected.name.lower().endswith(_NAMED_AS[kind]) and archive is None:
        return None
    if kind is None and archive is not None and is_text(head):
        return "text"
    return kind


def _kind(head: bytes, content_type: str) -> str | None:
    head = head.removeprefix(b"\xef\xbb\xbf")
    media = content_type.partition(";")[0].strip().lower()
    if _HTML.match(head) or (media in {"text/html", "application/xhtml+xml"} and head.lstrip().startswith(b"<")):
        return "html"
    if media.endswith(("/json", "+json")) and head.lstrip()[:1] in {b"{", b"["}:
        return "json"
    if _XML_ERROR.match(head) or (media.endswith(("/xml", "+xml")) and head.lstrip().startswith(b"<")):
        return "xml"
    return None


def title_of(body: bytes) -> str:
    """What a page says of itself in a few words: its title, the message of JSON or XML, or its first line."""
    text = body.decode("utf8", errors="replace").strip()
    if text.startswith(("{", "[")):
        try:
            return _shortened(_message(json.loads(text)))
        except ValueError:
            pass
    for pattern in (_TITLE, _HEADING, _XML_MESSAGE, _XML_CODE):
        if found := pattern.search(text):
            return _shortened(re.sub(r"<[^>]*>", " ", found.group(1)))
    return "" if text.startswith("<") else _shortened(text.partition("\n")[0])


def _message(document: Any) -> str:
    if isinstance(document, list):
        return _message(document[0]) if document else ""
    if not isinstance(document, Mapping):
        return str(document)
    for name in ("message", "error_description", "detail", "error", "errors", "reason", "title", "code"):
        if document.get(name):
            return _message(document[name])
    return ""


def _shortened(text: str) -> str:
    words = " ".join(html.unescape(text).split())
    printable = "".join(letter for letter in words if letter.isprintable())
    return printable if len(printable) <= _TITLE_LETTERS else f"{printable[:_TITLE_LETTERS]}..."


def redacted(text: str, secrets: Iterable[str]) -> str:
    """The text without any of the secret words, which a host may quote back."""
    for word in sorted(secrets, key=len, reverse=True):
        text = text.replace(word, "...")
    return text


def _status_in_words(status: int) -> str:
    return f"status {status}" + (" (a part of a file was asked for)" if status == HTTPStatus.PARTIAL_CONTENT else "")


def page_error(
    kind: str, body: bytes, *, url: str, status: int, content_type: str, expected: Expected, secrets: Iterable[str],
    where: str,
) -> AcquisitionError:  # fmt: skip
    """AcquisitionError[download.page]. body: the page, or its beginning."""
    size = "" if expected.size is None else f" of {expected.size:,} bytes"
    title = redacted(title_of(body), secrets)
    return AcquisitionError(
        "download.page",
        where=where,
        problem=f"the host sent {_CALLED[kind]} in place of {expected.name}",
        details={
            "address": public_address(url),
            "expected": f"{expected_archive(expected.name, expected.archive) or 'a file'}{size}",
            "found": f"{_status_in_words(status)}, {content_type or 'no content type'}, {len(body):,} bytes",
            "it says": title or "nothing that could be shown here",
        },
        action="Open the address in a browser: the file may have moved, or ask for an account or for accepted terms.",
    )
