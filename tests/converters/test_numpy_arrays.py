"""Arrays written by NumPy, and hostile ones written byte by byte here."""

from __future__ import annotations

import io
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from medshard.converters.formats.faults import bad_file_errors
from medshard.converters.formats.format import Header, Request
from medshard.converters.formats.numpy_arrays import FORMAT
from medshard.converters.volume import Image
from medshard.errors import CaseError

VOXELS = np.random.default_rng(0).integers(-1000, 3000, (4, 6, 5)).astype("<i2")


def read(path: Path, key: str | None = None) -> tuple[Header, Image]:
    assert FORMAT.sniff([path])
    with bad_file_errors(path, FORMAT.name):
        header = FORMAT.read_header([path], Request(key=key))
        image = FORMAT.read([path], Request(key=key))
    assert isinstance(image, Image)
    assert image.array.shape == (header.channels, *header.shape)
    assert not image.trusted_geometry
    assert not header.trusted_geometry
    return header, image


def refused(path: Path, key: str | None = None) -> CaseError:
    with pytest.raises(CaseError) as error:
        read(path, key)
    return error.value


def saved(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "<i2", ">i2", "<u2", "<i4", ">u4", "<i8", "<u8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_integers_are_what_numpy_reads(tmp_path, dtype, order):
    stored = np.asarray(VOXELS % 2 if dtype == "?" else VOXELS.astype(dtype), dtype=dtype, order=order)
    _, image = read(saved(tmp_path / "a.npy", stored))
    np.testing.assert_array_equal(image.array[0], np.load(tmp_path / "a.npy"))
    assert image.array.dtype == ("uint8" if dtype == "?" else stored.dtype.newbyteorder("="))


@pytest.mark.parametrize("dtype", ["<f4", ">f8"])
def test_real_numbers_keep_their_value(tmp_path, dtype):
    stored = (VOXELS / 4).astype(dtype)
    _, image = read(saved(tmp_path / "a.npy", stored))
    np.testing.assert_array_equal(image.array[0], stored)


@pytest.mark.parametrize(
    ("shape", "dtype", "expected", "channels_last"),
    [
        ((6, 5), "i2", (1, 1, 6, 5), False),
        ((4, 6, 5), "u1", (1, 4, 6, 5), False),
        ((6, 5, 3), "u1", (3, 1, 6, 5), True),
        ((6, 5, 4), "u1", (4, 1, 6, 5), True),
        ((6, 5, 3), "i2", (1, 6, 5, 3), False),
        ((6, 5, 3), "f4", (1, 6, 5, 3), False),
        ((2, 4, 6, 5), "i2", (2, 4, 6, 5), False),
        ((4, 6, 5, 3), "u1", (3, 4, 6, 5), True),
        ((4, 6, 5, 1), "f4", (1, 4, 6, 5), True),
    ],
)
def test_axes_are_taken_by_the_documented_rule_and_said_to_be(tmp_path, shape, dtype, expected, channels_last):
    stored = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    header, image = read(saved(tmp_path / "a.npy", stored))
    assert image.array.shape == expected
    wanted = np.moveaxis(stored, -1, 0) if channels_last else stored
    np.testing.assert_array_equal(image.array.reshape(-1), wanted.reshape(-1))
    assert "last axis is taken as x" in header.warnings[0]
    assert (len(header.warnings) == 2) == channels_last


@pytest.mark.parametrize("shape", [(), (5,), (2, 2, 2, 2, 2), (0, 5, 5)])
def test_what_is_no_image_is_refused_with_its_shape(tmp_path, shape):
    assert refused(saved(tmp_path / "a.npy", np.zeros(shape))).code == "read.unsupported"


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


def test_objects_are_refused_by_name_and_no_pickle_is_run(tmp_path):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|O", "fortran_order": False, "shape": (2, 2)})
    path = tmp_path / "a.npy"
    path.write_bytes(buffer.getvalue() + pickle.dumps(Trap()))
    error = refused(path)
    assert error.code == "read.unsupported"
    assert error.details["found"] == "Python objects"
    assert "pickles" in error.action


@pytest.mark.parametrize("dtype", ["complex64", "U3", "S3", "datetime64[s]", [("a", "i2"), ("b", "f4")]])
def test_what_is_no_plain_number_is_refused(tmp_path, dtype):
    assert refused(saved(tmp_path / "a.npy", np.zeros((3, 3), dtype))).code == "read.unsupported"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_one_array_of_several_is_picked_by_its_key(tmp_path, save):
    save(tmp_path / "a.npz", image=VOXELS, mask=np.asfortranarray(VOXELS > 0))
    _, image = read(tmp_path / "a.npz", "image")
    _, mask = read(tmp_path / "a.npz", "mask")
    np.testing.assert_array_equal(image.array[0], VOXELS)
    np.testing.assert_array_equal(mask.array[0], VOXELS > 0)


def test_several_arrays_and_no_key_are_listed(tmp_path):
    np.savez(tmp_path / "a.npz", image=VOXELS, mask=VOXELS > 0)
    for key in (None, "label"):
        error = refused(tmp_path / "a.npz", key)
        assert error.code == "read.no_such_array"
        assert error.details["array image"] == "(4, 6, 5) <i2"
        assert error.details["array mask"] == "(4, 6, 5) |b1"


def test_a_single_array_needs_no_key(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", VOXELS)
    np.testing.assert_array_equal(read(tmp_path / "a.npz")[1].array[0], VOXELS)


def test_wrong_bytes_in_a_member_fail_its_checksum(tmp_path):
    np.savez(tmp_path / "a.npz", image=VOXELS)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[200] ^= 0xFF
    (tmp_path / "a.npz").write_bytes(bytes(content))
    assert refused(tmp_path / "a.npz").code == "read.unreadable"


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_a_cut_file_is_truncated(tmp_path, name):
    (np.save if name == "a.npy" else np.savez)(tmp_path / name, VOXELS)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-30])
    assert refused(tmp_path / name).code == "read.truncated"


def promising(shape: str, descr: str = "'<f8'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(800)


@pytest.mark.parametrize(
    "content",
    [
        promising("(2147483647, 2147483647, 2147483647)"),
        promising("(100000, 100000)"),
        promising("(-5, 20)"),
        promising("(" + "9" * 5000 + ",)"),
        promising("__import__('os').abort()"),
        promising("(10, 10)", "'<V9999999999'"),
        b"\x93NUMPY\x09\x00" + bytes(100),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(100),
        b"\x93NUMPY",
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_hostile_header_costs_an_error_and_no_memory(tmp_path, content, packed):
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    if packed:
        with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(path, "x.npy")
        path = tmp_path / "a.npz"
    tracemalloc.start()
    try:
        refused(path)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stored=arrays.arrays(
        st.sampled_from(["<i2", ">u2", "u1", "<f4", ">f8", "?"]), arrays.array_shapes(min_dims=2, max_dims=3)
    ),
    packed=st.booleans(),
)
def test_what_numpy_writes_is_read_as_numpy_reads_it(tmp_path, stored, packed):
    path = tmp_path / ("a.npz" if packed else "a.npy")
    (np.savez_compressed if packed else np.save)(path, stored)
    header, image = read(path)
    back = np.moveaxis(image.array, 0, -1) if len(header.warnings) == 2 else image.array
    with np.errstate(over="ignore"):
        expected = stored.astype(image.array.dtype)
    np.testing.assert_array_equal(back.reshape(-1), expected.reshape(-1))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), min_size=1, max_size=4), packed=st.booleans()
)
def test_flipped_bytes_give_an_image_or_an_error_of_the_case(tmp_path, changes, packed):
    path = tmp_path / ("a.npz" if packed else "a.npy")
    (np.savez if packed else np.save)(path, VOXELS)
    content = bytearray(path.read_bytes())
    for place, byte in changes:
        content[place if place % 2 else -place - 1] = byte
    path.write_bytes(bytes(content))
    if not FORMAT.sniff([path]):
        return
    try:
        header, image = read(path)
    except CaseError:
        return
    assert image.shape == header.shape
