"""Where the files of an entry are, in words and as addresses."""

from __future__ import annotations

from medshard.registry.hosts import host_of
from medshard.registry.schema import Entry, RemoteFile, RemoteSource, Source

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
    stated = source.page if isinstance(source, RemoteSource) else None
    return stated or host_of(source.kind).page(source)


def source_place(source: Source) -> str:
    """Where a source is, in a few words."""
    return host_of(source.kind).place(source)


def file_address(source: RemoteSource, file: RemoteFile) -> str | None:
    """Where a file lies: as stated, or as it follows from the host's own scheme."""
    return host_of(source.kind).file_address(source, file)
