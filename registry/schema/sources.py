"""Where the bytes of an entry come from: one model per kind of host, told apart by `kind`.

The parts of `acquisition` are all needed, but for two cases: parts that share a `part` name are the same content at
several places, tried in order, and `optional` parts are taken only on request.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, field_validator

from medshard.registry.schema.model import Checksum, Model, Sha256, Text, WebAddress
from medshard.registry.templates import check_template, template_fields

Archive = Literal["zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst", "gz", "bz2", "rar", "7z", "none"]


class RemoteFile(Model):
    """One file of a host. `name` is what it is called there.

    archive: how it is packed, where the name does not end in it; `none` leaves a file packed that looks like an
    archive. url, id: where it lies, when the host's record does not say. size, checksum: what the source states;
    unknown when not given.
    """

    name: Text
    archive: Archive | None = None
    url: WebAddress | None = None
    id: str | None = None
    size: PositiveInt | None = None
    checksum: Checksum | None = None


class RemoteSource(Model):
    """What all sources behind a network share.

    files: the files that are wanted, all of the record when empty. archive: how the one download of a source without
    named files is packed. page: for people. into: folder of the raw tree.
    """

    files: tuple[RemoteFile, ...] = ()
    archive: Archive | None = None
    page: WebAddress | None = None
    part: str = ""
    optional: bool = False
    into: str = ""
    note: str = ""


class HttpSource(RemoteSource):
    """Files behind plain addresses."""

    kind: Literal["http"]
    files: Annotated[tuple[RemoteFile, ...], Field(min_length=1)]


class ZenodoSource(RemoteSource):
    kind: Literal["zenodo"]
    record: Annotated[str, Field(pattern=r"^\d+$")]


class FigshareSource(RemoteSource):
    """An article or a collection of figshare, or single files by their id."""

    kind: Literal["figshare"]
    article: Annotated[str, Field(pattern=r"^\d+$")] | None = None
    collection: Annotated[str, Field(pattern=r"^\d+$")] | None = None


class DataverseSource(RemoteSource):
    kind: Literal["dataverse"]
    server: WebAddress
    doi: Annotated[str, Field(pattern=r"^10\.\d{4,9}/\S+$")]


class S3Source(RemoteSource):
    """Objects of a bucket; anonymous unless said otherwise."""

    kind: Literal["s3"]
    bucket: Text
    region: str | None = None
    prefix: str = ""
    anonymous: bool = True


class GoogleDriveSource(RemoteSource):
    kind: Literal["gdrive"]
    id: Text
    folder: bool = False


class KaggleSource(RemoteSource):
    """`owner/name` of a data set, or the name of a competition."""

    kind: Literal["kaggle"]
    dataset: Annotated[str, Field(pattern=r"^[^/\s]+/[^/\s]+$")] | None = None
    competition: str | None = None


class SynapseSource(RemoteSource):
    kind: Literal["synapse"]
    id: Annotated[str, Field(pattern=r"^syn\d+$")]


class HuggingFaceSource(RemoteSource):
    """A data set repository. `revision` pins a commit; without one the newest is taken and remembered."""

    kind: Literal["huggingface"]
    repository: Annotated[str, Field(pattern=r"^[^/\s]+/[^/\s]+$")]
    revision: str | None = None
    include: tuple[str, ...] = ("*",)


class TciaSource(RemoteSource):
    """A collection or an analysis result of The Cancer Imaging Archive."""

    kind: Literal["tcia"]
    collection: Text


class PhysioNetSource(RemoteSource):
    kind: Literal["physionet"]
    project: Text
    version: Text
    include: tuple[str, ...] = ("*",)


class GrandChallengeSource(RemoteSource):
    kind: Literal["grand-challenge"]
    challenge: Text


class OsfSource(RemoteSource):
    """A project of OSF, or single files by their id."""

    kind: Literal["osf"]
    project: str | None = None


class MendeleySource(RemoteSource):
    kind: Literal["mendeley"]
    dataset: Text
    version: PositiveInt | None = None


class GitHubSource(RemoteSource):
    """A repository at a commit, tag or branch, or single files of it."""

    kind: Literal["github"]
    repository: Annotated[str, Field(pattern=r"^[^/\s]+/[^/\s]+$")]
    revision: str | None = None
    include: tuple[str, ...] = ("*",)


class ManualSource(RemoteSource):
    """What only a person can fetch: a form, a login page, a letter. `instructions` says how."""

    kind: Literal["manual"]
    instructions: Text


class PipSource(Model):
    """A distribution from the Python package index, downloaded by pip, which checks the digest."""

    kind: Literal["pip"]
    package: str
    version: str
    sha256: Sha256
    form: Literal["sdist", "wheel"] = "sdist"
    include: tuple[str, ...] = ("*",)
    into: str = ""


class PackageSource(Model):
    """Files that an installed Python package carries. `files` pins the digest of a file where given."""

    kind: Literal["package"]
    package: str
    version: str | None = None
    include: tuple[str, ...]
    files: dict[str, Sha256] = {}
    into: str = ""


class FolderSource(Model):
    """A folder, or a zip or tar archive, on this machine. Relative paths start at the catalog file."""

    kind: Literal["folder"]
    path: str
    include: tuple[str, ...] = ("*",)
    files: dict[str, Sha256] = {}
    sha256: Sha256 | None = None
    into: str = ""


Source = Annotated[
    PipSource
    | PackageSource
    | FolderSource
    | HttpSource
    | ZenodoSource
    | FigshareSource
    | DataverseSource
    | S3Source
    | GoogleDriveSource
    | KaggleSource
    | SynapseSource
    | HuggingFaceSource
    | TciaSource
    | PhysioNetSource
    | GrandChallengeSource
    | OsfSource
    | MendeleySource
    | GitHubSource
    | ManualSource,
    Field(discriminator="kind"),
]


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
