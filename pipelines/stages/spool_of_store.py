"""Where the stages decode what is too large for memory."""

from __future__ import annotations

from medshard.converters.spooling import Spool
from medshard.registry.store.objects import Store


def spool_of(store: Store) -> Spool:
    """One and the same for all cases: what a file of many pictures is unpacked to serves the worker's next case, too.

    Spooled files have no name, so nothing is left of them.
    """
    folder = store.root / "scratch"
    folder.mkdir(exist_ok=True)
    return Spool(folder=folder)
