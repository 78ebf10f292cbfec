"""Stand-ins for hosts that ask who you are, for Google Drive and for TCIA: answers made from a list of (name, bytes).

    answers = account_answers(source, [("scans.zip", b"...")])
    listing = host_of(source.kind).list_files(source, asking(answers, {"Authorization": LOGIN}))

They mount beside those of `record_fakes`, in the same `serve`. Files lie on a storage of another host, behind a signed
address; the storage answers 400 to a request that brings an Authorization header along, as the real ones do.
Buckets have no stand-in here: the tests run moto's server.
"""

from __future__ import annotations

import hashlib
import html
import io
import json
import zipfile
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from record_fakes import SIGNATURE, STORAGE, Answers, FakeWeb, Files, Reply, Route, file_reply

from medshard.errors import AcquisitionError
from medshard.registry.hosts.host import Asking

LOGIN = "Basic " + b64encode(b"made-user:made-password").decode()
TOKEN = "Bearer made-token"
SYNAPSE = "repo-prod.prod.sagebase.org"
NBIA = "nbia.cancerimagingarchive.net/nbia-api/services/v4"
DRIVE_DOWNLOAD = "drive.usercontent.google.com/download"

PostRoute = Callable[[Any, Mapping[str, str]], Reply]


@dataclass
class AccountAnswers(Answers):
    """posts: routes of requests that bring JSON, by host and path; `posted` counts how often each was asked."""

    posts: dict[str, PostRoute] = field(default_factory=dict)
    posted: list[str] = field(default_factory=list)

    def post(self, url: str, body: Any, headers: Mapping[str, str] | None = None) -> Reply | None:
        parts = urlsplit(url)
        place = f"{parts.netloc}{parts.path}"
        self.posted.append(place)
        route = self.posts.get(place)
        return route(body, headers or {}) if route else None

    @property
    def hosts(self) -> tuple[str, ...]:
        places = {*self.routes, *self.posts}
        return tuple(sorted({place.split("/", 1)[0].split("?", 1)[0] for place in places}))


@dataclass
class AccountWeb(FakeWeb):
    """`FakeWeb` that also posts."""

    def post_json(self, url: str, *, body: Any, where: str) -> Any:
        self.asked.append(url)
        answers = cast(AccountAnswers, self.answers)
        status, _, content = answers.post(url, body, self.headers) or (404, {}, b"")
        if status == 200:
            return json.loads(content)
        code = {401: "host.refused", 403: "host.refused", 404: "host.gone"}.get(status, "host.answer")
        raise AcquisitionError(code, where=where, problem=f"the host answered {status}", details={"address": url})


def asking(answers: Answers, headers: Mapping[str, str] | None = None) -> Asking:
    """For `list_files`, without a network. `asking(...).web.asked` lists the addresses asked."""
    return Asking(web=cast(Any, AccountWeb(answers, headers or {})), base=Path(), where="made-entry")


def account_answers(
    source: Any,
    files: Files,
    *,
    authorization: str | None = None,
    page_size: int = 200,
    as_stated: bool = False,
) -> AccountAnswers:
    """What a host answers for a source. authorization: the header that it asks for; None lets everybody in.

    page_size: files on a page of a listing. as_stated: the host states the digests of the catalog, for runs that only
    plan.
    """

    def closed(headers: Mapping[str, str]) -> bool:
        given = {name.lower(): value for name, value in headers.items()}.get("authorization")
        return authorization is not None and given != authorization

    made = [MadeObject(source, number, name, data, as_stated) for number, (name, data) in enumerate(files, start=1)]
    return _BUILDERS[source.kind](source, made, closed, page_size)


class MadeObject:
    """A file of a made host: where it is, and what the host says of it."""

    def __init__(self, source: Any, number: int, name: str, data: bytes, as_stated: bool) -> None:
        named = next((file for file in source.files if file.name == name), None)
        stated = named.checksum if named and as_stated else None
        self.name, self.data, self.number = name, data, number
        self.id = named.id if named and named.id else made_id(source, number)
        self.size = named.size if named and as_stated and named.size else len(data)
        self.md5 = stated[4:] if stated and stated.startswith("md5:") else hashlib.md5(data).hexdigest()
        self.sha256 = stated[7:] if stated and stated.startswith("sha256:") else hashlib.sha256(data).hexdigest()


def made_id(source: Any, what: object) -> str:
    digits = str(int(hashlib.sha256(f"{source!r}{what}".encode()).hexdigest()[:12], 16))
    return f"syn{digits}" if source.kind == "synapse" else f"1made{digits:0>24}"


Closed = Callable[[Mapping[str, str]], bool]
Made = Sequence[MadeObject]


def _kaggle(source: Any, files: Made, closed: Closed, page_size: int) -> AccountAnswers:
    """Answers of competitions have `files`, those of data sets `datasetFiles`, as documented."""
    kind, name = ("datasets", source.dataset) if source.dataset else ("competitions/data", source.competition)
    api = f"www.kaggle.com/api/v1/{kind}"
    listed = [{"name": file.name, "totalBytes": file.size, "creationDate": "2024-01-01T00:00:00Z"} for file in files]

    def page(query: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        start, size = int(query.get("pageToken", 0)), min(int(query.get("pageSize", 20)), page_size)
        following = {"nextPageToken": str(start + size)} if start + size < len(listed) else {}
        return _json({"datasetFiles" if source.dataset else "files": listed[start : start + size], **following})

    whole = f"{api}/download/{name}" if source.dataset else f"{api}/download-all/{name}"
    routes = {f"{api}/list/{name}": _guarded(page, closed, 401)}
    routes |= _behind(whole, f"kaggle/{name}.zip", _zip([(file.name, file.data) for file in files]), closed, 401)
    for file in files:
        routes |= _behind(f"{api}/download/{name}/{file.name}", f"kaggle/{name}/{file.name}", file.data, closed, 401)
    return AccountAnswers(routes)


def _synapse(source: Any, files: Made, closed: Closed, page_size: int) -> AccountAnswers:
    """Folders are made from the names; every file has a preview with a handle of its own."""
    children: dict[str, list[dict[str, str]]] = {source.id: []}
    posts: dict[str, PostRoute] = {}
    routes: dict[str, Route] = {}
    for file in files:
        parent = source.id
        for step in list(reversed(PurePosixPath(file.name).parents))[1:]:
            folder = made_id(source, f"folder {step}")
            if folder not in children:
                children[folder] = []
                children[parent].append(_header(folder, step.name, "Folder"))
            parent = folder
        handle = str(7_000_000 + file.number)
        name = PurePosixPath(file.name).name
        children[parent].append(_header(file.id, name, "FileEntity"))
        handles = [
            {"id": f"{handle}9", "contentMd5": "0" * 32, "contentSize": 5, "isPreview": True},
            {"id": handle, "contentMd5": file.md5, "contentSize": file.size, "isPreview": False},
        ]
        entity = {"id": file.id, "name": name, "dataFileHandleId": handle}
        bundle = {"entity": entity, "entityType": "file", "fileHandles": handles}
        posts[f"{SYNAPSE}/repo/v1/entity/{file.id}/bundle2"] = _posted(bundle, closed)
        asked = {"fileAssociateType": "FileEntity", "fileAssociateId": file.id}
        place = _with_query(f"{SYNAPSE}/file/v1/file/{handle}", asked)
        routes |= _behind(place, f"synapse/{file.id}", file.data, closed, 403, status=307)
    root = {"entity": {"id": source.id, "name": "Made"}, "entityType": "project", "fileHandles": []}
    posts.setdefault(f"{SYNAPSE}/repo/v1/entity/{source.id}/bundle2", _posted(root, closed))

    def page(body: Any, headers: Mapping[str, str]) -> Reply:
        if closed(headers):
            return _json({"reason": "not for you"}, status=403)
        inside = children.get(body["parentId"])
        if inside is None:
            return _json({"reason": "no such entity"}, status=404)
        start = int(body.get("nextPageToken") or 0)
        more = str(start + page_size) if start + page_size < len(inside) else None
        return _json({"page": inside[start : start + page_size], "nextPageToken": more})

    return AccountAnswers(routes, {**posts, f"{SYNAPSE}/repo/v1/entity/children": page})


def _header(entity: str, name: str, kind: str) -> dict[str, str]:
    return {"id": entity, "name": name, "type": f"org.sagebionetworks.repo.model.{kind}"}


def _physionet(source: Any, files: Made, closed: Closed, page_size: int) -> AccountAnswers:
    """Both a list of digests and the pages of the folders; drop the former from `routes` for a project without it."""
    root = f"physionet.org/files/{source.project}/{source.version}/"
    routes: dict[str, Route] = {f"{root}{file.name}": _file(file.data) for file in files}
    sums = "".join(f"{file.sha256} {file.name}\n" for file in files)
    routes[f"{root}SHA256SUMS.txt"] = _text(sums)
    folders: dict[str, list[str]] = {"": ["SHA256SUMS.txt"]}
    for file in files:
        parts = file.name.split("/")
        for depth in range(len(parts)):
            above, link = "".join(f"{part}/" for part in parts[:depth]), parts[depth]
            link += "/" if depth < len(parts) - 1 else ""
            folders.setdefault(above, [])
            folders[above] += [] if link in folders[above] else [link]
    for folder, links in folders.items():
        lines = "".join(f'<a href="{html.escape(link)}">{html.escape(link)}</a>  01-Jan-2024  10\n' for link in links)
        routes[root + folder] = _text(f'<html><h1>Index of /{folder}</h1><pre><a href="../">../</a>\n{lines}</pre>')
    zipped = _zip([(f"made-title-{source.version}/{file.name}", file.data) for file in files])
    routes[f"physionet.org/content/{source.project}/get-zip/{source.version}/"] = _file(zipped)
    return AccountAnswers({place: _guarded(route, closed, 403) for place, route in routes.items()})


def _tcia(source: Any, files: Made, closed: Closed, page_size: int) -> AccountAnswers:
    """A series per file, `patient/name`; a manifest that the catalog names lists them all. No files: an unknown one."""
    seed = int(hashlib.sha256(source.collection.encode()).hexdigest()[:8], 16)
    listed, routes = [], dict[str, Route]()
    for file in files:
        uid = f"1.3.6.1.4.1.14519.{seed}.{file.number}"
        patient, _, name = file.name.rpartition("/")
        series = {
            "Collection": source.collection,
            "PatientID": patient or f"MADE-{file.number:03d}",
            "StudyInstanceUID": f"{uid}.1",
            "SeriesInstanceUID": uid,
            "Modality": "CT",
            "ImageCount": 1,
            "FileSize": len(file.data),
        }
        listed.append(series)
        packed = _zip([("LICENSE", b"made"), (name, file.data)])
        asked = {"NewFileNames": "Yes", "SeriesInstanceUID": uid}
        routes[_with_query(f"{NBIA}/getImage", asked)] = _file(packed, ranges=False)
        routes[_with_query(f"{NBIA}/getSeries", {"SeriesInstanceUID": uid})] = _always([series])
    collection = _with_query(f"{NBIA}/getSeries", {"Collection": source.collection})
    routes[collection] = _always(listed) if listed else _text("")
    manifest = "downloadServerUrl=https://made.example\nmanifestVersion=3.0\nListOfSeriesToDownload=\n"
    for named in source.files:
        parts = urlsplit(named.url)
        uids = "".join(f"{series['SeriesInstanceUID']}\n" for series in listed)
        routes[f"{parts.netloc}{unquote(parts.path)}"] = _text(manifest + uids)
    return AccountAnswers(routes)


def _gdrive(source: Any, files: Made, closed: Closed, page_size: int) -> AccountAnswers:
    """A file has the id of the source; the files of a folder have ids of their own, or those that the catalog gives."""
    routes: dict[str, Route] = {}
    if not source.folder:
        drive_id = next((named.id for named in source.files if named.id), source.id)
        return AccountAnswers({_drive_place(drive_id): _file(files[0].data)})
    inside: dict[str, list[tuple[str, str, str]]] = {source.id: []}
    for file in files:
        parent = source.id
        for step in list(reversed(PurePosixPath(file.name).parents))[1:]:
            folder = made_id(source, f"folder {step}")
            if folder not in inside:
                inside[folder] = []
                inside[parent].append((folder, step.name, f"https://drive.google.com/drive/folders/{folder}"))
            parent = folder
        link = f"https://drive.google.com/file/d/{file.id}/view?usp=drive_web"
        inside[parent].append((file.id, PurePosixPath(file.name).name, link))
        routes[_drive_place(file.id)] = _file(file.data)
    for folder, entries in inside.items():
        view = _with_query("drive.google.com/embeddedfolderview", {"id": folder})
        routes[view] = _text(folder_view(entries))
    # Older folders are asked with a key beside their id, which the stand-in does not look at.
    key = (source.page or "").partition("resourcekey=")[2]
    if key:
        place = "drive.google.com/embeddedfolderview"
        routes[_with_query(place, {"id": source.id, "resourcekey": key})] = routes[
            _with_query(place, {"id": source.id})
        ]
    return AccountAnswers(routes)


def folder_view(entries: Sequence[tuple[str, str, str]]) -> str:
    """The page of a folder. entries: id, name and link."""
    lines = "".join(
        f'<div class="flip-entry" id="entry-{drive_id}" tabindex="0" role="link"><div class="flip-entry-info">'
        f'<a href="{html.escape(link)}" target="_blank"><div class="flip-entry-visual"><img alt=""/></div>'
        f'<div class="flip-entry-title">{html.escape(name)}</div></a></div>'
        '<div class="flip-entry-last-modified"><div>1/1/24</div></div></div>'
        for drive_id, name, link in entries
    )
    return f'<html><head><title>Made</title></head><body><div class="flip-entries">{lines}</div></body></html>'


def large_file_page(drive_id: str, *, action: str = f"https://{DRIVE_DOWNLOAD}") -> str:
    """What Google Drive puts before files that it does not scan for viruses."""
    hidden = {"id": drive_id, "export": "download", "confirm": "t", "uuid": "0f0e-made"}
    inputs = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in hidden.items())
    return (
        "<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head><body>"
        '<p class="uc-warning-caption">Google Drive cannot scan this file for viruses.</p>'
        f'<form id="download-form" action="{action}" method="get"><input type="submit" value="Download anyway"/>'
        f"{inputs}</form></body></html>"
    )


def behind_large_file_page(drive_id: str, data: bytes) -> AccountAnswers:
    """A large file: the page comes first, and its form leads to the bytes."""
    confirmed = {"id": drive_id, "export": "download", "confirm": "t", "uuid": "0f0e-made"}
    return AccountAnswers(
        {
            _drive_place(drive_id): _text(large_file_page(drive_id)),
            _with_query(DRIVE_DOWNLOAD, confirmed): _file(data),
        }
    )


def quota_page() -> str:
    """What Google Drive answers when a file was fetched too often."""
    return (
        "<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head><body>"
        '<p class="uc-error-caption">Sorry, this file cannot be viewed or downloaded at this time.</p>'
        '<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently.</p></body></html>'
    )


def sign_in_page() -> str:
    return "<html><head><title>Google Drive: Sign-in</title></head><body><form action='/login'></form></body></html>"


def _nothing(source: Any, files: Made, closed: Closed, page_size: int) -> AccountAnswers:
    return AccountAnswers()


_BUILDERS: Mapping[str, Callable[[Any, Made, Closed, int], AccountAnswers]] = {
    "kaggle": _kaggle,
    "synapse": _synapse,
    "physionet": _physionet,
    "tcia": _tcia,
    "gdrive": _gdrive,
    "grand-challenge": _nothing,
    "manual": _nothing,
}


def _drive_place(drive_id: str) -> str:
    return _with_query(DRIVE_DOWNLOAD, {"id": drive_id, "export": "download", "confirm": "t"})


def _with_query(place: str, query: Mapping[str, str]) -> str:
    """As `record_fakes` keys routes that are told apart by their query."""
    return place + "".join(f"?{name}={value}" for name, value in sorted(query.items()))


def _behind(
    place: str, stored: str, data: bytes, closed: Closed, refusal: int, *, status: int = 302
) -> dict[str, Route]:
    """A file at `place` for those who are let in, which leads to a signed address of the storage."""

    def signed(query: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        if "authorization" in {name.lower() for name in headers}:
            return _json({"message": "two ways to sign in"}, status=400)
        if SIGNATURE.partition("=")[2] not in query.values():
            return _json({"message": "unsigned"}, status=403)
        return file_reply(data, headers)

    def redirect(query: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        return status, {"Location": f"{STORAGE}/{stored.replace(' ', '%20')}?{SIGNATURE}"}, b""

    return {place: _guarded(redirect, closed, refusal), f"{urlsplit(STORAGE).netloc}/{stored}": signed}


def _guarded(route: Route, closed: Closed, refusal: int) -> Route:
    def guarded(query: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        return _json({"message": "not for you"}, status=refusal) if closed(headers) else route(query, headers)

    return guarded


def _posted(told: Any, closed: Closed) -> PostRoute:
    def answered(body: Any, headers: Mapping[str, str]) -> Reply:
        return _json({"reason": "not for you"}, status=403) if closed(headers) else _json(told)

    return answered


def _file(data: bytes, *, ranges: bool = True) -> Route:
    def sent(query: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        return file_reply(data, headers, ranges=ranges)

    return sent


def _always(told: Any) -> Route:
    return _constant(_json(told))


def _text(told: str) -> Route:
    return _constant((200, {"Content-Type": "text/html; charset=utf-8"}, told.encode()))


def _constant(reply: Reply) -> Route:
    def answered(query: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        return reply

    return answered


def _json(told: Any, *, status: int = 200) -> Reply:
    return status, {"Content-Type": "application/json"}, json.dumps(told).encode()


def _zip(members: Files) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data)
    return packed.getvalue()
