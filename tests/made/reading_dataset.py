"""A map-style data set of windows of an index, in a module of its own, so that spawned workers find it."""

from __future__ import annotations

import hashlib

from torch.utils.data import Dataset

from medshard.loaders.shard_reader import SampleIndex
from medshard.loaders.windows import Window

SIZE = (8, 24, 24)


class Windows(Dataset[str]):
    """Item n: digest of the bytes of image and label of window n, placed on a drawn voxel."""

    def __init__(self, index: SampleIndex, length: int) -> None:
        self.index = index
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, n: int) -> str:
        if n >= self.length:
            raise IndexError(n)
        row = self.index.row(n % len(self.index))
        drawn = self.index.draw_foreground(row, "organ", (1, 7), n * 0.37 % 1, n * 0.61 % 1)
        assert drawn is not None
        z, y, x = (place - size // 2 for place, size in zip(drawn[1:], SIZE, strict=True))
        windows = [Window(row=row, name=name, start=(z, y, x), size=SIZE) for name in ("image", "labels/organ")]
        return hashlib.sha256(b"".join(array.tobytes() for array in self.index.read_windows(windows))).hexdigest()
