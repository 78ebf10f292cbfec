"""Kind `dataverse`: a dataset of any Dataverse installation, through its native API.

`GET /api/datasets/:persistentId/versions/:latest-published?persistentId=doi:...`. Fields, below `data`:
`versionNumber`, `versionMinorNumber`, and `files`, each with `label`, `directoryLabel` and `dataFile` (`id`,
`filesize`, `checksum.type`, `checksum.value`, `tabularData`, `originalFileName`, `originalFileSize`).

Tables are kept by Dataverse in a form of its own; we take the file that was deposited (`format=original`). The digest
and size of the record are those of the other form and do not hold. Restricted files are listed for everybody; fetching
one without a token that may see it is refused by the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

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
    Secret,
)
from medshard.registry.hosts.http import (
    Answer,
    addressed_files,
    all_addressed,
    ask,
    checksum_of,
    listed_name,
    stated_addresses,
)
from medshard.registry.schema.model import WebAddress


class DataverseSource(RemoteSource):
    kind: Literal["dataverse"]
    server: WebAddress
    doi: Annotated[str, Field(pattern=r"^10\.\d{4,9}/\S+$")]


class _Checksum(Answer):
    type: str
    value: str


class _DataFile(Answer):
    id: int
    filesize: int
    checksum: _Checksum | None = None
    tabularData: bool = False  # noqa: N815 (the host's spelling)
    originalFileName: str | None = None  # noqa: N815
    originalFileSize: int | None = None  # noqa: N815


class _File(Answer):
    label: str
    directoryLabel: str = ""  # noqa: N815
    dataFile: _DataFile  # noqa: N815


class _Version(Answer):
    versionNumber: int  # noqa: N815
    versionMinorNumber: int = 0  # noqa: N815
    files: tuple[_File, ...]


class _Envelope(Answer):
    data: _Version


def _place(source: DataverseSource) -> str:
    return f"Dataverse doi:{source.doi}"


def _server(source: DataverseSource) -> str:
    return source.server.rstrip("/")


def _page(source: DataverseSource) -> str:
    return f"{_server(source)}/dataset.xhtml?persistentId=doi:{source.doi}"


def _file_address(source: DataverseSource, file: RemoteFile) -> str | None:
    return file.url or (_download_address(source, file.id) if file.id else None)


def _download_address(source: DataverseSource, file_id: int | str) -> str:
    return f"{_server(source)}/api/access/datafile/{file_id}"


def _version_address(source: DataverseSource) -> str:
    version = "/api/datasets/:persistentId/versions/:latest-published"
    return f"{_server(source)}{version}?persistentId=doi:{source.doi}"


def _first_requests(source: DataverseSource) -> tuple[str, ...]:
    return stated_addresses(source) if all_addressed(source) else (_version_address(source),)


def _list_files(source: DataverseSource, asking: Asking) -> Listing:
    if all_addressed(source):
        return addressed_files(source, lambda file: file.url, asking)
    url = _version_address(source)
    version = ask(_Envelope, url, asking).data
    return Listing(
        files=tuple(_listed(source, file, url, asking) for file in version.files),
        revision=f"{version.versionNumber}.{version.versionMinorNumber}",
    )


def _listed(source: DataverseSource, file: _File, url: str, asking: Asking) -> ListedFile:
    data = file.dataFile
    address = _download_address(source, data.id)
    if data.tabularData:
        return ListedFile(
            name=listed_name(f"{file.directoryLabel}/{data.originalFileName or file.label}", url, asking),
            id=str(data.id),
            address=HttpAddress(url=f"{address}?format=original"),
            size=data.originalFileSize,
        )
    return ListedFile(
        name=listed_name(f"{file.directoryLabel}/{file.label}", url, asking),
        id=str(data.id),
        address=HttpAddress(url=address),
        size=data.filesize,
        checksum=checksum_of(data.checksum.type, data.checksum.value) if data.checksum else None,
    )


def _read(environment: Mapping[str, str]) -> Secret | None:
    token = environment.get("DATAVERSE_TOKEN", "").strip()
    return Secret(headers={"X-Dataverse-key": token}) if token else None


HOST = Host(
    source=DataverseSource,
    place=_place,
    page=_page,
    list_files=_list_files,
    first_requests=_first_requests,
    file_address=_file_address,
    credential=Credential(
        # Every installation has a server of its own: no origin here means the `server` of the source, and no other.
        origins=(),
        read=_read,
        variables=("DATAVERSE_TOKEN",),
        how="Log in at the Dataverse server of the data set, request access to the files there, and make an API token "
        "in the menu of your account.",
    ),
)
