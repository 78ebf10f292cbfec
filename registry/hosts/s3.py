"""Kind `s3`: objects of a bucket, listed and read through fsspec.

Relied on: key, size and ETag of the object listing. The ETag of an object that anybody may read is its MD5 when it was
uploaded in one piece; of several pieces it ends in their number and says nothing of the content.
"""

from __future__ import annotations

import os
import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Literal

from medshard.errors import AcquisitionError, MissingExtraError
from medshard.registry.hosts.host import Asking, Host, ListedFile, Listing, ObjectAddress, RemoteFile, RemoteSource
from medshard.registry.schema.model import Text

ENDPOINT_VARIABLE = "MEDSHARD_S3_ENDPOINT"

Protocol = Literal["s3", "gcs"]


class S3Source(RemoteSource):
    """Objects of a bucket; anonymous unless said otherwise."""

    kind: Literal["s3"]
    bucket: Text
    region: str | None = None
    prefix: str = ""
    anonymous: bool = True


def list_bucket(
    source: RemoteSource, protocol: Protocol, bucket: str, prefix: str, options: Mapping[str, Any], *, where: str
) -> Listing:
    """The objects whose key begins with the prefix, named by what follows its last `/`; or only the named ones.

    Raises AcquisitionError: host.gone, host.refused, host.unreachable. Raises MissingExtraError.
    """
    system = _file_system(protocol, options)
    place = f"{protocol}://{bucket}/{prefix}"
    folder = prefix.rpartition("/")[0]
    root = f"{bucket}/{folder}" if folder else bucket
    found = (
        _named(system, source.files, f"{bucket}/{prefix}", where=where, protocol=protocol)
        if source.files
        else _below(system, root, prefix.rpartition("/")[2], where=where, place=place)
    )
    return Listing(
        files=tuple(
            ListedFile(
                name=name,
                address=ObjectAddress(protocol=protocol, path=path, options=options),
                size=details.get("size"),
                checksum=_md5(details, trusted=bool(options.get("anon"))),
            )
            for name, path, details in found
        )
    )


def _file_system(protocol: Protocol, options: Mapping[str, Any]) -> Any:
    import fsspec  # noqa: PLC0415 - the catalog is read without it

    try:
        system = fsspec.filesystem(protocol, **options)
    except ImportError as missing:
        raise MissingExtraError(
            "extra.object-stores",
            where=f"{protocol}://",
            problem=f"reading {protocol} buckets needs a library that is not installed",
            details={"raised": missing},
            action="Run: pip install 'medshard[object-stores]'",
        ) from missing
    # fsspec keeps file systems and their listings for the life of the process; a change at the source must be seen.
    system.invalidate_cache()
    return system


def _below(
    system: Any, root: str, begins: str, *, where: str, place: str
) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    found = _ask(lambda: system.find(root, detail=True, prefix=begins), where=where, place=place)
    for path, details in sorted(found.items()):
        # A console makes an empty object with a trailing slash for every folder.
        if details.get("type") == "file" and not path.endswith("/"):
            yield path.removeprefix(root).lstrip("/"), path, details


def _named(
    system: Any, files: tuple[RemoteFile, ...], start: str, *, where: str, protocol: str
) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for file in files:
        path = f"{start}{file.name}"
        yield file.name, path, _ask(partial(system.info, path), where=where, place=f"{protocol}://{path}")


def _ask(question: Callable[[], Any], *, where: str, place: str) -> Any:
    # The libraries let through what their own clients raise, which has no common base.
    try:
        return question()
    except FileNotFoundError as error:
        raise _failed("host.gone", "the bucket or the object is not there", where, place, error) from error
    except PermissionError as error:
        raise _failed("host.refused", "the bucket refuses to be read", where, place, error) from error
    except Exception as error:
        refused = type(error).__name__ in {"NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError"}
        code, problem = (
            ("host.refused", "the bucket asks for credentials and there are none")
            if refused
            else ("host.unreachable", "the bucket could not be asked")
        )
        raise _failed(code, problem, where, place, error) from error


def _failed(code: str, problem: str, where: str, place: str, error: Exception) -> AcquisitionError:
    actions = {
        "host.gone": "Look at the page of the data set: the publisher may have moved it.",
        "host.refused": "Set up the credentials that the provider's own tools read, and accept its terms.",
        "host.unreachable": "Try again; if it stays so, look at the network, the region and the endpoint.",
    }
    details = {"asked": place, "answer": type(error).__name__}
    return AcquisitionError(code, where=where, problem=problem, details=details, action=actions[code])


def _md5(details: Mapping[str, Any], *, trusted: bool) -> str | None:
    """trusted: whether the ETag can be a digest, which it is not for objects encrypted with a key of the owner."""
    if stated := details.get("md5Hash"):
        return f"md5:{b64decode(stated).hex()}"
    etag = str(details.get("ETag", "")).strip('"')
    return f"md5:{etag}" if trusted and re.fullmatch(r"[0-9a-f]{32}", etag) else None


def _options(source: S3Source) -> dict[str, Any]:
    options: dict[str, Any] = {"anon": source.anonymous}
    if source.region:
        options["client_kwargs"] = {"region_name": source.region}
    if endpoint := os.environ.get(ENDPOINT_VARIABLE):
        options["endpoint_url"] = endpoint
    return options


def _list_files(source: S3Source, asking: Asking) -> Listing:
    return list_bucket(source, "s3", source.bucket, source.prefix, _options(source), where=asking.where)


def _place(source: S3Source) -> str:
    return f"S3 bucket s3://{source.bucket}/{source.prefix}"


def _first_requests(source: S3Source) -> tuple[str, ...]:
    names = [file.name for file in source.files] or [""]
    return tuple(f"s3://{source.bucket}/{source.prefix}{name}" for name in names)


HOST = Host(source=S3Source, place=_place, list_files=_list_files, first_requests=_first_requests)
