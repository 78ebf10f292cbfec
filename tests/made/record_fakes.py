"""Stand-ins for the record hosts: answers in the documented shapes of their APIs, made from a list of (name, bytes).

    answers = record_answers(source, [("scans.zip", b"...")])
    answers.json("https://zenodo.org/api/records/1")          # what the API says
    listing = host_of(source.kind).list_files(source, asking(answers))
    with serve(answers) as server:                            # the same over loopback
        server.mirrors                                        # {"https://zenodo.org": "http://127.0.0.1:.../zenodo.org"}

A server takes the original host name as the first part of the path. Anything with
`answer(url, query, headers) -> (status, headers, body) | None` can be mounted beside these.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from medshard.errors import AcquisitionError
from medshard.registry.hosts.host import Asking

Files = Sequence[tuple[str, bytes]]
Reply = tuple[int, Mapping[str, str], bytes]
Route = Callable[[Mapping[str, str], Mapping[str, str]], Reply]

STORAGE = "https://storage.made.example"
SIGNATURE = "X-Amz-Signature=made-signature"


class Mounted(Protocol):
    """What `serve` can serve. url: the original https address, without query."""

    def answer(self, url: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Reply | None: ...


@dataclass
class Answers:
    """Routes by host and path; an address that is told apart by its query stands with it."""

    routes: dict[str, Route] = field(default_factory=dict)

    def answer(
        self, url: str, query: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply | None:
        place, stated = _place(url)
        asked = {**stated, **(query or {})}
        route = self.routes.get(_with_query(place, asked)) or self.routes.get(place)
        return route(asked, headers or {}) if route else None

    def json(self, url: str) -> Any:
        reply = self.answer(url)
        assert reply is not None, f"nothing answers {url}"
        return json.loads(reply[2])

    def change(self, url: str, edit: Callable[[Any], Any]) -> None:
        """Let the answer of one address be `edit` of what it was."""
        path, stated = _place(url)
        place = _with_query(path, stated) if _with_query(path, stated) in self.routes else path
        before = self.routes[place]

        def route(query: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
            status, told, body = before(query, headers)
            return status, told, json.dumps(edit(json.loads(body))).encode()

        self.routes[place] = route

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(sorted({place.split("/", 1)[0] for place in self.routes}))


def together(*many: Answers) -> Answers:
    return Answers({place: route for answers in many for place, route in answers.routes.items()})


@dataclass(frozen=True)
class MadeFile:
    """A file of a made record: what is stored, and what the record says of it."""

    name: str
    data: bytes
    id: str
    size: int
    md5: str
    sha256: str


def record_answers(
    source: Any, files: Files, *, restricted: bool = False, token: str | None = None, as_stated: bool = False
) -> Answers:
    """What a host answers for a source. restricted: not to everybody, but to whoever sends `token` in a header.

    as_stated: the record shows the sizes and digests of the catalog, for runs that only plan.
    """
    made = [_made_file(source, number, name, data, as_stated) for number, (name, data) in enumerate(files, start=1)]

    def closed(headers: Mapping[str, str]) -> bool:
        return restricted and not (token and any(token in value for value in headers.values()))

    answers = _BUILDERS[source.kind](source, made, closed)
    data = dict(files)
    for file in source.files:
        if file.url and file.name in data:
            place, query = _place(file.url)
            answers.routes[_with_query(place, query)] = _bytes(data[file.name])
    return answers


def made_files(source: Any) -> list[tuple[str, bytes]]:
    """Files that suit a source: those that it names, or one for each of its patterns, or two."""
    names = [file.name for file in source.files]
    names = names or [_name_for(pattern) for pattern in getattr(source, "include", ()) if pattern != "*"]
    return [(name, _made_bytes(name)) for name in names or ["images.zip", "notes/read me.csv"]]


def asking(answers: Answers, headers: Mapping[str, str] | None = None) -> Asking:
    """For `list_files`, without a network. `asking(...).web.asked` lists the addresses asked."""
    return Asking(web=cast(Any, FakeWeb(answers, headers or {})), base=Path(), where="made-entry")


@dataclass
class FakeWeb:
    answers: Answers
    headers: Mapping[str, str]
    asked: list[str] = field(default_factory=list)

    def get_json(self, url: str, *, params: Mapping[str, str] | None = None, where: str) -> Any:
        return json.loads(self.get_text(url, params=params, where=where))

    def get_text(self, url: str, *, params: Mapping[str, str] | None = None, where: str) -> str:
        self.asked.append(url)
        status, _, body = self.answers.answer(url, params, self.headers) or (404, {}, b"")
        if status == 200:
            return body.decode()
        code = {401: "host.refused", 403: "host.refused", 404: "host.gone", 410: "host.gone"}.get(status, "host.answer")
        raise AcquisitionError(code, where=where, problem=f"the host answered {status}", details={"address": url})


# One builder for each kind of host. `closed` tells from the headers whether whoever asks may not see the files.

Closed = Callable[[Mapping[str, str]], bool]


def _zenodo(source: Any, files: list[MadeFile], closed: Closed) -> Answers:
    record = f"zenodo.org/api/records/{source.record}"

    def shown(query: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        hidden = closed(headers)
        told = {
            "id": int(source.record),
            "conceptrecid": str(int(source.record) - 1),
            "revision": 3,
            "metadata": {"title": "Made", "access_right": "restricted" if hidden else "open"},
            "links": {"self": f"https://{record}", "files": f"https://{record}/files"},
        }
        listed = [
            {
                "id": f"00000000-0000-0000-0000-{int(file.id):012d}",
                "key": file.name,
                "size": file.size,
                "checksum": f"md5:{file.md5}",
                "links": {"self": f"https://{record}/files/{_quoted(file.name)}/content"},
            }
            for file in files
        ]
        return _json(told if hidden else {**told, "files": listed})

    content = {f"{record}/files/{file.name}/content": _guarded(_bytes(file.data), closed) for file in files}
    pages = {f"zenodo.org/records/{source.record}/files/{file.name}": _bytes(file.data) for file in files}
    return Answers({record: shown, **content, **pages})


def _figshare(source: Any, files: list[MadeFile], closed: Closed) -> Answers:
    """Of a collection, the first folder of a name is the number of its article; the others are in article 1."""
    api = "api.figshare.com/v2"
    routes: dict[str, Route] = {}
    articles: dict[str, list[dict[str, Any]]] = {source.article: []} if source.article else {}
    for file in files:
        article, name = source.article or "1", file.name
        if source.collection and (parts := file.name.split("/", 1))[0].isdecimal() and len(parts) > 1:
            article, name = parts
        articles.setdefault(article, []).append(
            {
                "id": int(file.id),
                "name": name,
                "size": file.size,
                "is_link_only": False,
                "download_url": f"https://ndownloader.figshare.com/files/{file.id}",
                "supplied_md5": file.md5,
                "computed_md5": file.md5,
                "mimetype": "application/octet-stream",
            }
        )
        routes |= _behind_redirect(f"ndownloader.figshare.com/files/{file.id}", f"figshare/{file.id}", file.data)
    for article, listed in articles.items():
        routes[f"{api}/articles/{article}"] = _figshare_article(int(article), listed, closed)
        routes[f"{api}/articles/{article}/files"] = _pages_of(listed, size=10)
    if source.collection:
        routes[f"{api}/collections/{source.collection}"] = _always(
            {"id": int(source.collection), "title": "Made", "version": 2, "articles_count": len(articles)}
        )
        numbered = [{"id": int(article), "title": f"Made {article}"} for article in articles]
        routes[f"{api}/collections/{source.collection}/articles"] = _pages_of(numbered, size=10)
    return Answers(routes)


def _figshare_article(article: int, listed: list[dict[str, Any]], closed: Closed) -> Route:
    def shown(query: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        hidden = closed(headers)
        told = {"id": article, "title": "Made", "version": 4, "is_embargoed": hidden, "is_confidential": False}
        return _json({**told, "files": [] if hidden else listed[:10]})

    return shown


def _dataverse(source: Any, files: list[MadeFile], closed: Closed) -> Answers:
    """A `.csv` is kept as a table, as Dataverse does: the record speaks of a `.tab` of another size."""
    server = urlsplit(source.server).netloc
    routes: dict[str, Route] = {}
    listed = []
    for file in files:
        path = PurePosixPath(file.name)
        data = {
            "id": int(file.id),
            "filename": path.name,
            "contentType": "application/octet-stream",
            "filesize": file.size,
            "md5": file.md5,
            "checksum": {"type": "MD5", "value": file.md5},
            "tabularData": False,
        }
        label = path.name
        if path.suffix == ".csv":
            label = path.with_suffix(".tab").name
            data |= {
                "filename": label,
                "contentType": "text/tab-separated-values",
                "filesize": file.size + 17,
                "originalFileFormat": "text/csv",
                "originalFileSize": file.size,
                "originalFileName": path.name,
                "checksum": {"type": "MD5", "value": hashlib.md5(b"another form").hexdigest()},
                "tabularData": True,
            }
        folder = {} if str(path.parent) == "." else {"directoryLabel": str(path.parent)}
        listed.append({"label": label, "restricted": False, **folder, "dataFile": data})
        place = f"{server}/api/access/datafile/{file.id}"
        if path.suffix == ".csv":
            routes[place] = _bytes(b"another form")
            place = _with_query(place, {"format": "original"})
        routes[place] = _guarded(_bytes(file.data), closed)
    version = {"versionNumber": 2, "versionMinorNumber": 1, "versionState": "RELEASED", "files": listed}
    place = f"{server}/api/datasets/:persistentId/versions/:latest-published"
    routes[_with_query(place, {"persistentId": f"doi:{source.doi}"})] = _guarded(
        _always({"status": "OK", "data": version}), closed, status=401
    )
    return Answers(routes)


def _mendeley(source: Any, files: list[MadeFile], closed: Closed) -> Answers:
    version = source.version or 3
    api = f"data.mendeley.com/public-api/datasets/{source.dataset}"
    folders: dict[str, dict[str, str]] = {}
    listed: dict[str, list[dict[str, Any]]] = {"root": []}
    routes: dict[str, Route] = {}
    for file in files:
        path = PurePosixPath(file.name)
        parent: str | None = None
        for step in list(reversed(path.parents))[1:]:
            folder = {"id": f"folder-{_short(str(step))}", "name": step.name}
            folders[str(step)] = folder | ({"parent_id": parent} if parent else {})
            parent = folder["id"]
        place = f"data.mendeley.com/public-files/datasets/{source.dataset}/files/file-{file.id}/file_downloaded"
        entry = {
            "id": f"file-{file.id}",
            "filename": path.name,
            "size": file.size,
            "content_details": {
                "id": f"content-{file.id}",
                "sha256_hash": file.sha256,
                "size": file.size,
                "download_url": f"https://{place}",
            },
        }
        listed.setdefault(parent or "root", []).append(entry | ({"folder_id": parent} if parent else {}))
        routes |= _behind_redirect(place, f"mendeley/{file.id}", file.data)

    def in_folder(query: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        if query.get("version") != str(version):
            return _json({"message": "no such version"}, status=404)
        start, limit = int(query.get("$start", 0)), int(query.get("$limit", 100))
        return _json(listed.get(query.get("folder_id", "root"), [])[start : start + limit])

    shown = {
        api: _always({"id": source.dataset, "version": version, "name": "Made"}),
        f"{api}/folders/{version}": _always(list(folders.values())),
        f"{api}/files": in_folder,
    }
    return Answers({place: _guarded(route, closed, status=404) for place, route in shown.items()} | routes)


def _osf(source: Any, files: list[MadeFile], closed: Closed) -> Answers:
    api = f"api.osf.io/v2/nodes/{source.project}/files/osfstorage"
    inside: dict[str, list[dict[str, Any]]] = {"/": []}
    known = {"": "/"}
    routes: dict[str, Route] = {}
    for file in files:
        path = PurePosixPath(file.name)
        for step in list(reversed(path.parents))[1:]:
            if str(step) not in known:
                known[str(step)] = f"/{_short(str(step))}/"
                inside[known[str(step)]] = []
                about = {"kind": "folder", "name": step.name, "path": known[str(step)], "size": None, "guid": None}
                parent = "" if str(step.parent) == "." else str(step.parent)
                inside[known[parent]].append(_osf_item(about | {"materialized_path": f"/{step}/", "extra": {}}))
        hashes = {"md5": file.md5, "sha256": file.sha256}
        stored = f"{_short(file.name)}{file.id}"
        guid = next((named.id for named in source.files if named.name == file.name), None)
        about = {"kind": "file", "name": path.name, "path": f"/{stored}", "size": file.size, "guid": guid}
        parent = "" if str(path.parent) == "." else str(path.parent)
        about |= {"materialized_path": f"/{path}", "extra": {"hashes": hashes, "downloads": 1}}
        inside[known[parent]].append(_osf_item(about))
        storage = f"https://files.osf.io/v1/resources/made/providers/osfstorage/{stored}"
        for name in {guid or stored, stored}:
            routes[f"osf.io/download/{name}/"] = _redirect(storage)
        routes[_place(storage)[0]] = _bytes(file.data)
    for folder, items in inside.items():
        routes[f"{api}{folder}"] = _guarded(_osf_pages(f"https://{api}{folder}", items), closed, status=401)
    return Answers(routes)


def _osf_item(attributes: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": attributes["path"].strip("/"),
        "type": "files",
        "attributes": {**attributes, "provider": "osfstorage"},
    }


def _osf_pages(url: str, items: list[dict[str, Any]]) -> Route:
    def page(query: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        number, size = int(query.get("page", 1)), int(query.get("page[size]", 10))
        more = number * size < len(items)
        links = {"next": f"{url}?page={number + 1}" if more else None, "meta": {"total": len(items), "per_page": size}}
        return _json({"data": items[(number - 1) * size : number * size], "links": links})

    return page


def _github(source: Any, files: list[MadeFile], closed: Closed) -> Answers:
    commit = made_commit(source)
    root = f"{source.repository.rsplit('/', 1)[-1]}-{commit}"
    packed = _zip([(f"{root}/{file.name}", file.data) for file in files])
    routes = {
        f"api.github.com/repos/{source.repository}/commits": _guarded(_always([{"sha": commit}]), closed, status=404),
        f"codeload.github.com/{source.repository}/zip/{commit}": _guarded(
            _bytes(packed, ranges=False), closed, status=404
        ),
    }
    raw = f"raw.githubusercontent.com/{source.repository}/{commit}"
    return Answers(routes | {f"{raw}/{file.name}": _bytes(file.data) for file in files})


def _huggingface(source: Any, files: list[MadeFile], closed: Closed) -> Answers:
    """Files of more than 20 bytes are in LFS. The listing is open to everybody, as it is for gated repositories."""
    commit = made_commit(source)
    siblings: list[dict[str, Any]] = [{"rfilename": ".gitattributes", "size": 2307, "blobId": "a" * 40}]
    routes: dict[str, Route] = {}
    for file in files:
        lfs = {"lfs": {"sha256": file.sha256, "size": file.size, "pointerSize": 134}} if len(file.data) > 20 else {}
        siblings.append({"rfilename": file.name, "size": file.size, "blobId": "b" * 40, **lfs})
        place = f"huggingface.co/datasets/{source.repository}/resolve/{commit}/{file.name}"
        behind = _behind_redirect(place, f"huggingface/{file.sha256}", file.data)
        routes |= behind | {place: _guarded(behind[place], closed)}
    about = {"id": source.repository, "sha": commit, "gated": False, "siblings": siblings}
    routes[f"huggingface.co/api/datasets/{source.repository}/revision/{source.revision or 'main'}"] = _always(about)
    return Answers(routes)


def _http(source: Any, files: list[MadeFile], closed: Closed) -> Answers:
    return Answers()


_BUILDERS: Mapping[str, Callable[[Any, list[MadeFile], Closed], Answers]] = {
    "zenodo": _zenodo,
    "figshare": _figshare,
    "dataverse": _dataverse,
    "mendeley": _mendeley,
    "osf": _osf,
    "github": _github,
    "huggingface": _huggingface,
    "http": _http,
}


def made_commit(source: Any) -> str:
    """The commit that a repository is at: the one that the source pins, or a made one."""
    revision = source.revision or ""
    return revision if re.fullmatch("[0-9a-f]{40}", revision) else hashlib.sha1(source.repository.encode()).hexdigest()


def _made_file(source: Any, number: int, name: str, data: bytes, as_stated: bool) -> MadeFile:
    named = next((file for file in source.files if file.name == name), None)
    kind, _, digest = (named.checksum if named and as_stated and named.checksum else "").partition(":")
    return MadeFile(
        name=name,
        data=data,
        id=named.id if named and named.id else str(9000 + number),
        size=named.size if named and as_stated and named.size else len(data),
        md5=digest if kind == "md5" else hashlib.md5(data).hexdigest(),
        sha256=digest if kind == "sha256" else hashlib.sha256(data).hexdigest(),
    )


def _name_for(pattern: str) -> str:
    first_of_set = re.sub(r"\[(.)[^]]*\]", r"\1", pattern)
    return re.sub(r"\*+", "made", first_of_set).replace("?", "x")


def _made_bytes(name: str) -> bytes:
    content = f"made content of {name}\n".encode() * 3
    if name.endswith(".zip"):
        return _zip([("made.txt", content)])
    for suffix, mode in {".tar": "w:", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.bz2": "w:bz2"}.items():
        if name.endswith(suffix):
            return _tar([("made.txt", content)], mode)
    return content


def _zip(members: Files) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data)
    return packed.getvalue()


def _tar(members: Files, mode: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=cast(Any, mode)) as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


# Routes.


def _json(told: Any, *, status: int = 200) -> Reply:
    return status, {"Content-Type": "application/json"}, json.dumps(told).encode()


def _always(told: Any) -> Route:
    return lambda _query, _headers: _json(told)


def _pages_of(items: list[dict[str, Any]], *, size: int) -> Route:
    def page(query: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        number, each = int(query.get("page", 1)), int(query.get("page_size", size))
        return _json(items[(number - 1) * each : number * each])

    return page


def _guarded(route: Route, closed: Closed, *, status: int = 403) -> Route:
    def guarded(query: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        return _json({"message": "not for you"}, status=status) if closed(headers) else route(query, headers)

    return guarded


def _redirect(address: str) -> Route:
    return lambda _query, _headers: (302, {"Location": address}, b"")


def _behind_redirect(place: str, stored: str, data: bytes) -> dict[str, Route]:
    """A file at `place`, which leads to a signed address of a storage elsewhere."""

    def signed(query: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        if SIGNATURE.partition("=")[2] not in query.values():
            return _json({"message": "unsigned"}, status=403)
        return _bytes(data)(query, headers)

    address = f"{STORAGE}/{stored}"
    return {place: _redirect(f"{address}?{SIGNATURE}"), _place(address)[0]: signed}


def _bytes(data: bytes, *, ranges: bool = True) -> Route:
    return lambda _query, headers: file_reply(data, headers if ranges else {}, ranges=ranges)


def file_reply(data: bytes, headers: Mapping[str, str], *, ranges: bool = True) -> Reply:
    """The bytes, or the part that a `Range` header asks for."""
    asked = {name.lower(): value for name, value in headers.items()}
    told = {"Content-Type": "application/octet-stream"}
    if not ranges:
        return 200, told, data
    told |= {"Accept-Ranges": "bytes", "ETag": f'"{hashlib.sha256(data).hexdigest()[:16]}"'}
    span = re.fullmatch(r"bytes=(\d*)-(\d*)", asked.get("range", ""))
    if span is None or asked.get("if-range", told["ETag"]) != told["ETag"]:
        return 200, told, data
    first, last = _span(span[1], span[2], len(data))
    if first >= len(data) or first > last:
        return 416, told | {"Content-Range": f"bytes */{len(data)}"}, b""
    return 206, told | {"Content-Range": f"bytes {first}-{last}/{len(data)}"}, data[first : last + 1]


def _span(first: str, last: str, size: int) -> tuple[int, int]:
    if not first:
        return max(0, size - int(last or 0)), size - 1
    return int(first), min(int(last), size - 1) if last else size - 1


def _place(url: str) -> tuple[str, dict[str, str]]:
    """Host and path of an address, decoded, and its query. `/host/path` and addresses of the loopback server too."""
    without = re.sub(r"^(https?://127\.0\.0\.1:\d+/|[a-z0-9]+://|/)", "", url)
    path, _, query = without.partition("?")
    return unquote(path), dict(parse_qsl(query, keep_blank_values=True))


def _with_query(place: str, query: Mapping[str, str]) -> str:
    return place + "".join(f"?{name}={value}" for name, value in sorted(query.items()))


def _quoted(name: str) -> str:
    return name.replace("%", "%25").replace(" ", "%20").replace("#", "%23").replace("?", "%3F")


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


# The loopback server.


@dataclass
class Serving:
    """url: `http://127.0.0.1:port`. mirrors: address of each host -> where it is served. requests: what was asked."""

    url: str
    mirrors: dict[str, str]
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)


@contextmanager
def serve(*mounted: Mounted, hosts: Sequence[str] = ()) -> Iterator[Serving]:
    """Serve all of `mounted`; the first that answers an address answers. hosts: further names for `mirrors`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    url = f"http://127.0.0.1:{server.server_address[1]}"
    names = {name for answers in mounted for name in getattr(answers, "hosts", ())} | set(hosts)
    mirrors = {f"{scheme}://{name}": f"{url}/{name}" for name in sorted(names) for scheme in ("https", "http")}
    serving = Serving(url=url, mirrors=mirrors)
    server.mounted, server.serving = mounted, serving  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield serving
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        status, headers, body = self._reply()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, self._on_loopback(value) if name == "Location" else value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.do_GET()

    def _reply(self) -> Reply:
        server = cast(Any, self.server)
        path, _, query = self.path.partition("?")
        asked = dict(parse_qsl(query, keep_blank_values=True))
        headers = dict(self.headers.items())
        server.serving.requests.append((self.path, headers))
        posted = self.rfile.read(int(headers.get("Content-Length", 0))) if self.command == "POST" else None
        for answers in server.mounted:
            reply: Reply | None = (
                answers.answer(f"https:/{path}", asked, headers)
                if posted is None
                else answers.post(f"https:/{path}", json.loads(posted), headers)
                if hasattr(answers, "post")
                else None
            )
            if reply is not None:
                return reply
        return _json({"message": f"no such address: {path}"}, status=404)

    def _on_loopback(self, address: str) -> str:
        return re.sub(r"^https?://(?!127\.0\.0\.1)", f"{cast(Any, self.server).serving.url}/", address)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the name of the base class)
        pass
