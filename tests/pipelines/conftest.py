"""A small data set of real content: crops of the ICBM 152 average brain with a grey-matter mask, as NIfTI."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medshard.registry import Catalog

CROPS = {"p1": (60, 90, 60), "p2": (90, 90, 60), "p3": (60, 120, 90), "p4": (90, 60, 90)}
SIZE = (36, 40, 32)


@dataclass(frozen=True)
class Scans:
    """A folder of scans, and the catalog file that describes it."""

    folder: Path
    catalog_file: Path

    @property
    def catalog(self) -> Catalog:
        catalog = Catalog.load([self.catalog_file])
        assert catalog.problems == ()
        return catalog

    def image(self, case: str) -> Path:
        return self.folder / f"{case}_t1.nii.gz"

    def mask(self, case: str) -> Path:
        return self.folder / f"{case}_mask.nii.gz"

    def add(self, case: str, corner: tuple[int, int, int]) -> None:
        """Write one more case: a crop of the template and its mask."""
        window = tuple(slice(start, start + size) for start, size in zip(corner, SIZE, strict=True))
        t1, grey = _template("t1"), _template("gm")
        affine = t1.affine.copy()
        affine[:3, 3] = (t1.affine @ [*corner, 1])[:3]
        nib.save(nib.Nifti1Image(np.asarray(t1.dataobj)[window].astype(np.uint8), affine), self.image(case))
        mask = (np.asarray(grey.dataobj)[window] > 127).astype(np.uint8)
        nib.save(nib.Nifti1Image(mask, affine), self.mask(case))


def _template(name: str) -> nib.Nifti1Image:
    found = find_spec("nilearn")
    assert found is not None
    assert found.origin is not None
    return nib.load(
        Path(found.origin).parent / "datasets" / "data" / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz"
    )


CATALOG = """\
format_version: 1
entries:
  - id: crops
    title: Crops of the ICBM 152 template
    description: Real content cut into four cases.
    version: "1"
    groups: [brain]
    modalities: [MR]
    tasks: [segmentation]
    dimensions: [3]
    licence: {id: LicenseRef-MNI-ICBM152}
    access: {kind: open}
    maturity: layout-tested
    acquisition:
      - kind: folder
        path: scans
    cases:
      - modality: MR
        images:
          t1: {path: "{case}_t1.nii.gz"}
        labels:
          tissue: {path: "{case}_mask.nii.gz", classes: {1: grey matter}}
    plans:
      default: {spacing_mm: [1.5, 1.5, 1.5], patch_size: [16, 16, 16], inner_chunk: [16, 16, 16], shard_mib: 512}
"""


@pytest.fixture
def make_scans(tmp_path: Path) -> Callable[[str], Scans]:
    def make(name: str) -> Scans:
        home = tmp_path / name
        (home / "scans").mkdir(parents=True)
        (home / "catalog.yaml").write_text(textwrap.dedent(CATALOG))
        scans = Scans(home / "scans", home / "catalog.yaml")
        for case, corner in CROPS.items():
            scans.add(case, corner)
        return scans

    return make


@pytest.fixture
def scans(make_scans: Callable[[str], Scans]) -> Scans:
    return make_scans("source")
