"""The public entries, built from their real sources and compared with independent readers of the same files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813 (the name that everybody knows it by)

from medshard.converters.canonical import read_volume
from medshard.converters.volume import Image, Volume
from medshard.pipelines.build import build
from medshard.pipelines.stages.raw import raw_files
from medshard.registry import Catalog
from medshard.registry.lineage import trace, verify
from medshard.registry.store import Store, read_manifest
from medshard.registry.store.manifests import require_head

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store.open(tmp_path_factory.mktemp("real") / "store")
    for entry in ("pyradiomics-cases", "icbm152-tissue", "pydicom-samples"):
        build(store, entry, catalog=Catalog.load(), to="volumes")
    return store


@pytest.fixture(scope="module")
def volume(built: Store) -> Callable[[str, str], Volume]:
    def read(entry: str, case: str) -> Volume:
        record = read_manifest(built, require_head(built, entry, "volumes").manifest).record(case)
        assert record is not None
        assert record.output is not None
        return read_volume(built.path(record.output))

    return read


@pytest.fixture(scope="module")
def source(built: Store) -> Callable[[str, str], Path]:
    def find(entry: str, ending: str) -> Path:
        files = raw_files(built, read_manifest(built, require_head(built, entry, "raw").manifest))
        (found,) = [file.location for path, file in files.items() if path.endswith(ending)]
        return found

    return find


def assert_same_voxels_in_space(array: Any, affine: Any, reference: sitk.Image) -> None:
    """Every voxel of ours has the value that ITK has at the same place, checked at all voxels of a grid of probes."""
    z, y, x = np.meshgrid(*(np.linspace(0, size - 1, 9).round().astype(int) for size in array.shape), indexing="ij")
    index = np.stack([z.ravel(), y.ravel(), x.ravel()], axis=1)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    for position, where in zip(index, world @ LPS_TO_RAS, strict=True):
        continuous = reference.TransformPhysicalPointToContinuousIndex([float(value) for value in where])
        nearest = tuple(round(value) for value in continuous)
        assert np.abs(np.subtract(continuous, nearest)).max() * max(reference.GetSpacing()) < 1e-4
        assert array[tuple(position)] == reference[nearest]


@pytest.mark.parametrize("case", ["brain1", "brain2", "breast1", "lung1", "lung2"])
def test_nrrd_scans_and_masks_are_where_itk_has_them(volume: Any, source: Any, case: str) -> None:
    ours = volume("pyradiomics-cases", case)
    image = ours.images["image"]
    assert image.array.dtype == np.int16
    reference = sitk.ReadImage(str(source("pyradiomics-cases", f"{case}_image.nrrd")))
    assert_same_voxels_in_space(image.array[0], image.affine, reference)
    assert int(image.array.astype(np.int64).sum()) == int(sitk.GetArrayViewFromImage(reference).astype(np.int64).sum())
    mask = ours.labels["lesion"]
    reference_mask = sitk.ReadImage(str(source("pyradiomics-cases", f"{case}_label.nrrd")))
    assert_same_voxels_in_space(mask.array[0], mask.affine, reference_mask)
    assert mask.array.dtype == np.uint8
    np.testing.assert_array_equal(mask.affine, image.affine)


def test_the_template_and_its_soft_maps_are_where_nibabel_has_them(volume: Any, source: Any) -> None:
    ours = volume("icbm152-tissue", "icbm152_template")
    reference = nib.as_closest_canonical(nib.load(source("icbm152-tissue", "_t1_tal_nlin_sym_09a_converted.nii.gz")))
    np.testing.assert_array_equal(ours.images["t1"].array[0], np.asarray(reference.dataobj).transpose(2, 1, 0))
    np.testing.assert_allclose(ours.images["t1"].affine[:3, [2, 1, 0, 3]], reference.affine[:3], atol=1e-4)
    grey = nib.as_closest_canonical(nib.load(source("icbm152-tissue", "_gm_tal_nlin_sym_09a_converted.nii.gz")))
    tissue = ours.labels["tissue"]
    np.testing.assert_array_equal(tissue.array[0], np.asarray(grey.dataobj).transpose(2, 1, 0))
    assert tissue.classes == {0: "grey matter", 1: "white matter"}
    assert tissue.rescale.apply(tissue.array).max() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("case", "ending", "unit"), [("CT_small", "CT_small.dcm", "HU"), ("MR_small", "MR_small.dcm", "arbitrary")]
)
def test_a_slice_has_the_values_that_its_header_defines(
    volume: Any, source: Any, case: str, ending: str, unit: str
) -> None:
    image: Image = volume("pydicom-samples", case).images["image"]
    dataset = pydicom.dcmread(source("pydicom-samples", ending))
    slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
    physical = image.rescale.apply(image.array)[0]
    expected = dataset.pixel_array * slope + intercept
    assert sorted(physical.ravel()) == sorted(expected.ravel().astype(np.float32))
    assert image.rescale.unit == unit
    reference = sitk.ReadImage(str(source("pydicom-samples", ending)))
    corner = np.array(reference.TransformIndexToPhysicalPoint((0, 0, 0))) @ LPS_TO_RAS
    corners = [image.affine @ [0, y, x, 1] for y in (0, image.shape[1] - 1) for x in (0, image.shape[2] - 1)]
    assert min(np.linalg.norm(place[:3] - corner) for place in corners) < 1e-4


def test_the_reencoded_series_is_the_scan_that_it_was_made_from(volume: Any) -> None:
    series = volume("pydicom-samples", "lung2_reencoded").images["image"]
    original = volume("pyradiomics-cases", "lung2").images["image"]
    assert series.shape == original.shape == (61, 512, 512)
    np.testing.assert_array_equal(series.rescale.apply(series.array), original.rescale.apply(original.array))
    np.testing.assert_allclose(series.affine @ [60, 511, 511, 1], original.affine @ [60, 511, 511, 1], atol=1e-4)


def test_a_reencoded_file_leads_to_the_pixels_that_it_carries(built: Store) -> None:
    record = read_manifest(built, require_head(built, "pydicom-samples", "volumes").manifest).record("lung2_reencoded")
    assert record is not None
    assert record.output is not None
    traced = trace(built.path(record.output), built)
    sources = traced.cases[0].sources
    assert len(sources) == 61
    (pixels,) = sources[0].made_from
    assert pixels.path == "pyradiomics-3.0.1/data/lung2_image.nrrd"
    assert pixels.archive == {
        "name": "pyradiomics-3.0.1.tar.gz",
        "sha256": "47c57f441d6cb7973fa3b2ea48d3948df78e3348e1c69e1e2ff19001601fc2f5",
        "member": "pyradiomics-3.0.1/data/lung2_image.nrrd",
    }
    assert len(verify(traced, built)) > 61


def test_the_shipped_examples_are_what_their_notice_says(volume: Any, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    result = build(store, "format-families", catalog=Catalog.load(), to="volumes")[-1]
    volumes = {record.case: read_volume(store.path(record.output)) for record in result.manifest.good if record.output}
    breast = volumes["breast1_mr"].images["image"]
    original = volume("pyradiomics-cases", "breast1").images["image"]
    np.testing.assert_array_equal(breast.array, original.array)
    np.testing.assert_allclose(breast.affine, original.affine, atol=1e-4)
    lesion = volume("pyradiomics-cases", "lung2").labels["lesion"]
    surface = volumes["lung2_tumour_surface"].meshes["surface"]
    places = np.argwhere(lesion.array[0] == 1) @ lesion.affine[:3, :3].T + lesion.affine[:3, 3]
    step_mm = 2 * np.abs(np.diag(lesion.affine[:3, [2, 1, 0]]))  # the surface was drawn through every second voxel
    assert (surface.vertices.min(0) >= places.min(0) - step_mm).all()
    assert (surface.vertices.max(0) <= places.max(0) + step_mm).all()
    assert np.abs(surface.vertices.mean(0) - places.mean(0)).max() < 10
    assert volumes["microaneurysms"].images["image"].trusted_geometry is False
