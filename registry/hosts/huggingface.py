"""Kind `huggingface`: the files of a data set repository at one commit, through the Hub API.

`GET /api/datasets/{repository}/revision/{revision}?blobs=true`. Fields: `sha`, the commit that the revision is now, and
`siblings`, each with `rfilename`, `size` and, for files in LFS, `lfs.sha256`. Every address names the commit, so a
branch that moves between listing and download changes nothing. The endpoint is HF_ENDPOINT where it is set, as for the
Hub's own client. Repositories behind an agreement are listed for everybody; their files need a token.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote, urlsplit

from pydantic import Field

from medshard.errors import AcquisitionError
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
from medshard.registry.hosts.selection import require_selection, select

HUB = "https://huggingface.co"
# The Hub's own client does not trust `siblings` of a larger repository to be complete.
MOST_FILES = 50_000


class HuggingFaceSource(RemoteSource):
    """A data set repository. `revision` pins a commit; without one the newest is taken and remembered."""

    kind: Literal["huggingface"]
    repository: Annotated[str, Field(pattern=r"^[^/\s]+/[^/\s]+$")]
    revision: str | None = None
    include: tuple[str, ...] = ("*",)


class _Lfs(Answer):
    sha256: str | None = None


class _Sibling(Answer):
    rfilename: str
    size: int | None = None
    lfs: _Lfs | None = None


class _Repository(Answer):
    sha: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    siblings: tuple[_Sibling, ...]


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or HUB


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"


def _place(source: HuggingFaceSource) -> str:
    return f"Hugging Face {source.repository}" + (f" at {source.revision}" if source.revision else "")


def _page(source: HuggingFaceSource) -> str:
    return f"{HUB}/datasets/{source.repository}"


def _file_address(source: HuggingFaceSource, file: RemoteFile) -> str | None:
    return file.url or f"{_page(source)}/resolve/{source.revision or 'main'}/{quote(file.name)}"


def _listing_address(source: HuggingFaceSource) -> str:
    revision = quote(source.revision or "main", safe="")
    return f"{_endpoint()}/api/datasets/{source.repository}/revision/{revision}?blobs=true"


def _first_requests(source: HuggingFaceSource) -> tuple[str, ...]:
    return stated_addresses(source) if all_addressed(source) else (_listing_address(source),)


def _list_files(source: HuggingFaceSource, asking: Asking) -> Listing:
    if all_addressed(source):
        return addressed_files(source, lambda file: file.url, asking)
    url = _listing_address(source)
    repository = ask(_Repository, url, asking)
    if len(repository.siblings) > MOST_FILES:
        raise _too_many(source, len(repository.siblings), asking)
    siblings = {file.rfilename: file for file in repository.siblings if file.rfilename != ".gitattributes"}
    selected = select(siblings, source.include)
    if siblings:
        require_selection(selected, source.include, where=asking.where, seen=siblings)
    files = tuple(_listed(source, siblings[path], repository.sha, url, asking) for path in selected)
    return Listing(files=files, revision=repository.sha)


def _listed(source: HuggingFaceSource, file: _Sibling, commit: str, url: str, asking: Asking) -> ListedFile:
    return ListedFile(
        name=listed_name(file.rfilename, url, asking),
        address=HttpAddress(url=f"{_endpoint()}/datasets/{source.repository}/resolve/{commit}/{quote(file.rfilename)}"),
        size=file.size,
        checksum=checksum_of("sha256", file.lfs.sha256) if file.lfs else None,
    )


def _too_many(source: HuggingFaceSource, count: int, asking: Asking) -> AcquisitionError:
    return AcquisitionError(
        "host.answer",
        where=asking.where,
        problem=f"{source.repository} has so many files that the Hub's list of them may be cut",
        details={"field": "siblings", "listed": count, "trusted up to": MOST_FILES},
        action="Fetch the repository with the Hub's own client, and describe it as a `folder` source.",
    )


def _read(environment: Mapping[str, str]) -> Secret | None:
    token = environment.get("HF_TOKEN", "").strip() or _stored_token(environment)
    return Secret(headers={"Authorization": f"Bearer {token}"}) if token else None


def _stored_token(environment: Mapping[str, str]) -> str:
    """What the login of the Hub's own client left: HF_TOKEN_PATH, or `token` of HF_HOME or ~/.cache/huggingface."""
    home = Path(environment["HOME"]) if "HOME" in environment else Path.home()
    cache = Path(environment.get("HF_HOME") or home / ".cache" / "huggingface")
    path = Path(environment.get("HF_TOKEN_PATH") or cache / "token").expanduser()
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


HOST = Host(
    source=HuggingFaceSource,
    place=_place,
    page=_page,
    list_files=_list_files,
    first_requests=_first_requests,
    file_address=_file_address,
    credential=Credential(
        origins=(_origin(_endpoint()),),
        read=_read,
        variables=("HF_TOKEN",),
        file="~/.cache/huggingface/token",
        how="Accept the terms on the repository's page, then make a token with the permission to read in the settings "
        "of your Hugging Face account.",
    ),
)
