"""Masks as a sparse matrix. SciPy writes them; what it reads back is the oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from medshard.converters.annotations.segments import SegmentedImage
from medshard.converters.formats.format import Request
from medshard.converters.geometry import pixel_grid_affine
from medshard.converters.reading import read_annotation
from medshard.errors import CaseError

SHAPE = (1, 6, 9)
MASKS = np.random.default_rng(3).random((4, *SHAPE)) > 0.6
MASKS[2] = False


def saved(path: Path, matrix: object) -> Path:
    sparse.save_npz(path, matrix)
    return path


def matrix_of(masks: np.ndarray, dtype: str = "int32") -> sparse.csr_matrix:
    return sparse.csr_matrix(masks.reshape(len(masks), -1).astype(dtype))


def read(path: Path, shape: tuple[int, int, int] = SHAPE) -> SegmentedImage:
    request = Request(grid=(shape, pixel_grid_affine()))
    found = read_annotation([path], where="entry/case", request=request)
    assert isinstance(found, SegmentedImage)
    return found


def refusal(path: Path, shape: tuple[int, int, int] = SHAPE) -> str:
    with pytest.raises(CaseError) as found:
        read(path, shape)
    assert found.value.where == "entry/case"
    return found.value.code


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool", "int64"])
def test_each_row_is_a_class_on_the_grid_of_the_image(dtype: str, tmp_path: Path) -> None:
    found = read(saved(tmp_path / "x___a.(4, 6, 9, 1).npz", matrix_of(MASKS, dtype)))
    np.testing.assert_array_equal(found.array, MASKS)
    assert [(segment.number, segment.channel) for segment in found.segments] == [(1, 0), (2, 1), (3, 2), (4, 3)]
    assert not found.trusted_geometry


@given(st.integers(1, 6), st.integers(1, 7), st.integers(1, 7), st.integers(0, 9))
def test_what_scipy_reads_is_what_is_read(rows: int, y: int, x: int, seed: int) -> None:
    from tempfile import TemporaryDirectory

    masks = np.random.default_rng(seed).random((rows, 1, y, x)) > 0.5
    with TemporaryDirectory() as folder:
        path = saved(Path(folder) / "m.npz", matrix_of(masks))
        np.testing.assert_array_equal(read(path, (1, y, x)).array.reshape(rows, -1), sparse.load_npz(path).toarray())


def test_masks_of_another_image_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.npz", matrix_of(MASKS))
    assert refusal(path, (1, 6, 8)) == "geometry.mismatch"
    with pytest.raises(CaseError, match="annotation.no_image"):
        read_annotation([path], where="entry/case", request=Request())


def test_other_matrices_are_refused_by_name(tmp_path: Path) -> None:
    counted = matrix_of(MASKS)
    counted.data[3] = 2
    assert refusal(saved(tmp_path / "counts.npz", counted)) == "read.unsupported"
    assert refusal(saved(tmp_path / "columns.npz", matrix_of(MASKS).tocsc())) == "read.unsupported"
    assert refusal(saved(tmp_path / "float.npz", matrix_of(MASKS, "float32"))) == "read.unsupported"


PARTS = {
    "indices": np.array([0, 5, 7], np.int32),
    "indptr": np.array([0, 2, 3], np.int32),
    "format": np.array(b"csr"),
    "shape": np.array([2, 54]),
    "data": np.ones(3, np.int32),
}


@pytest.mark.parametrize(
    ("part", "value", "code"),
    [
        ("indices", np.array([0, 54, 7]), "read.unreadable"),
        ("indices", np.array([0, -1, 7]), "read.unreadable"),
        ("indptr", np.array([0, 3, 2]), "read.unreadable"),
        ("indptr", np.array([0, 2, 3, 3]), "read.unreadable"),
        ("indptr", np.array([1, 2, 3]), "read.unreadable"),
        ("data", np.ones(2, np.int32), "read.unreadable"),
        ("shape", np.array([2, 54, 1]), "read.unreadable"),
        ("shape", np.array([0, 54]), "read.unreadable"),
        ("shape", np.array([10**9, 54]), "read.too_large"),
        ("indices", np.zeros(10**6, np.int64), "read.unreadable"),
    ],
)
def test_parts_that_do_not_fit_are_refused(part: str, value: np.ndarray, code: str, tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "good.npz", **PARTS)
    assert read(tmp_path / "good.npz").array.sum() == 3
    np.savez_compressed(tmp_path / "bad.npz", **{**PARTS, part: value})
    assert refusal(tmp_path / "bad.npz") == code


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    content = saved(tmp_path / "m.npz", matrix_of(MASKS)).read_bytes()
    for size in (len(content) // 3, len(content) - 5):
        (tmp_path / "cut.npz").write_bytes(content[:size])
        assert refusal(tmp_path / "cut.npz").startswith("read.")
