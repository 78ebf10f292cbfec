"""Kind `figshare`: an article, a collection of articles, or single files by their id, through the API v2.

`GET /v2/articles/{id}`. Fields: `version`, `is_embargoed`, `is_confidential`, and `files`, each with `id`, `name`,
`size`, `computed_md5`, `is_link_only`, `download_url`. That list may be cut for articles of many files, so a long
one is asked again by pages: `GET /v2/articles/{id}/files?page=&page_size=`. A collection: `GET /v2/collections/{id}`
(`version`) and `GET /v2/collections/{id}/articles` by pages (`id`). Files come from ndownloader, which redirects to a
signed address.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Literal, TypeVar

from pydantic import Field

from medshard.registry.hosts.host import (
    Asking,
    Host,
    HttpAddress,
    ListedFile,
    Listing,
    RemoteFile,
    RemoteSource,
)
from medshard.registry.hosts.http import (
    Answer,
    addressed_files,
    all_addressed,
    ask,
    bad_answer,
    checksum_of,
    closed_record,
    listed_name,
)

API = "https://api.figshare.com/v2"
PAGE_SIZE = 100
# From this many files on, the list in the article's own record is not trusted to be whole.
FILES_IN_RECORD = 10
MOST_PAGES = 1000


class FigshareSource(RemoteSource):
    """An article or a collection of figshare, or single files by their id."""

    kind: Literal["figshare"]
    article: Annotated[str, Field(pattern=r"^\d+$")] | None = None
    collection: Annotated[str, Field(pattern=r"^\d+$")] | None = None


class _File(Answer):
    id: int
    name: str
    size: int
    computed_md5: str = ""
    is_link_only: bool = False
    download_url: str = ""


class _Article(Answer):
    files: tuple[_File, ...]
    version: int | None = None
    is_embargoed: bool = False
    is_confidential: bool = False


class _Numbered(Answer):
    id: int


class _Collection(Answer):
    version: int | None = None


P = TypeVar("P", _File, _Numbered)


def _place(source: FigshareSource) -> str:
    words = ["figshare"]
    words += [f"article {source.article}"] if source.article else []
    words += [f"collection {source.collection}"] if source.collection else []
    return " ".join(words)


def _file_address(source: FigshareSource, file: RemoteFile) -> str | None:  # noqa: ARG001 (the interface of all hosts)
    return file.url or (_download_address(file.id) if file.id else None)


def _download_address(file_id: int | str) -> str:
    return f"https://ndownloader.figshare.com/files/{file_id}"


def _first_requests(source: FigshareSource) -> tuple[str, ...]:
    if _without_asking(source):
        return tuple(_file_address(source, file) or "" for file in source.files)
    if source.article:
        return (f"{API}/articles/{source.article}",)
    return (f"{API}/collections/{source.collection}",)


def _without_asking(source: FigshareSource) -> bool:
    return all_addressed(source) or not (source.article or source.collection)


def _list_files(source: FigshareSource, asking: Asking) -> Listing:
    if _without_asking(source):
        return addressed_files(source, lambda file: _file_address(source, file), asking)
    if source.article:
        return _article(source.article, asking)
    return _collection(str(source.collection), asking)


def _article(article: str, asking: Asking) -> Listing:
    url = f"{API}/articles/{article}"
    answer = ask(_Article, url, asking)
    if not answer.files and (answer.is_embargoed or answer.is_confidential):
        raise closed_record(
            f"https://figshare.com/articles/dataset/_/{article}",
            asking,
            why="it is under embargo" if answer.is_embargoed else "it is confidential",
            action="Its page says until when. Files that the owner sends you go into the inbox of the entry.",
        )
    files = answer.files if len(answer.files) < FILES_IN_RECORD else tuple(_pages(_File, f"{url}/files", asking))
    listed = tuple(_listed(file, url, asking) for file in files)
    return Listing(files=_told_apart(listed), revision=_text(answer.version))


def _collection(collection: str, asking: Asking) -> Listing:
    url = f"{API}/collections/{collection}"
    version = ask(_Collection, url, asking).version
    articles = {str(item.id): None for item in _pages(_Numbered, f"{url}/articles", asking)}
    listings = {article: _article(article, asking).files for article in articles}
    times = Counter(name for files in listings.values() for name in {file.name for file in files})
    files = tuple(
        replace(file, name=f"{article}/{file.name}") if times[file.name] > 1 else file
        for article, listed in listings.items()
        for file in listed
    )
    return Listing(files=files, revision=_text(version))


def _pages(shape: type[P], url: str, asking: Asking) -> Iterator[P]:
    for page in range(1, MOST_PAGES + 1):
        items: list[P] = ask(list[shape], f"{url}?page={page}&page_size={PAGE_SIZE}", asking)  # type: ignore[valid-type]
        yield from items
        if len(items) < PAGE_SIZE:
            return
    raise bad_answer(url, asking, field="page", expected=f"an end within {MOST_PAGES} pages")


def _listed(file: _File, url: str, asking: Asking) -> ListedFile:
    outside = file.is_link_only and file.download_url
    return ListedFile(
        name=listed_name(file.name, url, asking),
        id=str(file.id),
        address=HttpAddress(url=file.download_url if outside else _download_address(file.id)),
        size=None if outside else file.size,
        checksum=checksum_of("md5", file.computed_md5),
    )


def _told_apart(files: tuple[ListedFile, ...]) -> tuple[ListedFile, ...]:
    """Files of one name in one article lie in folders of their ids."""
    times = Counter(file.name for file in files)
    return tuple(replace(file, name=f"{file.id}/{file.name}") if times[file.name] > 1 else file for file in files)


def _text(version: int | None) -> str | None:
    return None if version is None else str(version)


HOST = Host(
    source=FigshareSource,
    place=_place,
    list_files=_list_files,
    first_requests=_first_requests,
    file_address=_file_address,
)
