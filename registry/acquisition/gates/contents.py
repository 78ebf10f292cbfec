"""What the first bytes of a file say: whether it is a web page, or the archive that its name promises."""

from __future__ import annotations

import re
import tarfile
import zipfile
from html import unescape
from pathlib import Path

from medshard.registry.acquisition.transfer.magic import is_marked_as
from medshard.registry.hosts.source import Archive

HEAD_BYTES = 4096
_PAGE = re.compile(
    rb"^(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)\b",
    re.IGNORECASE | re.DOTALL,
)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_PAGE_NAMES = (".html", ".htm", ".xhtml", ".mhtml")


def has_page_name(name: str) -> bool:
    return name.lower().endswith(_PAGE_NAMES)


def web_page(path: Path) -> str | None:
    """The title of the web page that a file is, or a few words where it has none; None when it is no page."""
    head = _head(path)
    if not _PAGE.match(head):
        return None
    title = _TITLE.search(head.decode(errors="replace"))
    words = " ".join(unescape(title.group(1)).split()) if title else ""
    return f"a web page, `{words[:80]}`" if words else "a web page without a title"


def is_archive_of_kind(path: Path, kind: Archive) -> bool:
    """Whether the file opens as that kind; of a compressed tar only the compression is looked at."""
    if kind == "zip":
        return _is_zip(path)
    if kind == "tar":
        return tarfile.is_tarfile(path)  # old ones carry no mark
    return is_marked_as(_head(path), kind)


def _is_zip(path: Path) -> bool:
    """By its end, so that a cut one is noticed."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # the last volume of a divided one, whose beginning lies in another file
        return True


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(HEAD_BYTES)
