"""Segmentations of 3D Slicer, written as Slicer writes them, with SimpleITK as the other reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from medshard.converters.annotations import slicer_segments
from medshard.converters.geometry import affine_from_itk
from medshard.errors import CaseError

SPACING, ORIGIN = (0.5, 0.75, 3.0), (-10.0, 20.0, 30.5)


def labels(layers: int = 1) -> np.ndarray:
    """(z, y, x, layer)"""
    return np.random.default_rng(4).integers(0, 3, (4, 5, 6, layers)).astype(np.uint8)


def write(path: Path, voxels: np.ndarray, fields: dict[str, str], *, space: str = "left-posterior-superior") -> Path:
    """A list axis in front, as Slicer writes several layers; three axes for one."""
    z, y, x, layers = voxels.shape
    directions = " ".join(f"({','.join(str(SPACING[k] if k == j else 0) for k in range(3))})" for j in range(3))
    several = layers > 1
    header = [
        "NRRD0004",
        "type: unsigned char",
        f"dimension: {3 + several}",
        f"space: {space}",
        f"sizes: {f'{layers} ' * several}{x} {y} {z}",
        f"space directions: {'none ' * several}{directions}",
        f"kinds: {'list ' * several}domain domain domain",
        "encoding: raw",
        f"space origin: ({','.join(map(str, ORIGIN))})",
        *(f"{name}:={value}" for name, value in fields.items()),
    ]
    path.write_bytes(("\n".join(header) + "\n\n").encode() + voxels.tobytes())
    return path


def told(number: int, name: str, **more: str) -> dict[str, str]:
    return {f"Segment{number}_{key}": value for key, value in {"ID": f"Segment_{number}", "Name": name, **more}.items()}


def refused(path: Path) -> CaseError:
    with pytest.raises(CaseError) as error:
        slicer_segments.read([path])
    return error.value


def test_one_layer_holds_several_segments(tmp_path):
    fields = told(0, "Liver", Layer="0", LabelValue="1", Color="0.866667 0.509804 0.396078")
    fields |= told(1, "Left Lung", Layer="0", LabelValue="2", Extent="0 1 0 1 0 1")
    path = write(tmp_path / "a.seg.nrrd", labels(), fields)
    assert slicer_segments.sniff([path])
    found = slicer_segments.read([path])
    assert [(s.number, s.name, s.channel, s.value, s.colour) for s in found.segments] == [
        (1, "Liver", 0, 1, "#dd8265"),
        (2, "Left Lung", 0, 2, None),
    ]
    other = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(found.array[0], sitk.GetArrayFromImage(other))
    expected = affine_from_itk(other.GetOrigin(), other.GetSpacing(), other.GetDirection())
    np.testing.assert_allclose(found.affine, expected)


def test_overlapping_segments_lie_in_layers(tmp_path):
    fields = told(0, "a", Layer="1", LabelValue="1") | told(1, "b", Layer="0", LabelValue="2")
    path = write(tmp_path / "a.seg.nrrd", labels(2), fields)
    found = slicer_segments.read([path])
    np.testing.assert_array_equal(found.array, np.moveaxis(labels(2), -1, 0))
    assert [(s.channel, s.value) for s in found.segments] == [(1, 1), (0, 2)]
    other = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(np.moveaxis(found.array, 0, -1), sitk.GetArrayFromImage(other))


def test_old_files_have_a_layer_of_ones_for_each_segment(tmp_path):
    voxels = np.minimum(labels(3), 1)
    path = write(tmp_path / "a.seg.nrrd", voxels, told(0, "a") | told(1, "b") | told(2, "c"))
    found = slicer_segments.read([path])
    assert [(s.name, s.channel, s.value) for s in found.segments] == [("a", 0, 1), ("b", 1, 1), ("c", 2, 1)]
    assert found.warnings == ("the segments state no layer and no value: each is taken as a layer of ones",)


def test_an_old_file_of_one_segment(tmp_path):
    found = slicer_segments.read([write(tmp_path / "a.seg.nrrd", labels(), told(0, "a"))])
    assert [(s.channel, s.value) for s in found.segments] == [(0, 1)]


def test_a_plain_nrrd_is_none(tmp_path):
    assert not slicer_segments.sniff([write(tmp_path / "a.nrrd", labels(), {"Study": "x"})])
    (tmp_path / "b.nrrd").write_bytes(b"no nrrd")
    assert not slicer_segments.sniff([tmp_path / "b.nrrd"])


@pytest.mark.parametrize(
    "fields",
    [
        told(0, "Doe", Layer="3", LabelValue="1"),
        told(0, "Doe", Layer="0", LabelValue="0"),
        told(0, "Doe", Layer="0", LabelValue="many"),
        told(0, "Doe", Layer="0", LabelValue="1") | told(1, "b", Layer="0", LabelValue="1"),
        told(0, "Doe", Layer="0", LabelValue="1") | told(1, "b"),
        told(0, "Doe") | told(1, "b"),
    ],
    ids=["no such layer", "the background", "no number", "one place for two", "half stated", "one layer for two"],
)
def test_segments_without_a_place_of_their_own_are_refused_without_their_names(tmp_path, fields):
    error = refused(write(tmp_path / "a.seg.nrrd", labels(), fields))
    assert error.code == "read.unreadable"
    assert "Doe" not in str(error)


def test_fractions_are_refused(tmp_path):
    fields = told(0, "a", Layer="0", LabelValue="1") | {"Segmentation_MasterRepresentation": "Fractional labelmap"}
    assert refused(write(tmp_path / "a.seg.nrrd", labels(), fields)).code == "read.unsupported"


def test_a_segment_is_numbered_by_its_label_value(tmp_path):
    voxels = labels()
    fields = told(0, "a", Layer="0", LabelValue="2") | told(1, "b", Layer="0", LabelValue="1")
    found = slicer_segments.read([write(tmp_path / "a.seg.nrrd", voxels, fields)])
    assert {segment.name: segment.number for segment in found.segments} == {"a": 2, "b": 1}
