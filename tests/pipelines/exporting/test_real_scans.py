"""Crops of a real brain, exported and compared with the files that they were built from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medshard.pipelines.build import build
from medshard.pipelines.exporting.bids import export_bids
from medshard.pipelines.exporting.monai import export_monai
from medshard.pipelines.exporting.nnunet import export_nnunet
from medshard.pipelines.exporting.request import ExportRequest
from medshard.registry.store import Store

# Where each form has image and mask of the case p1.
PLACES: dict[str, tuple[Callable[[ExportRequest], Path], str, str]] = {
    "nnunet": (export_nnunet, "Dataset*/imagesTr/p1_0000.nii.gz", "Dataset*/labelsTr/p1.nii.gz"),
    "monai": (export_monai, "images/p1_t1.nii.gz", "labels/p1.nii.gz"),
    "bids": (export_bids, "sub-p1/other/sub-p1_image.nii.gz", "derivatives/medshard/sub-p1/other/*_dseg.nii.gz"),
}


@pytest.fixture
def request_of_scans(scans: Any, tmp_path: Path) -> ExportRequest:
    store = Store.open(tmp_path / "store")
    build(store, "crops", to="volumes", catalog=scans.catalog)
    # Nobody states what may be done with the template, so that the export is for own use.
    entry = scans.catalog.entry("crops")
    return ExportRequest(store=store, entry=entry, output=tmp_path / "out", for_own_use=True)


@pytest.mark.parametrize("form", PLACES)
def test_voxels_lie_where_the_source_has_them(scans: Any, request_of_scans: ExportRequest, form: str) -> None:
    export, image_place, mask_place = PLACES[form]
    export(request_of_scans)
    for place, source in ((image_place, scans.image("p1")), (mask_place, scans.mask("p1"))):
        (path,) = request_of_scans.output.glob(place)
        found, expected = (nib.as_closest_canonical(nib.load(file)) for file in (path, source))
        np.testing.assert_array_equal(np.asanyarray(found.dataobj), np.asanyarray(expected.dataobj))
        np.testing.assert_array_equal(found.affine, expected.affine)
