"""Kind `osf`: the storage of an OSF project, or single files by their id, through the API v2.

`GET /v2/nodes/{project}/files/osfstorage/` by pages (`page`, `page[size]`, until `links.next` is null), then the same
below the `path` of each folder. Fields, per item of `data`: `attributes.kind` (file, folder), `attributes.path` (an id
between slashes), `attributes.materialized_path`, `attributes.guid`, `attributes.size`, `attributes.extra.hashes`.
Files lie at `https://osf.io/download/{id}/`, which redirects to the storage. Components and add-on storage of a project
(such as Dropbox) are not listed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from medshard.registry.hosts.host import (
    Asking,
    Credential,
    Host,
    HttpAddress,
    ListedFile,
    Listing,
    RemoteFile,
    RemoteSource,
    bearer_token,
)
from medshard.registry.hosts.http import (
    Answer,
    addressed_files,
    all_addressed,
    ask,
    bad_answer,
    checksum_of,
    listed_name,
)

API = "https://api.osf.io/v2"
PAGE_SIZE = 100
MOST_PAGES = 1000


class OsfSource(RemoteSource):
    """A project of OSF, or single files by their id."""

    kind: Literal["osf"]
    project: str | None = None


class _Hashes(Answer):
    sha256: str | None = None
    md5: str | None = None


class _Extra(Answer):
    hashes: _Hashes = _Hashes()


class _Attributes(Answer):
    kind: Literal["file", "folder"]
    path: str
    materialized_path: str
    guid: str | None = None
    size: int | None = None
    extra: _Extra = _Extra()


class _Item(Answer):
    attributes: _Attributes


class _Links(Answer):
    next: str | None


class _Page(Answer):
    data: tuple[_Item, ...]
    links: _Links


def _place(source: OsfSource) -> str:
    return "OSF" + (f" {source.project}" if source.project else "")


def _page(source: OsfSource) -> str | None:
    return f"https://osf.io/{source.project}" if source.project else None


def _file_address(source: OsfSource, file: RemoteFile) -> str | None:  # noqa: ARG001 (the interface of all hosts)
    return file.url or (_download_address(file.id) if file.id else None)


def _download_address(file_id: str) -> str:
    return f"https://osf.io/download/{file_id}/"


def _folder_address(source: OsfSource, folder: str, page: int) -> str:
    return f"{API}/nodes/{source.project}/files/osfstorage{folder}?page%5Bsize%5D={PAGE_SIZE}&page={page}"


def _first_requests(source: OsfSource) -> tuple[str, ...]:
    if _without_asking(source):
        return tuple(_file_address(source, file) or "" for file in source.files)
    return (_folder_address(source, "/", 1),)


def _without_asking(source: OsfSource) -> bool:
    return all_addressed(source) or not source.project


def _list_files(source: OsfSource, asking: Asking) -> Listing:
    if _without_asking(source):
        return addressed_files(source, lambda file: _file_address(source, file), asking)
    folders, listed = ["/"], []
    for folder in folders:
        for item in _items(source, folder, asking):
            if item.kind == "folder" and item.path not in folders:
                folders.append(item.path)
            elif item.kind == "file":
                listed.append(_listed(item, _folder_address(source, folder, 1), asking))
    return Listing(files=tuple(listed))


def _items(source: OsfSource, folder: str, asking: Asking) -> Iterator[_Attributes]:
    for number in range(1, MOST_PAGES + 1):
        page = ask(_Page, _folder_address(source, folder, number), asking)
        yield from (item.attributes for item in page.data)
        if page.links.next is None:
            return
    raise bad_answer(
        _folder_address(source, folder, 1), asking, field="links.next", expected=f"an end within {MOST_PAGES} pages"
    )


def _listed(item: _Attributes, url: str, asking: Asking) -> ListedFile:
    file_id = item.guid or item.path.strip("/")
    hashes = item.extra.hashes
    return ListedFile(
        name=listed_name(item.materialized_path, url, asking),
        id=file_id,
        address=HttpAddress(url=_download_address(file_id)),
        size=item.size,
        checksum=checksum_of("sha256", hashes.sha256) or checksum_of("md5", hashes.md5),
    )


HOST = Host(
    source=OsfSource,
    place=_place,
    page=_page,
    list_files=_list_files,
    first_requests=_first_requests,
    file_address=_file_address,
    credential=Credential(
        origins=("https://api.osf.io", "https://osf.io", "https://files.osf.io"),
        read=bearer_token("OSF_TOKEN"),
        variables=("OSF_TOKEN",),
        how="Ask the owner of the project for access, then make a personal access token with the scope osf.full_read "
        "in the settings of your OSF account.",
    ),
)
