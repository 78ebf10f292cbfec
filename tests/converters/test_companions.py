"""The data file of a header belongs to the case: its bytes must be in the key and in the lineage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (the name that everybody knows it by)

from medshard.converters.companions import companions


@pytest.fixture
def image() -> sitk.Image:
    return sitk.GetImageFromArray(np.arange(24, dtype=np.int16).reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("name", "compressed", "data"),
    [
        ("scan.mhd", False, "scan.raw"),
        ("scan.mhd", True, "scan.zraw"),
        ("scan.nhdr", False, "scan.raw"),
        ("scan.nhdr", True, "scan.raw.gz"),
    ],
)
def test_a_detached_header_names_its_data(
    tmp_path: Path, image: sitk.Image, name: str, compressed: bool, data: str
) -> None:
    sitk.WriteImage(image, str(tmp_path / name), compressed)
    tree = {f"a/{path.name}" for path in tmp_path.iterdir()} | {"a/other.raw", "b/scan.raw"}
    assert f"a/{data}" in tree
    assert companions(f"a/{name}", tmp_path / name, tree) == (f"a/{data}",)


@pytest.mark.parametrize("name", ["scan.mha", "scan.nrrd", "scan.nii.gz"])
def test_a_whole_file_has_none(tmp_path: Path, image: sitk.Image, name: str) -> None:
    sitk.WriteImage(image, str(tmp_path / name))
    assert companions(name, tmp_path / name, {name, "scan.raw"}) == ()


def test_an_analyze_pair_is_found_by_name(tmp_path: Path, image: sitk.Image) -> None:
    sitk.WriteImage(image, str(tmp_path / "scan.img"))
    assert companions("scan.hdr", tmp_path / "scan.hdr", {"scan.hdr", "scan.img", "x.img"}) == ("scan.img",)


HEADER = "NDims = 3\nDimSize = 4 3 2\nElementType = MET_SHORT\n"
SLICES = ("a/slice1.raw", "a/slice2.raw")
TREE = {"a/scan.mhd", "a/scan.nhdr", *SLICES, "a/slice3.raw", "b/slice1.raw", "secret.raw"}


@pytest.mark.parametrize("data", ["LIST\nslice1.raw\nslice2.raw\n", "slice%d.raw 1 2 1\n", "slice%d.raw\n"])
def test_slices_in_files_of_their_own_are_those_that_a_metaimage_names(tmp_path: Path, data: str) -> None:
    (tmp_path / "scan.mhd").write_text(f"{HEADER}ElementDataFile = {data}")
    assert companions("a/scan.mhd", tmp_path / "scan.mhd", TREE) == SLICES


@pytest.mark.parametrize("data", ["LIST\nslice1.raw\nslice2.raw\n", "slice%01d.raw 1 2 1\n", "slice%d.raw 1 2 1 2\n"])
def test_slices_in_files_of_their_own_are_those_that_a_nrrd_names(tmp_path: Path, data: str) -> None:
    (tmp_path / "scan.nhdr").write_text(f"NRRD0004\ntype: short\ndata file: {data}")
    assert companions("a/scan.nhdr", tmp_path / "scan.nhdr", TREE) == SLICES


@pytest.mark.parametrize("content", ["", "NRRD0004\ndata file: LIST\n", "no header at all", "NRRD0004\na: b\na: b\n"])
def test_a_broken_header_has_none_and_is_left_to_its_reader(tmp_path: Path, content: str) -> None:
    (tmp_path / "scan.nhdr").write_text(content)
    assert companions("a/scan.nhdr", tmp_path / "scan.nhdr", TREE) == ()
