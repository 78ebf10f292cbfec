"""Whether what is to come fits on the disk."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from medshard.errors import AcquisitionError

MARGIN = 1.05  # journals, file system overhead, and whoever else writes meanwhile


def require_space(missing: Iterable[tuple[Path, int]], *, where: str) -> None:
    """Compare bytes that are still to come, by target, with the free space of the targets' file systems.

    Raises AcquisitionError[disk.full].
    """
    needed: dict[int, int] = defaultdict(int)
    folders: dict[int, Path] = {}
    for target, size in missing:
        folder = _existing(target.parent)
        device = folder.stat().st_dev
        folders.setdefault(device, folder)
        needed[device] += size
    for device, size in needed.items():
        if size and int(size * MARGIN) > shutil.disk_usage(folders[device]).free:
            raise disk_full(folders[device], int(size * MARGIN), where=where)


def disk_full(folder: Path, needed: int | None, *, where: str) -> AcquisitionError:
    """needed: bytes that are still to come; None when the host does not say."""
    return AcquisitionError(
        "disk.full",
        where=where,
        problem="there is not enough space for the download",
        details={
            "needed": "unknown" if needed is None else f"{needed:,} bytes",
            "free": f"{shutil.disk_usage(_existing(folder)).free:,} bytes",
            "folder": folder,
        },
        action="Make room, or choose a store on a larger disk (--root); what has been fetched is kept.",
    )


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())
