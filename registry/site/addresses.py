"""Where a person can look at a source: its stated page, or the page that its host gives to such an id."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from medshard.registry.schema import RemoteSource, Source

DOI_RESOLVER = "https://doi.org/"


def page_of(source: Source) -> str | None:
    """The address of a page for people, as far as the source says or implies one."""
    if not isinstance(source, RemoteSource):
        return None
    if source.page is not None:
        return source.page
    rule = _PAGES.get(source.kind)
    return rule(source) if rule else None


def name_of(source: Source) -> str:
    """What the host calls it: a record number, a repository, a bucket."""
    for field in _IDENTIFIERS:
        if value := getattr(source, field, None):
            return str(value)
    return ""


def _kaggle(source: Any) -> str | None:
    if source.dataset is not None:
        return f"https://www.kaggle.com/datasets/{source.dataset}"
    return f"https://www.kaggle.com/competitions/{source.competition}" if source.competition else None


def _drive(source: Any) -> str:
    return f"https://drive.google.com/{'drive/folders' if source.folder else 'file/d'}/{source.id}"


_PAGES: Mapping[str, Callable[[Any], str | None]] = MappingProxyType(
    {
        "zenodo": lambda source: f"https://zenodo.org/records/{source.record}",
        "dataverse": lambda source: f"{DOI_RESOLVER}{source.doi}",
        "gdrive": _drive,
        "kaggle": _kaggle,
        "synapse": lambda source: f"https://www.synapse.org/Synapse:{source.id}",
        "huggingface": lambda source: f"https://huggingface.co/datasets/{source.repository}",
        "physionet": lambda source: f"https://physionet.org/content/{source.project}/{source.version}/",
        "grand-challenge": lambda source: f"https://{source.challenge}.grand-challenge.org/",
        "osf": lambda source: f"https://osf.io/{source.project}/" if source.project else None,
        "mendeley": lambda source: f"https://data.mendeley.com/datasets/{source.dataset}",
        "github": lambda source: f"https://github.com/{source.repository}",
    }
)
_IDENTIFIERS = (
    *("record", "article", "collection", "doi", "bucket", "dataset", "competition", "repository", "project"),
    *("challenge", "package", "path", "id"),
)
