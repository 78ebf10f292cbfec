"""Kind `gcs`: objects of a Google Cloud Storage bucket, listed and read through fsspec.

Relied on: name, size and md5Hash (base64) of the object listing; objects composed of several have no md5Hash.
"""

from __future__ import annotations

from typing import Any, Literal

from medshard.registry.hosts.host import Asking, Host, Listing, RemoteSource
from medshard.registry.hosts.s3 import list_bucket
from medshard.registry.schema.model import Text


class GcsSource(RemoteSource):
    """Objects of a Google Cloud Storage bucket; anonymous unless said otherwise."""

    kind: Literal["gcs"]
    bucket: Text
    prefix: str = ""
    anonymous: bool = True


def _options(source: GcsSource) -> dict[str, Any]:
    # Without a token gcsfs looks where Google's own tools keep theirs.
    return {"token": "anon"} if source.anonymous else {}


def _list_files(source: GcsSource, asking: Asking) -> Listing:
    return list_bucket(source, "gcs", source.bucket, source.prefix, _options(source), where=asking.where)


def _place(source: GcsSource) -> str:
    return f"Google Cloud Storage bucket gs://{source.bucket}/{source.prefix}"


def _first_requests(source: GcsSource) -> tuple[str, ...]:
    names = [file.name for file in source.files] or [""]
    return tuple(f"gs://{source.bucket}/{source.prefix}{name}" for name in names)


HOST = Host(source=GcsSource, place=_place, list_files=_list_files, first_requests=_first_requests)
