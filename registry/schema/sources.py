"""Where the bytes of an entry come from: one model per kind of host, told apart by `kind`.

The parts of `acquisition` are all needed, but for two cases: parts that share a `part` name are the same content at
several places, tried in order, and `optional` parts are taken only on request. The models lie with their hosts, in
`medshard.registry.hosts`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, Union

from pydantic import Field, field_validator

from medshard.registry.hosts import HOSTS
from medshard.registry.hosts.folder import FolderSource
from medshard.registry.hosts.package import PackageSource
from medshard.registry.hosts.pip import PipSource
from medshard.registry.hosts.source import RemoteFile, RemoteSource
from medshard.registry.schema.model import Model
from medshard.registry.templates import check_template, template_fields

if TYPE_CHECKING:
    Source: TypeAlias = PipSource | PackageSource | FolderSource | RemoteSource
else:
    Source = Annotated[Union[tuple(host.source for host in HOSTS.values())], Field(discriminator="kind")]  # noqa: UP007


class Reencode(Model):
    """Real pixels of an acquired file written again in another format, with made headers, and named so."""

    source: str
    to: Literal["dicom-series"]
    folder: str
    description: str

    @field_validator("folder")
    @classmethod
    def _plain_path(cls, value: str) -> str:
        if template_fields(check_template(value)) or "*" in value:
            raise ValueError("a folder has no fields and no stars")
        return value


__all__ = ["FolderSource", "PackageSource", "PipSource", "Reencode", "RemoteFile", "RemoteSource", "Source"]
