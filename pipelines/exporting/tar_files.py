"""Tar files of samples, as WebDataset reads them: equal samples give equal bytes."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from medshard.registry.store.digests import sha256_file

BLOCK = tarfile.BLOCKSIZE
# tarfile ends a file with empty blocks up to a multiple of this.
RECORD = tarfile.RECORDSIZE


@dataclass
class TarShards:
    """`PREFIX-000000.tar`, ... in a folder, each at most `largest` bytes; a larger sample gets a file to itself."""

    folder: Path
    prefix: str
    largest: int
    files: list[dict[str, Any]] = field(default_factory=list)
    _tar: tarfile.TarFile | None = None
    _bytes: int = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, key: str, members: Sequence[tuple[str, bytes]]) -> str:
        """Add a sample; returns the name of its file. members: (what follows the key and a point, bytes)."""
        size = sum(BLOCK + -(-len(data) // BLOCK) * BLOCK for _, data in members)
        if self._tar is not None and self._bytes + size + RECORD > self.largest:
            self.close()
        if self._tar is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            name = f"{self.prefix}-{len(self.files):06d}.tar"
            # The stream is closed with the tar file, in `close`.
            self._tar = tarfile.open(self.folder / name, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
            self._bytes = 0
            self.files.append({"file": name, "samples": 0})
        for extension, data in members:
            info = tarfile.TarInfo(f"{key}.{extension}")
            info.size, info.mode, info.mtime = len(data), 0o644, 0
            self._tar.addfile(info, io.BytesIO(data))
        self._bytes += size
        self.files[-1]["samples"] += 1
        return str(self.files[-1]["file"])

    def close(self) -> None:
        if self._tar is None:
            return
        self._tar.close()
        self._tar = None
        path = self.folder / self.files[-1]["file"]
        self.files[-1] |= {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
