"""A video, or a folder of numbered frames, of which only the index is held: frames are decoded when they are wanted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medshard.converters.sources import SourceFile


@dataclass(frozen=True, kw_only=True)
class Video:
    """One stream of frames of one size.

    shape: (c, y, x) of a decoded frame, uint8 RGB unless `dtype` says otherwise; after the rotation that the container
        asks for.
    time_s: (n,) float64, presentation time of each frame from the first; NaN throughout where no rate is known.
    key_frames: (n,) bool, frames from which decoding can start; all of them in a folder of pictures.
    codec: such as "h264"; "pictures" for a folder. rate_hz: nominal frames per second, None where nothing states one.
    files: the source, in order; of a folder one file for each frame.
    warnings: one sentence each.
    """

    shape: tuple[int, int, int]
    dtype: str = "uint8"
    time_s: NDArray[np.float64]
    key_frames: NDArray[np.bool_]
    codec: str
    rate_hz: float | None
    files: tuple[SourceFile, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def frames(self) -> int:
        return len(self.time_s)
