"""Kind `zenodo`: a record and its files, through the REST API.

`GET /api/records/{id}`. Fields: `id`; `metadata.access_right` (open, embargoed, restricted, closed); `files`, each with
`key`, `size`, `checksum` (`md5:...`) and `links.self`. The id of a concept leads to its newest version, so the id that
is answered is the revision. The files of a restricted record are shown to those with access, when they send a token.
"""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import Field

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
    bare_address,
    checksum_of,
    closed_record,
    listed_name,
    stated_addresses,
)

ORIGIN = "https://zenodo.org"


class ZenodoSource(RemoteSource):
    kind: Literal["zenodo"]
    record: Annotated[str, Field(pattern=r"^\d+$")]


class _Links(Answer):
    content: Annotated[str, Field(alias="self")]


class _File(Answer):
    key: str
    size: int
    checksum: str = ""
    links: _Links


class _Metadata(Answer):
    access_right: str = "open"


class _Record(Answer):
    id: int | str
    metadata: _Metadata = _Metadata()
    files: tuple[_File, ...] | None = None


def _place(source: ZenodoSource) -> str:
    return f"Zenodo record {source.record}"


def _page(source: ZenodoSource) -> str:
    return f"{ORIGIN}/records/{source.record}"


def _file_address(source: ZenodoSource, file: RemoteFile) -> str | None:
    return file.url or (f"{ORIGIN}/records/{source.record}/files/{quote(file.name)}?download=1")


def _record_address(source: ZenodoSource) -> str:
    return f"{ORIGIN}/api/records/{source.record}"


def _first_requests(source: ZenodoSource) -> tuple[str, ...]:
    return stated_addresses(source) if all_addressed(source) else (_record_address(source),)


def _list_files(source: ZenodoSource, asking: Asking) -> Listing:
    if all_addressed(source):
        return addressed_files(source, lambda file: file.url, asking)
    url = _record_address(source)
    record = ask(_Record, url, asking)
    if not record.files and record.metadata.access_right != "open":
        raise closed_record(
            _page(source),
            asking,
            why=f"its access is {record.metadata.access_right}",
            action="Request access on its page, then set ZENODO_TOKEN to a personal access token of the same account.",
        )
    if record.files is None:
        raise bad_answer(url, asking, field="files", expected="the list of files")
    return Listing(files=tuple(_listed(file, url, asking) for file in record.files), revision=str(record.id))


def _listed(file: _File, url: str, asking: Asking) -> ListedFile:
    return ListedFile(
        name=listed_name(file.key, url, asking),
        address=HttpAddress(url=bare_address(file.links.content, url, asking)),
        size=file.size,
        checksum=checksum_of(*file.checksum.partition(":")[::2]),
    )


HOST = Host(
    source=ZenodoSource,
    place=_place,
    page=_page,
    list_files=_list_files,
    first_requests=_first_requests,
    file_address=_file_address,
    credential=Credential(
        origins=(ORIGIN,),
        read=bearer_token("ZENODO_TOKEN"),
        variables=("ZENODO_TOKEN",),
        how="Request access on the record's page, then make a personal access token under Applications in the settings "
        "of your Zenodo account.",
    ),
)
