"""Kind `mendeley`: one version of a data set of Mendeley Data, through the public API that its own pages use.

`GET /public-api/datasets/{id}` (`version`, the newest), `.../folders/{version}` (`id`, `name`, `parent_id`) and
`.../files?folder_id=&version=`, asked for the root and for each folder (`id`, `filename`, `size`, `folder_id`,
`content_details.sha256_hash`). The API has no published reference; the fields are those that public programs rely on.
Files lie at `/public-files/datasets/{id}/files/{file id}/file_downloaded`, which redirects to a signed address.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal
from urllib.parse import quote

from pydantic import PositiveInt

from medshard.registry.hosts.host import Asking, Host, HttpAddress, ListedFile, Listing, RemoteSource
from medshard.registry.hosts.http import (
    Answer,
    addressed_files,
    all_addressed,
    ask,
    bad_answer,
    checksum_of,
    listed_name,
    stated_addresses,
)
from medshard.registry.schema.model import Text

ORIGIN = "https://data.mendeley.com"
API = f"{ORIGIN}/public-api/datasets"
PAGE_SIZE = 1000
MOST_PAGES = 1000


class MendeleySource(RemoteSource):
    kind: Literal["mendeley"]
    dataset: Text
    version: PositiveInt | None = None


class _Dataset(Answer):
    version: PositiveInt


class _Folder(Answer):
    id: str
    name: str
    parent_id: str | None = None


class _Content(Answer):
    sha256_hash: str | None = None


class _File(Answer):
    id: str
    filename: str
    size: int
    folder_id: str | None = None
    content_details: _Content = _Content()


def _place(source: MendeleySource) -> str:
    return f"Mendeley Data {source.dataset}" + (f" version {source.version}" if source.version else "")


def _page(source: MendeleySource) -> str:
    return f"{ORIGIN}/datasets/{source.dataset}" + (f"/{source.version}" if source.version else "")


def _first_requests(source: MendeleySource) -> tuple[str, ...]:
    if all_addressed(source):
        return stated_addresses(source)
    newest = f"{API}/{source.dataset}"
    return (f"{newest}/folders/{source.version}" if source.version else newest,)


def _list_files(source: MendeleySource, asking: Asking) -> Listing:
    if all_addressed(source):
        return addressed_files(source, lambda file: file.url, asking)
    dataset = f"{API}/{source.dataset}"
    version = source.version or ask(_Dataset, dataset, asking).version
    url = f"{dataset}/folders/{version}"
    paths = _folder_paths({folder.id: folder for folder in ask(list[_Folder], url, asking)}, url, asking)
    listed: dict[str, ListedFile] = {}
    for folder in ("root", *paths):
        for file in _files(f"{dataset}/files?folder_id={quote(folder)}&version={version}", asking):
            path = paths.get(file.folder_id or folder, "")
            listed.setdefault(file.id, _listed(source, file, path, asking))
    return Listing(files=tuple(listed.values()), revision=str(version))


def _folder_paths(folders: Mapping[str, _Folder], url: str, asking: Asking) -> dict[str, str]:
    """Folder id -> its path. A parent that is not among the folders is the root."""

    def steps(folder: _Folder) -> Iterator[str]:
        seen: set[str] = set()
        current: _Folder | None = folder
        while current is not None:
            if current.id in seen:
                raise bad_answer(url, asking, field="parent_id", expected="a tree of folders")
            seen.add(current.id)
            yield current.name
            current = folders.get(current.parent_id or "")

    return {folder.id: "/".join(reversed(list(steps(folder)))) for folder in folders.values()}


def _files(url: str, asking: Asking) -> Iterator[_File]:
    """The files of one folder. A server that knows no pages answers everything each time: nothing new is the end."""
    seen: set[str] = set()
    for page in range(MOST_PAGES):
        files = ask(list[_File], f"{url}&$start={page * PAGE_SIZE}&$limit={PAGE_SIZE}", asking)
        new = [file for file in files if file.id not in seen]
        yield from new
        seen.update(file.id for file in new)
        if len(files) < PAGE_SIZE or not new:
            return
    raise bad_answer(url, asking, field="$start", expected=f"an end within {MOST_PAGES} pages")


def _listed(source: MendeleySource, file: _File, folder: str, asking: Asking) -> ListedFile:
    return ListedFile(
        name=listed_name(f"{folder}/{file.filename}", _page(source), asking),
        id=file.id,
        address=HttpAddress(
            url=f"{ORIGIN}/public-files/datasets/{source.dataset}/files/{quote(file.id)}/file_downloaded"
        ),
        size=file.size,
        checksum=checksum_of("sha256", file.content_details.sha256_hash),
    )


HOST = Host(
    source=MendeleySource,
    place=_place,
    page=_page,
    list_files=_list_files,
    first_requests=_first_requests,
)
