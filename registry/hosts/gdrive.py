"""Kind `gdrive`: files and folders of Google Drive that anybody with the link may read, without an account.

Relied on, none of it documented by Google: the download address of a file; the page before large files, whose form
`download-form` has the parameters of the real address; pages whose text is in `uc-error-caption` when a file may not
be had; and the folder view made for embedding, whose links name files and folders. Documents that exist only in
Google's own editors have no bytes to download and are left out. Drive states no sizes there, and no digests.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from typing import Literal
from urllib.parse import parse_qs, parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from medshard.errors import AcquisitionError
from medshard.registry.hosts.host import (
    Asking,
    Host,
    HttpAddress,
    ListedFile,
    Listing,
    PageInstead,
    RemoteFile,
    RemoteSource,
)
from medshard.registry.schema.model import Text

DOWNLOAD = "https://drive.usercontent.google.com/download"
FOLDER_VIEW = "https://drive.google.com/embeddedfolderview"
_LINK = re.compile(r"https://drive\.google\.com/(file/d|drive/folders|drive/u/\d+/folders)/([-\w]+)")
_NO_QUOTA_LEFT = re.compile(r"quota exceeded|too many users have viewed or downloaded", re.IGNORECASE)
_NOT_PUBLIC = re.compile(r"sign[- ]in|you need access|access denied", re.IGNORECASE)


class GoogleDriveSource(RemoteSource):
    kind: Literal["gdrive"]
    id: Text
    folder: bool = False


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """One line of a folder. key: the resource key that links to older files carry."""

    id: str
    name: str
    folder: bool
    key: str | None


def _list_files(source: GoogleDriveSource, asking: Asking) -> Listing:
    """The one file, or everything below the folder.

    Raises AcquisitionError: host.answer, host.refused, and what the web raises.
    """
    key = _resource_key(source.page or "")
    if not source.folder:
        return Listing(files=(_single(source, key),))
    return Listing(files=tuple(_below(source.id, key, "", asking, seen=set())))


def _single(source: GoogleDriveSource, key: str | None) -> ListedFile:
    named = source.files[0] if source.files else None
    # The catalog need not know what the file is called; it is packed as it says, or as its content says.
    ending = f".{source.archive}" if source.archive and source.archive != "none" else ""
    return ListedFile(
        name=named.name if named else source.id + ending,
        id=(named and named.id) or source.id,
        address=HttpAddress(url=_address((named and named.id) or source.id, key)),
        archive=named.archive if named else source.archive,
    )


def _below(folder: str, key: str | None, above: str, asking: Asking, *, seen: set[str]) -> Iterator[ListedFile]:
    # A shortcut may lead back to a folder that it lies in.
    if folder in seen:
        return
    seen.add(folder)
    entries = _entries(folder, key, asking)
    if not entries and not above:
        raise AcquisitionError(
            "host.answer",
            where=asking.where,
            problem="Google Drive shows no file in the folder",
            details={"asked": _view_address(folder, None)},
            action="Open the folder in a browser: if files are there, download them by hand and put them into the "
            "inbox of the entry, and report that Google has changed its page.",
        )
    often = Counter(entry.name for entry in entries)
    for entry in entries:
        # Drive allows one name twice in a folder; a file system does not.
        path = above + (entry.name if often[entry.name] == 1 else f"{entry.id}-{entry.name}")
        if entry.folder:
            yield from _below(entry.id, entry.key, f"{path}/", asking, seen=seen)
        else:
            yield ListedFile(name=path, id=entry.id, address=HttpAddress(url=_address(entry.id, entry.key)))


def _entries(folder: str, key: str | None, asking: Asking) -> list[_Entry]:
    params = {"id": folder, **({"resourcekey": key} if key else {})}
    html = asking.web.get_text(FOLDER_VIEW, params=params, where=asking.where)
    page = _read_page(html)
    if not page.entries and _NOT_PUBLIC.search(page.title):
        raise _not_public(_view_address(folder, None), page, asking.where)
    return sorted(page.entries, key=lambda entry: (entry.name, entry.id))


def _through_page(page: PageInstead) -> str | None:
    """The address behind the page before large files. Raises AcquisitionError: host.quota, host.refused."""
    read = _read_page(page.html)
    if read.form is not None:
        return _behind(read, page.url)
    if _NO_QUOTA_LEFT.search(f"{read.title} {read.error}"):
        raise AcquisitionError(
            "host.quota",
            where=page.url,
            problem="Google Drive has given this file out too often in the last day",
            details={"page": read.title or read.error},
            action="Build again tomorrow, which goes on where this stopped; or save the file from a browser that is "
            "signed in to Google and put it into the inbox of the entry.",
        )
    if _NOT_PUBLIC.search(read.title) or read.error:
        raise _not_public(page.url, read, page.url)
    return None


def _behind(read: _Page, asked: str) -> str | None:
    """The form as an address, where it leads to Google itself or back to where it came from."""
    target = urlsplit(urljoin(asked, read.form or ""))
    known = target.scheme == "https" and (target.hostname or "").endswith(".google.com")
    if not known and target.netloc != urlsplit(asked).netloc:
        return None
    query = {**dict(parse_qsl(target.query)), **read.inputs}
    return urlunsplit(target._replace(query=urlencode(query)))


def _not_public(asked: str, read: _Page, where: str) -> AcquisitionError:
    return AcquisitionError(
        "host.refused",
        where=where,
        problem="Google Drive does not give this out to anybody with the link",
        details={"asked": asked, "page": read.error or read.title},
        action="Ask the publisher for access, save the files from a browser that is signed in to Google, and put them "
        "into the inbox of the entry.",
    )


@dataclass(kw_only=True)
class _Page:
    """What a page of Google Drive says. form: where `download-form` leads; None without one."""

    title: str = ""
    error: str = ""
    form: str | None = None
    inputs: dict[str, str] = field(default_factory=dict)
    entries: list[_Entry] = field(default_factory=list)


class _PageReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = _Page()
        self._text: list[str] = []
        self._link: _Entry | None = None
        self._in_error = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        style = set(given.get("class", "").split())
        if tag == "form" and given.get("id") == "download-form":
            self.page.form = given.get("action", "")
        elif tag == "input" and given.get("type") == "hidden" and self.page.form is not None:
            self.page.inputs[given.get("name", "")] = given.get("value", "")
        elif tag == "a" and (link := _LINK.match(given.get("href", ""))):
            key = _resource_key(given["href"])
            self._link = _Entry(id=link[2], name="", folder=link[1] != "file/d", key=key)
        elif tag == "p":
            self._in_error = bool({"uc-error-caption", "uc-error-subcaption"} & style)
        if tag in {"a", "p", "title"} or "flip-entry-title" in style:
            self._text = []

    def handle_data(self, data: str) -> None:
        self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        text = "".join(self._text).strip()
        if tag == "title":
            self.page.title = text
        elif tag == "p" and self._in_error:
            self.page.error = f"{self.page.error} {text}".strip()
            self._in_error = False
        elif tag == "a" and self._link is not None:
            if name := _file_name(text):
                self.page.entries.append(replace(self._link, name=name))
            self._link = None


def _read_page(html: str) -> _Page:
    reader = _PageReader()
    reader.feed(html)
    reader.close()
    return reader.page


def _file_name(text: str) -> str:
    name = text.replace("/", "_").replace("\\", "_")
    return "" if name in {".", ".."} else name


def _resource_key(address: str) -> str | None:
    return next(iter(parse_qs(urlsplit(address).query).get("resourcekey", [])), None)


def _address(file: str, key: str | None) -> str:
    query = {"id": file, "export": "download", "confirm": "t", **({"resourcekey": key} if key else {})}
    return f"{DOWNLOAD}?{urlencode(query)}"


def _view_address(folder: str, key: str | None) -> str:
    return f"{FOLDER_VIEW}?{urlencode({'id': folder, **({'resourcekey': key} if key else {})})}"


def _file_address(source: GoogleDriveSource, file: RemoteFile) -> str | None:
    drive_id = file.id or (None if source.folder else source.id)
    return file.url or (_address(drive_id, None) if drive_id else None)


def _first_requests(source: GoogleDriveSource) -> tuple[str, ...]:
    key = _resource_key(source.page or "")
    return (_view_address(source.id, key) if source.folder else _address(source.id, key),)


def _place(source: GoogleDriveSource) -> str:
    return f"Google Drive {'folder' if source.folder else 'file'} {source.id}"


def _page(source: GoogleDriveSource) -> str:
    return f"https://drive.google.com/{'drive/folders' if source.folder else 'file/d'}/{source.id}"


HOST = Host(
    source=GoogleDriveSource,
    place=_place,
    page=_page,
    list_files=_list_files,
    first_requests=_first_requests,
    file_address=_file_address,
    through_page=_through_page,
)
