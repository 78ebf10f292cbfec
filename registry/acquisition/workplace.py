"""Where one part of an entry is acquired: its folder for unfinished work, and what it works with."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medshard.registry.acquisition.gates.inbox import inbox_of
from medshard.registry.acquisition.options import AcquisitionOptions
from medshard.registry.acquisition.parts import Part
from medshard.registry.schema import Entry
from medshard.registry.store.objects import Store

if TYPE_CHECKING:
    from medshard.registry.acquisition.transfer.progress import Progress
    from medshard.registry.acquisition.transfer.web import Web


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """folder: kept between builds, so that what came whole is never fetched again; removed when the part is done.

    base: folder of the catalog file. connect: opens the way to the hosts; None where nobody may be asked.
    """

    store: Store
    entry: Entry
    part: Part
    base: Path
    options: AcquisitionOptions
    connect: Callable[[], Web] | None = None
    progress: Progress | None = None

    @property
    def where(self) -> str:
        return f"{self.entry.id}/{self.part.name}"

    @property
    def folder(self) -> Path:
        return self.store.root / "downloads" / self.entry.id / self.part.key[:16]

    @property
    def inbox(self) -> Path:
        return inbox_of(self.store, self.entry)

    def clear(self) -> None:
        """Remove the unfinished work, and the entry's folder when it was the last of it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        parent = self.folder.parent
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()
