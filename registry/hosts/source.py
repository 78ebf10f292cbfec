"""What all sources of a catalog entry share: the fields that every remote host has."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

from pydantic import PositiveInt, field_validator

from medshard.registry.schema.model import Checksum, Model, Text, WebAddress

Archive = Literal["zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst", "gz", "bz2", "xz", "zst", "rar", "7z", "none"]

# What a name ends in, the longest first. Single files such as `.nii.gz` are no archives unless somebody says so.
ARCHIVE_SUFFIXES: tuple[tuple[str, Archive], ...] = (
    (".tar.gz", "tar.gz"),
    (".tgz", "tar.gz"),
    (".tar.bz2", "tar.bz2"),
    (".tbz2", "tar.bz2"),
    (".tbz", "tar.bz2"),
    (".tar.xz", "tar.xz"),
    (".txz", "tar.xz"),
    (".tar.zst", "tar.zst"),
    (".tzst", "tar.zst"),
    (".tar", "tar"),
    (".zip", "zip"),
    (".rar", "rar"),
    (".7z", "7z"),
)

# Keys that only name a resource, such as Google Drive's `resourcekey`, are no secrets.
_SECRET = re.compile(r"token|signature|^sig$|secret|passw|credential|^(api_?|access_?)?key$", re.IGNORECASE)


class RemoteFile(Model):
    """One file of a host. `name` is what it is called there.

    archive: how it is packed, where the name does not end in it; `none` leaves a file packed that looks like an
    archive. url, id: where it lies, when the host's record does not say. size, checksum: what the source states, to the
    byte; unknown when not given. rounded_size: what a source that rounds says; for planning, never compared.
    """

    name: Text
    archive: Archive | None = None
    url: WebAddress | None = None
    id: str | None = None
    size: PositiveInt | None = None
    rounded_size: PositiveInt | None = None
    checksum: Checksum | None = None

    @field_validator("url")
    @classmethod
    def _without_secrets(cls, value: str | None) -> str | None:
        """What stands in the catalog is written into manifests and lineage, for everybody."""
        parts = urlsplit(value or "")
        names = [field.partition("=")[0] for field in parts.query.split("&")]
        if "@" in parts.netloc or any(_SECRET.search(name) for name in names):
            raise ValueError(
                "the address holds a password, token or signature, which a catalog would show to everybody"
            )
        return value

    @property
    def planned_size(self) -> int | None:
        """Bytes to plan with: as stated, else as rounded."""
        return self.size or self.rounded_size


class RemoteSource(Model):
    """What all sources behind a network share.

    files: the files that are wanted, all of the record when empty. archive: how the one download of a source without
    named files is packed. page: for people. into: folder of the raw tree.
    """

    kind: str
    files: tuple[RemoteFile, ...] = ()
    archive: Archive | None = None
    page: WebAddress | None = None
    part: str = ""
    optional: bool = False
    into: str = ""
    note: str = ""
