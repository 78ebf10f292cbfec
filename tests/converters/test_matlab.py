"""MATLAB arrays of level 5 written by SciPy, and HDF5 written by h5py, read back by both."""

from __future__ import annotations

import tracemalloc
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medshard.converters.formats.faults import bad_file_errors
from medshard.converters.formats.format import Header, Request
from medshard.converters.formats.matlab import FORMAT
from medshard.converters.volume import Image
from medshard.errors import CaseError

# (row, column, page), as MATLAB indexes it.
VOXELS = np.random.default_rng(0).integers(0, 200, (6, 5, 4)).astype("<i2")


def read(path: Path, key: str | None = "Mask") -> tuple[Header, Image]:
    assert FORMAT.sniff([path])
    with bad_file_errors(path, FORMAT.name):
        header = FORMAT.read_header([path], Request(key=key))
        image = FORMAT.read([path], Request(key=key))
    assert isinstance(image, Image)
    assert image.array.shape == (header.channels, *header.shape)
    assert not header.trusted_geometry
    return header, image


def refused(path: Path, key: str | None = "Mask") -> CaseError:
    with pytest.raises(CaseError) as error:
        read(path, key)
    return error.value


def level5(path: Path, *, compressed: bool = False, **variables: object) -> Path:
    scipy.io.savemat(path, variables, do_compression=compressed)
    return path


def by_rows_and_columns(image: Image) -> np.ndarray:
    """Back to (row, column, page)."""
    return image.array[0].transpose(1, 2, 0)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_rows_are_y_columns_are_x_and_pages_are_z(tmp_path, compressed, dtype):
    path = level5(tmp_path / "a.mat", compressed=compressed, Mask=VOXELS.astype(dtype))
    header, image = read(path)
    assert header.shape == (4, 6, 5)
    np.testing.assert_array_equal(by_rows_and_columns(image), scipy.io.loadmat(path)["Mask"])
    assert "rows are taken as y" in header.warnings[0]


@pytest.mark.parametrize(("shape", "expected"), [((6, 5), (1, 1, 6, 5)), ((6, 5, 4, 2), (2, 4, 6, 5))])
def test_two_indices_are_a_picture_and_the_fourth_counts_channels(tmp_path, shape, expected):
    stored = np.arange(np.prod(shape)).reshape(shape)
    _, image = read(level5(tmp_path / "a.mat", Mask=stored))
    assert image.array.shape == expected
    full = stored.reshape(*shape, *(1,) * (4 - len(shape)))
    np.testing.assert_array_equal(image.array, full.transpose(3, 2, 0, 1))


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"a": 1}, "structure"),
        (np.array([1, "a"], object), "cell array"),
        ("text", "text"),
        (np.array([[1 + 2j]]), "complex numbers"),
        (scipy.sparse.eye(3).tocsc(), "sparse array"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused_by_name(tmp_path, value, found):
    error = refused(level5(tmp_path / "a.mat", Mask=value))
    assert (error.code, error.details["found"]) == ("read.unsupported", found)


def test_without_a_key_the_only_array_is_taken_and_several_are_listed(tmp_path):
    path = level5(tmp_path / "a.mat", Mask=VOXELS, note="text")
    np.testing.assert_array_equal(by_rows_and_columns(read(path, None)[1]), VOXELS)
    path = level5(tmp_path / "b.mat", Mask=VOXELS, Other=VOXELS, note="text")
    for key in (None, "Lung"):
        error = refused(path, key)
        assert error.code == "read.no_such_array"
        assert error.details["array Other"] == "(6, 5, 4) int16"


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("cut", [1, 60, 200])
def test_a_cut_file_is_truncated(tmp_path, compressed, cut):
    path = level5(tmp_path / "a.mat", compressed=compressed, Mask=VOXELS)
    path.write_bytes(path.read_bytes()[:-cut])
    assert refused(path).code == "read.truncated"


def test_wrong_bytes_in_compressed_data_fail_their_checksum(tmp_path):
    path = level5(tmp_path / "a.mat", compressed=True, Mask=VOXELS)
    content = bytearray(path.read_bytes())
    content[-2] ^= 0xFF
    path.write_bytes(bytes(content))
    assert refused(path).code == "read.unreadable"


@pytest.mark.parametrize("sizes", [(2**31 - 1, 2**31 - 1, 4), (60000, 60000, 1), (-6, 5, 4)])
@pytest.mark.parametrize("compressed", [False, True])
def test_hostile_sizes_cost_an_error_and_no_memory(tmp_path, sizes, compressed):
    path = level5(tmp_path / "a.mat", Mask=VOXELS)
    content = path.read_bytes()
    stated, hostile = (np.array(size, "<i4").tobytes() for size in (VOXELS.shape, sizes))
    element = content[128:].replace(stated, hostile)
    assert element != content[128:]
    if compressed:
        packed = zlib.compress(element)
        element = np.array([15, len(packed)], "<u4").tobytes() + packed
    path.write_bytes(content[:128] + element)
    tracemalloc.start()
    try:
        refused(path)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def hdf5(path: Path, *, matlab_class: str | None = "int16", **options: object) -> Path:
    """As MATLAB 7.3 writes it: the axes the other way round, behind a block of 512 bytes."""
    with h5py.File(path, "w", userblock_size=512 if matlab_class else 0) as file:
        found = file.create_dataset("Mask", data=VOXELS.transpose() if matlab_class else VOXELS, **options)
        if matlab_class:
            found.attrs["MATLAB_class"] = np.bytes_(matlab_class)
    return path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (1, 5, 6)},
        {"chunks": (2, 3, 6), "compression": "gzip", "shuffle": True, "fletcher32": True},
        {"compression": "lzf"},
    ],
)
def test_matlab_7_3_has_the_same_axes_as_level_5(tmp_path, options):
    header, image = read(hdf5(tmp_path / "a.mat", **options))
    np.testing.assert_array_equal(by_rows_and_columns(image), VOXELS)
    assert "rows are taken as y" in header.warnings[0]


def test_other_hdf5_has_its_last_axis_as_x(tmp_path):
    header, image = read(hdf5(tmp_path / "a.h5", matlab_class=None))
    np.testing.assert_array_equal(image.array[0], VOXELS)
    assert "last axis is taken as x" in header.warnings[0]


def test_a_dataset_in_a_group_has_its_path_as_key(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["scan/left"] = VOXELS
    np.testing.assert_array_equal(read(tmp_path / "a.h5", "scan/left")[1].array[0], VOXELS)
    assert refused(tmp_path / "a.h5", "scan").details["found"] == "a group"
    assert refused(tmp_path / "a.h5", "scan/right").code == "read.no_such_array"


def test_no_link_is_followed_into_another_file(tmp_path):
    hdf5(tmp_path / "other.h5", matlab_class=None)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["Mask"] = h5py.ExternalLink("other.h5", "/Mask")
        layout = h5py.VirtualLayout(VOXELS.shape, VOXELS.dtype)
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "Mask", VOXELS.shape)
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("outside", VOXELS.shape, VOXELS.dtype, external=[("other.h5", 0, VOXELS.nbytes)])
    assert refused(tmp_path / "a.h5").code == "read.no_such_array"
    for key in ("virtual", "outside"):
        assert refused(tmp_path / "a.h5", key).details["found"] == "data in other files"


@pytest.mark.parametrize("matlab_class", ["char", "cell", "struct", "function_handle"])
def test_other_classes_of_matlab_7_3_are_refused(tmp_path, matlab_class):
    assert refused(hdf5(tmp_path / "a.mat", matlab_class=matlab_class)).code == "read.unsupported"


def test_references_and_text_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("Mask", (3, 3), h5py.ref_dtype)
        file["text"] = "some text"
    assert refused(tmp_path / "a.h5").code == "read.unsupported"
    assert refused(tmp_path / "a.h5", "text").code == "read.unsupported"


@pytest.mark.parametrize("options", [{}, {"chunks": (64, 64, 64), "compression": "gzip"}])
def test_an_array_that_the_file_does_not_hold_costs_an_error_and_no_memory(tmp_path, options):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("Mask", (100_000, 100_000, 100), "f8", **options)
    assert refused(tmp_path / "a.h5").code == "read.truncated"


def test_chunks_that_need_much_memory_at_once_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("Mask", (512, 512, 512), "u1", chunks=(512, 512, 512), compression="gzip")
    assert "chunks" in refused(tmp_path / "a.h5").details["found"]


@pytest.mark.parametrize("cut", [1, 100, 1500])
def test_a_cut_hdf5_file_is_truncated(tmp_path, cut):
    path = hdf5(tmp_path / "a.mat")
    path.write_bytes(path.read_bytes()[:-cut])
    assert refused(path).code in ("read.truncated", "read.unreadable")


KINDS = ("level 5", "level 5 compressed", "hdf5")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(0, 2500), st.integers(0, 255)), min_size=1, max_size=4),
    kind=st.sampled_from(KINDS),
)
def test_flipped_bytes_give_an_image_or_an_error_of_the_case(tmp_path, changes, kind):
    path = tmp_path / kind
    if kind == "hdf5":
        hdf5(path, chunks=(1, 5, 6), compression="gzip")
    else:
        level5(path.with_suffix(".mat"), compressed=kind.endswith("compressed"), Mask=VOXELS).rename(path)
    content = bytearray(path.read_bytes())
    for place, byte in changes:
        content[place % len(content)] = byte
    path.write_bytes(bytes(content))
    if not FORMAT.sniff([path]):
        return
    try:
        header, image = read(path)
    except CaseError:
        return
    assert image.shape == header.shape
