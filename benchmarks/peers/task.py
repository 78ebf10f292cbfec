"""What every peer is asked for: windows of the same real CTs, as two tensors that a training step could take."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

Place = tuple[str, int, int, int]
"""Case, and (z, y, x) of the first voxel."""

CUT_WINDOWS = 32
"""How many windows of a size are cut beforehand, for peers that only read what was cut."""


class Delivered(NamedTuple):
    """image: float32 (1, n, n, n), normalised. label: (1, n, n, n), integers.

    place: says where the window lies; called outside of what is timed.
    """

    image: torch.Tensor
    label: torch.Tensor
    place: Callable[[], Place]


@dataclass(frozen=True)
class Task:
    """The cases lie as npy files in `folder`: <case>_image.npy int16 (z, y, x) in HU, <case>_label.npy uint8."""

    folder: Path
    cases: tuple[str, ...]
    low: float
    high: float
    mean: float
    std: float

    @staticmethod
    def read(folder: Path) -> Task:
        facts = json.loads((folder / "task.json").read_text())
        return Task(**{**facts, "folder": folder, "cases": tuple(facts["cases"])})

    def save(self) -> None:
        (self.folder / "task.json").write_text(json.dumps({**asdict(self), "folder": "."}))

    def image(self, case: str) -> NDArray[np.int16]:
        return np.load(self.folder / f"{case}_image.npy", mmap_mode="r")  # type: ignore[no-any-return]

    def label(self, case: str) -> NDArray[np.uint8]:
        return np.load(self.folder / f"{case}_label.npy", mmap_mode="r")  # type: ignore[no-any-return]

    def normalised(self, values: NDArray[np.generic]) -> NDArray[np.float32]:
        """A new array, each step in float32."""
        result = values.astype(np.float32)
        np.clip(result, self.low, self.high, out=result)
        np.subtract(result, np.float32(self.mean), out=result)
        return np.divide(result, np.float32(self.std), out=result)

    def normalise_tensor(self, values: torch.Tensor) -> torch.Tensor:
        """The same, in place."""
        return values.clamp_(self.low, self.high).sub_(self.mean).div_(self.std)


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One way to read windows.

    task: "random" windows out of whole volumes; or "cut", which is weaker: windows that were fixed and cut
        before, read in shuffled order.
    how: what was stored and what is called. distribution: whose version is reported.
    write: stores all cases; the size is that of the windows, for peers that care (per_size).
    windows: an endless stream of windows of a size.
    windows_per_volume: how many windows come from a volume each time that it is read.
    period: windows are counted in multiples of it, so that each turn has its share of the costly ones.
    """

    name: str
    distribution: str
    task: Literal["random", "cut"]
    how: str
    write: Callable[[Task, Path, int], None]
    windows: Callable[[Task, Path, int, int], Iterator[Delivered]]
    per_size: bool = False
    windows_per_volume: int = 1
    period: int = 1


def random_place(task: Task, rng: np.random.Generator, size: int) -> Place:
    case = task.cases[int(rng.integers(len(task.cases)))]
    z, y, x = (int(rng.integers(extent - size + 1)) for extent in task.image(case).shape)
    return case, z, y, x


def box(place: Place, size: int) -> tuple[slice, slice, slice]:
    _, z, y, x = place
    return slice(z, z + size), slice(y, y + size), slice(x, x + size)


def random_crop(
    task: Task, rng: np.random.Generator, case: str, volumes: tuple[NDArray[np.int16], NDArray[np.uint8]], size: int
) -> Delivered:
    """A window of an image and its label in memory: cut out first, then normalised, which is least work."""
    image, label = volumes
    z, y, x = (int(rng.integers(extent - size + 1)) for extent in image.shape)
    place = (case, z, y, x)
    window = box(place, size)
    return Delivered(
        torch.from_numpy(task.normalised(image[window]))[None],
        torch.from_numpy(np.ascontiguousarray(label[window]))[None],
        lambda: place,
    )


def cut_windows(task: Task, size: int) -> Iterator[tuple[Place, NDArray[np.float32], NDArray[np.uint8]]]:
    """Windows that are cut beforehand: (1, n, n, n), normalised, so that nothing is left to do when they are read."""
    rng = np.random.default_rng(size)
    for _ in range(CUT_WINDOWS):
        place = random_place(task, rng, size)
        window = box(place, size)
        yield place, task.normalised(task.image(place[0])[window])[None], np.array(task.label(place[0])[window])[None]


def name_of(place: Place) -> str:
    return "-".join(str(part) for part in place)


def place_of(name: str) -> Place:
    case, z, y, x = name.rsplit("-", 3)
    return case, int(z), int(y), int(x)
