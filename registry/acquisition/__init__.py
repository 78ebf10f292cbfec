"""Acquisition: one module per kind of source, found by the `kind` that the catalog names.

A kind has two functions. `identity(source, base)` says, without fetching anything, what decides the content: it goes
into the key that finds an earlier acquisition again. `acquire(source, base, folder)` puts the files below `folder`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from medshard.errors import AcquisitionError
from medshard.registry.acquisition import folder, package, pip
from medshard.registry.acquisition.acquired import Acquired
from medshard.registry.schema import RemoteSource, Source


@dataclass(frozen=True)
class Acquirer:
    identity: Callable[[Any, Path], dict[str, Any]]
    acquire: Callable[[Any, Path, Path], Acquired]


ACQUIRERS = MappingProxyType(
    {
        "pip": Acquirer(pip.identity, pip.acquire),
        "package": Acquirer(package.identity, package.acquire),
        "folder": Acquirer(folder.identity, folder.acquire),
    }
)


def acquirer_of(source: Source, *, where: str) -> Acquirer:
    """What fetches a source. Raises AcquisitionError[source.unfetched] for a kind that is only described so far."""
    if source.kind in ACQUIRERS:
        return ACQUIRERS[source.kind]
    raise AcquisitionError(
        "source.unfetched",
        where=where,
        problem=f"sources of kind {source.kind} are described in the catalog, but this release does not fetch them",
        details={"fetched": ", ".join(ACQUIRERS), **_page(source)},
        action="Download the files yourself and describe them as a `folder` source in a catalog of your own "
        "(MEDSHARD_CATALOG); `medshard show ID` says where they are and under which terms.",
    )


def _page(source: Source) -> dict[str, str]:
    return {"page": source.page} if isinstance(source, RemoteSource) and source.page else {}


__all__ = ["ACQUIRERS", "Acquired", "Acquirer", "acquirer_of"]
