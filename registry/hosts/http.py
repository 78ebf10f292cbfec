"""Kind `http`, and what the hosts behind HTTP share: files that the catalog addresses itself, and JSON answers.

An answer is read into a small model that names the fields we rely on and ignores all others, so that an answer of
another shape is reported by the field that is missing or wrong, and never half read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from medshard.errors import AcquisitionError
from medshard.registry.hosts.host import Asking, Host, HttpAddress, ListedFile, Listing, RemoteFile, RemoteSource

T = TypeVar("T")

_DIGEST_LENGTH = {"md5": 32, "sha1": 40, "sha256": 64}


class Answer(BaseModel):
    """Part of a host's JSON answer: the fields that we read. Other fields are the host's business."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class HttpSource(RemoteSource):
    """Files behind plain addresses."""

    kind: Literal["http"]
    files: Annotated[tuple[RemoteFile, ...], Field(min_length=1)]


def ask(shape: type[T], url: str, asking: Asking) -> T:
    """The JSON behind an address, as `shape`. Raises AcquisitionError[host.answer] that names the first bad field."""
    raw = asking.web.get_json(url, where=asking.where)
    try:
        return TypeAdapter(shape).validate_python(raw)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(step) for step in first["loc"]) or "the whole answer"
        raise bad_answer(url, asking, field=field, expected=first["msg"]) from None


def bad_answer(url: str, asking: Asking, *, field: str, expected: str) -> AcquisitionError:
    return AcquisitionError(
        "host.answer",
        where=asking.where,
        problem=f"the host's answer is not what its API documents: {field}",
        details={"address": url, "field": field, "expected": expected},
        action="The host may have changed its API, or the record may be withdrawn: look at the address in a browser.",
    )


def closed_record(page: str, asking: Asking, *, why: str, action: str) -> AcquisitionError:
    """A record that exists, but whose files are not shown to whoever asks."""
    return AcquisitionError(
        "host.refused",
        where=asking.where,
        problem=f"the host shows the record, but not its files: {why}",
        details={"page": page},
        action=action,
    )


def listed_name(path: str, url: str, asking: Asking) -> str:
    """A path of the host, relative and below the source's folder. Raises AcquisitionError[host.answer]."""
    name = path.lstrip("/")
    if not name or "\0" in name or ".." in PurePosixPath(name).parts:
        raise bad_answer(url, asking, field=f"file name {name!r}", expected="a path below the record")
    return str(PurePosixPath(name))


def bare_address(address: str, url: str, asking: Asking) -> str:
    """An address without query, which could hold a signature. Raises AcquisitionError[host.answer] unless https."""
    parts = urlsplit(address)
    if parts.scheme != "https" or not parts.netloc or "@" in parts.netloc:
        raise bad_answer(url, asking, field="address of a file", expected="an https address")
    return parts._replace(query="", fragment="").geturl()


def checksum_of(kind: str | None, digest: str | None) -> str | None:
    """`kind:digest` as the catalog writes it; None for digests that we do not check, such as sha512 or crc32."""
    kind, digest = (kind or "").lower().replace("-", ""), (digest or "").lower()
    known = len(digest) == _DIGEST_LENGTH.get(kind) and re.fullmatch("[0-9a-f]+", digest)
    return f"{kind}:{digest}" if known else None


def all_addressed(source: RemoteSource) -> bool:
    """Whether the catalog itself says where every file lies."""
    return bool(source.files) and all(file.url for file in source.files)


def stated_addresses(source: RemoteSource) -> tuple[str, ...]:
    return tuple(file.url for file in source.files if file.url)


def addressed_files(source: RemoteSource, address: Callable[[RemoteFile], str | None], asking: Asking) -> Listing:
    """The files that the catalog names, as it states them. Raises AcquisitionError[source.unaddressed]."""
    return Listing(files=tuple(_addressed(file, address(file), asking) for file in source.files))


def _addressed(file: RemoteFile, address: str | None, asking: Asking) -> ListedFile:
    if address is None:
        raise AcquisitionError(
            "source.unaddressed",
            where=asking.where,
            problem=f"the catalog does not say where {file.name} lies",
            action="Give the file a `url` in the catalog entry, or the source a record to look it up in.",
        )
    return ListedFile(
        name=file.name,
        id=file.id,
        address=HttpAddress(url=address),
        size=file.size,
        checksum=file.checksum,
        archive=file.archive,
    )


def _place(source: HttpSource) -> str:  # noqa: ARG001 (the interface of all hosts)
    return "plain download"


def _list_files(source: HttpSource, asking: Asking) -> Listing:
    return addressed_files(source, lambda file: file.url, asking)


def _first_requests(source: HttpSource) -> tuple[str, ...]:
    return stated_addresses(source)


HOST = Host(source=HttpSource, place=_place, list_files=_list_files, first_requests=_first_requests)
