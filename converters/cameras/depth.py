"""Depth as pictures: the channel that holds it, and the reversed depth buffer of a renderer as distances."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medshard.converters.cameras.exr import exr_channels
from medshard.converters.formats.faults import bad_file
from medshard.errors import CaseError

Channel = Literal["grey", "red"]

_COLOURS = ("R", "G", "B")


def exr_depth(path: Path, channel: Channel) -> NDArray[np.float32]:
    """(y, x) float32 of an EXR picture: its red channel, or the grey one.

    grey: the only channel besides alpha, whatever its name; of a picture in colour only where all three are equal.
    Raises CaseError as `exr_channels`, and [depth.coloured].
    """
    # A layer stands before a dot.
    channels = {name.rpartition(".")[2]: array for name, array in exr_channels(path).items()}
    channels.pop("A", None)
    if channel == "red" and "R" in channels:
        return channels["R"]
    if channel == "grey" and len(channels) == 1:
        return next(iter(channels.values()))
    colours = [channels[name] for name in _COLOURS if name in channels]
    if channel == "grey" and len(colours) == len(channels) == 3 and _equal(colours):
        return colours[0]
    raise coloured(path)


def coloured(path: Path) -> CaseError:
    return bad_file(
        "depth.coloured",
        path,
        "the picture has not the channel that holds the depth",
        details={"expected": "one channel, or the one that the entry names"},
        action="The case is excluded. State the channel in the entry.",
    )


def distance_of_buffer(buffer: NDArray[np.float32], near: float, far: float) -> NDArray[np.float32]:
    """Distance along the axis of the camera, in the unit of `near` and `far`, of a reversed depth buffer.

    The buffer is 1 at the near plane and 0 at the far one: 1 / distance runs evenly between the two (Unity's reversed
    Z; the authors of EndoMapper state near 0.01 and far 4 for their simulated sequences).
    """
    inverse = buffer.astype(np.float64) * (1 / near - 1 / far) + 1 / far
    return (1 / inverse).astype(np.float32)


def _equal(colours: list[NDArray[np.float32]]) -> bool:
    return all(np.array_equal(colours[0], other, equal_nan=True) for other in colours[1:])
