"""Analyze 7.5 against nibabel, with and without SPM's origin."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st

from medshard.converters.formats import analyze, nifti
from medshard.converters.formats.faults import bad_file_errors
from medshard.converters.geometry import check_affine
from medshard.errors import CaseError

NIBABEL_DATA = Path(nibabel.__file__).parent / "tests" / "data"
ORDERS = st.sampled_from("<>")


def write(path: Path, array: np.ndarray, *, order: str = "<") -> Path:
    header = nibabel.AnalyzeHeader(endianness=order)
    header.set_data_dtype(array.dtype)
    nibabel.save(nibabel.AnalyzeImage(array, np.diag([2.0, 3.0, 4.0, 1.0]), header), path)
    return path


def read(path: Path):
    assert analyze.sniff([path])
    assert not nifti.sniff([path])
    return analyze.read_header([path]), analyze.read([path])


@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(st.integers(1, 6), min_size=3, max_size=4),
    dtype=st.sampled_from(["u1", "i2", "i4", "f4", "f8"]),
    order=ORDERS,
    compressed=st.booleans(),
)
def test_voxels_and_affine_are_those_of_nibabel(tmp_path_factory, shape, dtype, order, compressed):
    array = (np.random.default_rng(2).integers(0, 90, shape) + (0.5 if "f" in dtype else 0)).astype(dtype)
    path = write(tmp_path_factory.mktemp("a") / "scan.hdr", array, order=order)
    oracle = nibabel.AnalyzeImage.from_filename(path)
    expected = np.array(oracle.dataobj.get_unscaled()).T
    if compressed:
        for part in (path, path.with_suffix(".img")):
            part.with_name(part.name + ".gz").write_bytes(gzip.compress(part.read_bytes()))
            part.unlink()
        path = path.with_name("scan.hdr.gz")
    stated, image = read(path)
    np.testing.assert_array_equal(np.squeeze(image.array), np.squeeze(expected))
    np.testing.assert_allclose(image.affine[:, [2, 1, 0, 3]], oracle.header.get_base_affine(), atol=1e-5)
    np.testing.assert_array_equal(stated.affine, image.affine)
    assert stated.spacing_mm == (4.0, 3.0, 2.0)
    assert any("assumed" in text for text in stated.warnings)


def test_the_voxels_are_those_of_simpleitk(tmp_path):
    array = np.arange(120, dtype=np.int16).reshape(6, 5, 4)
    path = write(tmp_path / "scan.hdr", array)
    np.testing.assert_array_equal(read(path)[1].array[0], sitk.GetArrayFromImage(sitk.ReadImage(str(path))))


@settings(max_examples=40, deadline=None)
@given(origin=st.tuples(*[st.integers(-12, 20)] * 3), order=ORDERS)
def test_the_origin_of_spm_is_used_where_spm_would(tmp_path_factory, origin, order):
    array = np.zeros((7, 6, 5), np.int16)
    path = write(tmp_path_factory.mktemp("a") / "scan.hdr", array, order=order)
    raw = bytearray(path.read_bytes())
    struct.pack_into(order + "3h", raw, 253, *origin)
    path.write_bytes(raw)
    oracle = nibabel.Spm99AnalyzeImage.from_filename(path)
    np.testing.assert_allclose(read(path)[1].affine[:, [2, 1, 0, 3]], oracle.header.get_origin_affine(), atol=1e-5)


def test_the_scale_factor_of_spm_goes_into_the_rescale(tmp_path):
    array = np.arange(120, dtype=np.int16).reshape(6, 5, 4)
    path = write(tmp_path / "scan.hdr", array)
    raw = bytearray(path.read_bytes())
    struct.pack_into("<f", raw, 112, 0.25)
    path.write_bytes(raw)
    stated, image = read(path)
    expected = np.asarray(nibabel.load(path).dataobj)
    np.testing.assert_allclose(image.rescale.apply(image.array)[0], expected.T)
    assert image.array.dtype == np.int16
    assert any("scale factor" in text for text in stated.warnings)


def test_a_header_without_its_image_file_is_named_as_such():
    with pytest.raises(CaseError) as error:
        analyze.read_header([NIBABEL_DATA / "analyze.hdr"])
    assert error.value.code == "read.missing_part"
    assert error.value.details["expected"] == "analyze.img"


def test_the_image_file_alone_finds_its_header(tmp_path):
    array = np.arange(120, dtype=np.int16).reshape(6, 5, 4)
    path = write(tmp_path / "scan.hdr", array)
    np.testing.assert_array_equal(analyze.read([path.with_suffix(".img")]).array[0], array.T)


def test_the_name_of_whoever_made_the_file_stays_in_it(tmp_path):
    path = write(tmp_path / "scan.hdr", np.zeros((6, 5, 4), np.int16))
    raw = bytearray(path.read_bytes())
    for offset, length in ((148, 80), (228, 24), (253, 10), (293, 10)):
        raw[offset : offset + length] = b"Doe^Jane".ljust(length, b"!")
    path.write_bytes(raw)
    assert "Doe" not in repr(read(path))


@settings(max_examples=300, deadline=None)
@given(flips=st.lists(st.tuples(st.integers(0, 347), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_header_is_an_image_or_an_error(tmp_path_factory, flips):
    folder = tmp_path_factory.getbasetemp()
    path = write(folder / "fuzzed.hdr", np.arange(60, dtype=np.int16).reshape(5, 4, 3))
    raw = bytearray(path.read_bytes())
    for place, value in flips:
        raw[place] = value
    path.write_bytes(raw)
    if not analyze.sniff([path]):
        return
    try:
        with bad_file_errors(path, "analyze"):
            stated, image = analyze.read_header([path]), analyze.read([path])
            check_affine(image.affine, where="e/c", file=path.name)
    except CaseError:
        return
    assert stated.shape == image.shape
    assert image.array.nbytes <= 60 * 8
