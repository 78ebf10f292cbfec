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

from medshard.registry.acquisition import folder, package, pip
from medshard.registry.acquisition.acquired import Acquired


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

__all__ = ["ACQUIRERS", "Acquired", "Acquirer"]
