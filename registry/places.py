"""Where the files of an entry are, in words and as addresses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from medshard.registry.schema import Entry, FolderSource, RemoteFile, RemoteSource, Source

DOI_RESOLVER = "https://doi.org/"


def doi_address(doi: str) -> str:
    """Where a DOI leads."""
    return DOI_RESOLVER + doi


def home_of(entry: Entry) -> str | None:
    """The page of the data set: its homepage, else where it is got, else the paper about it."""
    pages = (source_page(source) for source in entry.acquisition)
    doi = entry.citation.doi if entry.citation else None
    paper = doi_address(doi) if doi else None
    return next((page for page in (entry.homepage, entry.access.url, *pages, paper) if page), None)


def source_page(source: Source) -> str | None:
    """The page of a source, for people: as stated, or as it follows from the host's own scheme."""
    if not isinstance(source, RemoteSource):
        return None
    return source.page or _PAGES.get(source.kind, _nothing)(source)


def source_place(source: Source) -> str:
    """Where a source is, in a few words."""
    return _PLACES[source.kind](source)


def file_address(source: RemoteSource, file: RemoteFile) -> str | None:
    """Where a file lies: as stated, or as it follows from the host's own scheme."""
    if file.url:
        return file.url
    by_id = {
        "figshare": "https://ndownloader.figshare.com/files/{id}",
        "osf": "https://osf.io/download/{id}/",
        "dataverse": "{server}/api/access/datafile/{id}",
    }
    by_name = {
        "zenodo": "https://zenodo.org/records/{record}/files/{name}?download=1",
        "physionet": "https://physionet.org/files/{project}/{version}/{name}",
        "huggingface": "https://huggingface.co/datasets/{repository}/resolve/{revision}/{name}",
    }
    kind = str(getattr(source, "kind", ""))
    scheme = by_name.get(kind) or (by_id.get(kind) if file.id else None)
    if scheme is None:
        return None
    stated = source.model_dump(mode="json")
    server, revision = str(stated.get("server", "")).rstrip("/"), stated.get("revision") or "main"
    known = {**stated, "server": server, "revision": revision, "name": quote(file.name), "id": file.id}
    return scheme.format_map(known)


def _folder(source: FolderSource) -> str:
    # A folder of a private catalog is a path of somebody's machine, which nobody else has any use for.
    elsewhere = source.path.startswith(("/", "~"))
    return "a local folder" if elsewhere else f"folder `{source.path}` beside the catalog"


def _nothing(source: Any) -> None:  # noqa: ARG001 (one signature for all kinds)
    return None


def _optional(lead: str, word: object) -> str:
    return f"{lead}{word}" if word else ""


_PAGES: Mapping[str, Callable[[Any], str | None]] = MappingProxyType(
    {
        "zenodo": lambda source: f"https://zenodo.org/records/{source.record}",
        "dataverse": lambda source: f"{source.server.rstrip('/')}/dataset.xhtml?persistentId=doi:{source.doi}",
        "kaggle": lambda source: (
            _optional("https://www.kaggle.com/datasets/", source.dataset)
            or _optional("https://www.kaggle.com/competitions/", source.competition)
        ),
        "synapse": lambda source: f"https://www.synapse.org/Synapse:{source.id}",
        "huggingface": lambda source: f"https://huggingface.co/datasets/{source.repository}",
        "gdrive": lambda source: (
            f"https://drive.google.com/{'drive/folders' if source.folder else 'file/d'}/{source.id}"
        ),
        "grand-challenge": lambda source: f"https://{source.challenge}.grand-challenge.org/",
        "physionet": lambda source: f"https://physionet.org/content/{source.project}/{source.version}/",
        "osf": lambda source: _optional("https://osf.io/", source.project),
        "mendeley": lambda source: (
            f"https://data.mendeley.com/datasets/{source.dataset}{_optional('/', source.version)}"
        ),
        "github": lambda source: f"https://github.com/{source.repository}",
    }
)
_PLACES: Mapping[str, Callable[[Any], str]] = MappingProxyType(
    {
        "pip": lambda source: f"Python distribution {source.package} {source.version} ({source.form}), by pip",
        "package": lambda source: f"installed Python package {source.package} {source.version or '(any version)'}",
        "folder": _folder,
        "http": lambda source: "plain download",  # noqa: ARG005
        "zenodo": lambda source: f"Zenodo record {source.record}",
        "figshare": lambda source: (
            "figshare" + _optional(" article ", source.article) + _optional(" collection ", source.collection)
        ),
        "dataverse": lambda source: f"Dataverse doi:{source.doi}",
        "s3": lambda source: f"S3 bucket s3://{source.bucket}/{source.prefix}",
        "gdrive": lambda source: f"Google Drive {'folder' if source.folder else 'file'} {source.id}",
        "kaggle": lambda source: f"Kaggle {source.dataset or f'competition {source.competition}'}",
        "synapse": lambda source: f"Synapse {source.id}",
        "huggingface": lambda source: f"Hugging Face {source.repository}" + _optional(" at ", source.revision),
        "tcia": lambda source: f"The Cancer Imaging Archive, {source.collection}",
        "physionet": lambda source: f"PhysioNet {source.project} {source.version}",
        "grand-challenge": lambda source: f"Grand Challenge {source.challenge}",
        "osf": lambda source: "OSF" + _optional(" ", source.project),
        "mendeley": lambda source: f"Mendeley Data {source.dataset}" + _optional(" version ", source.version),
        "github": lambda source: f"GitHub {source.repository}" + _optional(" at ", source.revision),
        "manual": lambda source: "by hand",  # noqa: ARG005
    }
)
