"""Made cases in a store, built up to `volumes`, to be exported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from made_builds import catalog_of
from numpy.typing import NDArray

from medshard.pipelines.build import build
from medshard.pipelines.exporting.request import ExportRequest
from medshard.registry import Catalog
from medshard.registry.store import Store

# Oblique, without shear, and not to be held by float32.
TURN = np.deg2rad(17)
OBLIQUE = np.array(
    [
        [0.7 * np.cos(TURN), -0.7 * np.sin(TURN), 0, -31.7],
        [0.7 * np.sin(TURN), 0.7 * np.cos(TURN), 0, 12.3],
        [0, 0, 2.1, -103.9],
        [0, 0, 0, 1],
    ]
)
SIZE = (7, 6, 5)
GROUP: Mapping[str, Any] = {
    "case": "{case}",
    "images": {"ct": {"path": "{case}_ct.nii"}},
    "labels": {"organs": {"path": "{case}_organs.nii", "classes": {1: "liver", 2: "kidney"}, "optional": True}},
}


@dataclass
class Source:
    """A folder of made files, and the store that is built of it."""

    home: Path
    group: Mapping[str, Any] = field(default_factory=lambda: GROUP)
    fields: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def folder(self) -> Path:
        return self.home / "files"

    def add(self, name: str, array: NDArray[Any], affine: NDArray[np.float64] = OBLIQUE) -> None:
        """Write `NAME.nii`. array: (x, y, z[, t])."""
        image = nib.Nifti1Image(array, affine, dtype=array.dtype)
        nib.save(image, self.folder / f"{name}.nii")

    def add_case(self, case: str, organs: NDArray[Any] | None, seed: int = 0) -> NDArray[np.int16]:
        voxels = np.random.default_rng(seed).integers(-1000, 1000, SIZE, np.int16)
        self.add(f"{case}_ct", voxels)
        if organs is not None:
            self.add(f"{case}_organs", organs)
        return voxels

    def build(self, to: str = "volumes") -> ExportRequest:
        """What is asked of an export into `home/out`."""
        catalog: Catalog = catalog_of(self.folder, dict(self.group), **self.fields)
        store = Store.open(self.home / "store")
        build(store, "made-entry", to=to, catalog=catalog)
        return ExportRequest(store=store, entry=catalog.entry("made-entry"), output=self.home / "out")


def organs(seed: int = 0, *, values: tuple[int, ...] = (0, 1, 2)) -> NDArray[np.uint8]:
    """A mask in which every value occurs."""
    mask = np.random.default_rng(seed).choice(np.array(values, np.uint8), SIZE)
    mask.flat[: len(values)] = values
    return mask
