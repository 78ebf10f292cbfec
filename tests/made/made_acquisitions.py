"""One part of a made entry, acquired into a store without the rest of a build."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from made_entries import made_entry

from medshard.registry.acquisition.acquire import AcquiredPart, acquire_part
from medshard.registry.acquisition.connection import connection
from medshard.registry.acquisition.lock import LockedPart
from medshard.registry.acquisition.options import AcquisitionOptions
from medshard.registry.acquisition.parts import parts_of
from medshard.registry.acquisition.workplace import Workplace
from medshard.registry.store import Store


def workplace(
    root: Path, *sources: dict[str, Any], options: AcquisitionOptions | None = None, **entry: Any
) -> Workplace:
    """For the first part that the sources make; relative folders start at `root`."""
    made = made_entry("made", acquisition=list(sources), **entry)
    return Workplace(
        store=Store.open(root / "store"),
        entry=made,
        part=parts_of(made, optional=True)[0],
        base=root,
        options=options or AcquisitionOptions(environment={}),
    )


def acquire(
    root: Path, *sources: dict[str, Any], locked: LockedPart | None = None, asks: bool = False, **more: Any
) -> AcquiredPart:
    """asks: whether hosts are asked; `environment` of the options then names the fakes."""
    place = workplace(root, *sources, **more)
    with connection(place.entry, place.options.environment) if asks else nullcontext() as connect:
        return acquire_part(
            replace(place, connect=connect), locked, root / "tree", consent=lambda: None, remember=[].append
        )
