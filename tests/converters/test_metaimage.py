"""MetaImage files written byte by byte here, and read through SimpleITK."""

from __future__ import annotations

import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (the name that everybody knows it by)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medshard.converters.reading import read_header, read_image
from medshard.errors import CaseError

VOXELS = np.random.default_rng(0).integers(-1000, 3000, (4, 6, 5)).astype("<i2")
# Columns of the direction matrix one after the other, as the format has them: 30 degrees about z.
MATRIX = np.array([[0.8660254037844387, 0.5, 0], [-0.5, 0.8660254037844387, 0], [0, 0, 1]])
SPACING = np.array([0.7, 0.8, 2.5])
OFFSET = np.array([-12.5, 30.25, -700.125])
PLACED = {
    "TransformMatrix": " ".join(map(repr, MATRIX.ravel().tolist())),
    "Offset": " ".join(map(repr, OFFSET.tolist())),
    "ElementSpacing": " ".join(map(repr, SPACING.tolist())),
}


def header(data_file: str = "LOCAL", *, voxels: np.ndarray = VOXELS, **fields: str) -> bytes:
    size = " ".join(str(n) for n in reversed(voxels.shape[:3]))
    lines = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        **fields,
        "DimSize": size,
        "ElementType": "MET_SHORT",
        "ElementDataFile": data_file,
    }
    return "".join(f"{name} = {value}\n" for name, value in lines.items()).encode()


def compressed() -> tuple[bytes, dict[str, str]]:
    data = zlib.compress(VOXELS.tobytes())
    return data, {"CompressedData": "True", "CompressedDataSize": str(len(data))}


def save(path: Path, content: bytes) -> list[Path]:
    path.write_bytes(content)
    return [path]


def refused(files: list[Path]) -> CaseError:
    with pytest.raises(CaseError) as error:
        read_image(files, where="entry/case")
    return error.value


def test_voxels_and_every_corner_are_what_the_file_states(tmp_path):
    image = read_image(save(tmp_path / "scan.mha", header(**PLACED) + VOXELS.tobytes()), where="e/c")
    np.testing.assert_array_equal(image.array[0], VOXELS)
    for z, y, x in ((0, 0, 0), (3, 5, 4), (3, 0, 4)):
        lps = OFFSET + np.array([x, y, z]) * SPACING @ MATRIX
        np.testing.assert_allclose((image.affine @ [z, y, x, 1])[:3], lps * (-1, -1, 1), atol=1e-4)


def test_a_compressed_detached_file_holds_the_same(tmp_path):
    data, fields = compressed()
    (tmp_path / "scan.zraw").write_bytes(data)
    files = save(tmp_path / "scan.mhd", header("scan.zraw", **PLACED, **fields))
    np.testing.assert_array_equal(read_image(files, where="e/c").array[0], VOXELS)
    np.testing.assert_array_equal(read_image([tmp_path / "scan.zraw", *files], where="e/c").array[0], VOXELS)


def test_components_become_channels(tmp_path):
    pair = np.stack([VOXELS, VOXELS + 1], axis=-1)
    content = header(voxels=pair, ElementNumberOfChannels="2", **PLACED) + pair.tobytes()
    files = save(tmp_path / "scan.mha", content)
    np.testing.assert_array_equal(read_image(files, where="e/c").array, np.moveaxis(pair, -1, 0))
    assert read_header(files, where="e/c").channels == 2


def test_the_header_says_modality_shape_and_dtype(tmp_path):
    found = read_header(
        save(tmp_path / "scan.mha", header(Modality="MET_MOD_CT", **PLACED) + VOXELS.tobytes()), where="e/c"
    )
    assert (found.modality, found.shape, found.dtype) == ("CT", (4, 6, 5), "int16")
    assert found.spacing_mm == pytest.approx((2.5, 0.8, 0.7))


def test_without_spacing_the_geometry_is_not_trusted(tmp_path):
    files = save(tmp_path / "scan.mha", header() + VOXELS.tobytes())
    assert not read_image(files, where="e/c").trusted_geometry


def test_spacing_without_position_is_trusted_with_a_warning(tmp_path):
    found = read_header(save(tmp_path / "scan.mha", header(ElementSpacing="1 1 2") + VOXELS.tobytes()), where="e/c")
    assert found.trusted_geometry
    assert "origin is assumed" in found.warnings[0]


def test_a_missing_data_file_is_named(tmp_path):
    error = refused(save(tmp_path / "scan.mhd", header("lost.raw", **PLACED)))
    assert error.code == "read.missing_part"
    assert error.details["expected"] == "lost.raw"


def test_a_cut_file_is_truncated_whether_attached_or_not_and_compressed_or_not(tmp_path, capfd):
    data, fields = compressed()
    (tmp_path / "cut.raw").write_bytes(VOXELS.tobytes()[:-2])
    for content in (
        header(**PLACED) + VOXELS.tobytes()[:-2],
        header(**PLACED, **fields) + data[:-2],
        header("cut.raw", **PLACED),
        header(**PLACED)[:-8],
    ):
        assert refused(save(tmp_path / "scan.mha", content)).code == "read.truncated"
    assert capfd.readouterr().err == "", "MetaIO writes its complaints to the terminal"


def test_compressed_data_that_simpleitk_would_pass_as_garbage_are_refused(tmp_path, capfd):
    data, fields = compressed()
    content = header(**PLACED, **fields) + b"\x00" * len(data)
    assert refused(save(tmp_path / "scan.mha", content)).code == "read.unreadable"
    assert capfd.readouterr().err == ""


def by_simpleitk(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (t, c, z, y, x), and the far corner in RAS."""
    image = sitk.ReadImage(str(path))
    dimension = image.GetDimension()
    stored = sitk.GetArrayFromImage(image)
    stored = stored.reshape(*stored.shape[:dimension], -1)
    last = [size - 1 for size in image.GetSize()[:3]] + [0] * (dimension - 3)
    corner = np.array([*image.TransformIndexToPhysicalPoint(last), 0.0])[:3] * (-1, -1, 1)
    return np.moveaxis(stored.reshape((1,) * (5 - stored.ndim) + stored.shape), -1, 1), corner


def assert_simpleitk_agrees(path: Path) -> None:
    voxels, corner = by_simpleitk(path)
    image = read_image([path], where="e/c")
    np.testing.assert_array_equal(image.array if image.array.ndim == 5 else image.array[None], voxels)
    np.testing.assert_allclose((image.affine @ [*(n - 1 for n in image.shape), 1])[:3], corner, atol=1e-4)


def typed(element: str, dtype: str, extra: str = "", sizes: str = "6 5 4") -> bytes:
    voxels = np.arange(120).astype(dtype)
    dimensions = len(sizes.split())
    return (
        f"ObjectType = Image\nNDims = {dimensions}\nDimSize = {sizes}\nBinaryData = True\n"
        f"ElementSpacing = {' '.join(['2'] * dimensions)}\n{extra}ElementType = {element}\nElementDataFile = LOCAL\n"
    ).encode() + voxels.tobytes()


@pytest.mark.parametrize(
    ("element", "dtype"),
    [
        ("MET_CHAR", "i1"),
        ("MET_UCHAR", "u1"),
        ("MET_SHORT", "<i2"),
        ("MET_USHORT", "<u2"),
        ("MET_INT", "<i4"),
        ("MET_UINT", "<u4"),
        ("MET_LONG", "<i4"),
        ("MET_ULONG", "<u4"),
        ("MET_LONG_LONG", "<i8"),
        ("MET_ULONG_LONG", "<u8"),
        ("MET_FLOAT", "<f4"),
        ("MET_DOUBLE", "<f8"),
        ("MET_USHORT_ARRAY", "<u2"),
        ("MET_FLOAT_ARRAY", "<f4"),
    ],
)
def test_every_element_type_is_as_long_as_simpleitk_has_it(tmp_path, element, dtype):
    save(tmp_path / "scan.mha", typed(element, dtype))
    assert_simpleitk_agrees(tmp_path / "scan.mha")


@pytest.mark.parametrize(
    "fields",
    [
        "Rotation = 0 1 0 -1 0 0 0 0 1\nOrigin = 4 5 6\n",
        "Orientation = 0 1 0 -1 0 0 0 0 1\nPosition = 4 5 6\n",
        "ElementSize = 9 9 9\n",
        "AnatomicalOrientation = RAI\nCenterOfRotation = 3 4 5\n",
        "Offset: 1 2 3\n",
        "Offset = 1e1 -.5 +3.\n",
    ],
)
def test_the_names_and_remarks_of_geometry_mean_what_simpleitk_takes_them_for(tmp_path, fields):
    save(tmp_path / "scan.mha", typed("MET_SHORT", "<i2", fields))
    assert_simpleitk_agrees(tmp_path / "scan.mha")


@pytest.mark.parametrize("name", ["BinaryDataByteOrderMSB", "ElementByteOrderMSB"])
def test_both_names_of_the_byte_order_count(tmp_path, name):
    save(tmp_path / "scan.mha", typed("MET_SHORT", ">i2", f"{name} = True\n"))
    assert_simpleitk_agrees(tmp_path / "scan.mha")


@pytest.mark.parametrize("sizes", ["12 10", "6 5 2 2"])
def test_two_and_four_dimensions_lie_where_simpleitk_puts_them(tmp_path, sizes):
    turned = {"12 10": "0 1 -1 0", "6 5 2 2": "0 1 0 0 -1 0 0 0 0 0 1 0 0 0 0 1"}[sizes]
    offset = " ".join(["7"] * len(sizes.split()))
    save(tmp_path / "scan.mha", typed("MET_SHORT", "<i2", f"TransformMatrix = {turned}\nOffset = {offset}\n", sizes))
    assert_simpleitk_agrees(tmp_path / "scan.mha")
    assert read_header([tmp_path / "scan.mha"], where="e/c").timepoints == (2 if len(sizes) > 5 else 1)


@pytest.mark.parametrize("skip", ["-1", "11"])
def test_the_bytes_before_the_voxels_of_a_data_file_are_skipped(tmp_path, skip):
    (tmp_path / "scan.raw").write_bytes(b"x" * 11 + VOXELS.tobytes())
    save(tmp_path / "scan.mhd", header("scan.raw", HeaderSize=skip, **PLACED))
    assert_simpleitk_agrees(tmp_path / "scan.mhd")


@pytest.mark.parametrize("data_file", ["LIST\nb.raw\na.raw\nd.raw\nc.raw", "LIST 2\nb.raw\na.raw\nd.raw\nc.raw"])
def test_listed_slices_keep_the_order_of_the_list(tmp_path, data_file):
    for name, plane in zip("badc", VOXELS, strict=True):
        (tmp_path / f"{name}.raw").write_bytes(plane.tobytes())
    save(tmp_path / "scan.mhd", header(data_file, **PLACED))
    np.testing.assert_array_equal(read_image([tmp_path / "scan.mhd"], where="e/c").array[0], VOXELS)
    assert_simpleitk_agrees(tmp_path / "scan.mhd")


@pytest.mark.parametrize("data_file", ["s%03d.raw 1 4 1", "s%03d.raw"])
def test_numbered_slices_are_read_in_their_order(tmp_path, data_file):
    for number, plane in enumerate(VOXELS, start=1):
        (tmp_path / f"s{number:03d}.raw").write_bytes(plane.tobytes())
    save(tmp_path / "scan.mhd", header(data_file, **PLACED))
    np.testing.assert_array_equal(read_image([tmp_path / "scan.mhd"], where="e/c").array[0], VOXELS)


def test_voxels_in_text_are_the_numbers_that_stand_there(tmp_path):
    content = header(**{**PLACED, "BinaryData": "False"}) + " ".join(str(v) for v in VOXELS.ravel()).encode()
    save(tmp_path / "scan.mha", content)
    np.testing.assert_array_equal(read_image([tmp_path / "scan.mha"], where="e/c").array[0], VOXELS)
    assert refused(save(tmp_path / "cut.mha", content[:-300])).code == "read.truncated"
    assert refused(save(tmp_path / "word.mha", content[:-300] + b"x" * 300)).code == "read.unreadable"


def test_compressed_data_inside_the_file_need_no_size(tmp_path):
    content = header(CompressedData="True", **PLACED) + zlib.compress(VOXELS.tobytes())
    np.testing.assert_array_equal(read_image(save(tmp_path / "scan.mha", content), where="e/c").array[0], VOXELS)


@pytest.mark.parametrize("name", ["../scan.raw", "/etc/passwd", "sub/../../scan.raw", "C:\\data\\scan.raw"])
def test_a_data_file_outside_the_folder_is_refused(tmp_path, name):
    (tmp_path / "scan.raw").write_bytes(VOXELS.tobytes())
    (tmp_path / "inner" / "sub").mkdir(parents=True)
    error = refused(save(tmp_path / "inner" / "scan.mhd", header(name, **PLACED)))
    assert error.code == "read.unsupported"
    assert "outside" in error.problem


def test_a_data_file_in_a_folder_below_is_read(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "scan.raw").write_bytes(VOXELS.tobytes())
    save(tmp_path / "scan.mhd", header("sub/scan.raw", **PLACED))
    assert_simpleitk_agrees(tmp_path / "scan.mhd")


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"DistanceUnits": "cm"}, "units"),
        ({"ElementToIntensityFunctionSlope": "2", "ElementToIntensityFunctionOffset": "0"}, "intensity"),
    ],
)
def test_what_simpleitk_passes_over_is_warned_of(tmp_path, fields, word):
    files = save(tmp_path / "scan.mha", header(**PLACED, **fields) + VOXELS.tobytes())
    assert word in read_header(files, where="e/c").warnings[0]
    assert_simpleitk_agrees(files[0])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("DimSize", "2147483647 2147483647 2147483647"),
        ("DimSize", "6 5 -4"),
        ("DimSize", "6 5 four"),
        ("DimSize", "6 5 0"),
        ("NDims", "7"),
        ("ElementNumberOfChannels", "4294967295"),
        ("ElementSpacing", "1 1 inf"),
        ("Offset", "1 1"),
        ("HeaderSize", "99999999999"),
        ("ElementType", "MET_OTHER"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_hostile_header_costs_an_error_and_no_memory(tmp_path, field, value, packed):
    data, extra = compressed() if packed else (VOXELS.tobytes(), {})
    lines = header(**PLACED, **extra).decode().splitlines()
    kept = [line for line in lines if not line.startswith(f"{field} ")]
    content = "\n".join([*kept[:-1], f"{field} = {value}", kept[-1]]).encode() + b"\n" + data
    files = save(tmp_path / "scan.mha", content)
    tracemalloc.start()
    try:
        refused(files)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.lists(st.integers(1, 7), min_size=3, max_size=3),
    dtype=st.sampled_from(["u1", "i2", "u2", "i4", "f4"]),
    spacing=st.lists(st.floats(0.01, 20), min_size=3, max_size=3),
    origin=st.lists(st.floats(-1e4, 1e4), min_size=3, max_size=3),
    angles=st.lists(st.floats(-3, 3), min_size=3, max_size=3),
    packed=st.booleans(),
    suffix=st.sampled_from([".mha", ".mhd"]),
)
def test_what_simpleitk_writes_is_read_as_simpleitk_reads_it(
    tmp_path, *, shape, dtype, spacing, origin, angles, packed, suffix
):
    image = sitk.GetImageFromArray(np.arange(np.prod(shape)).reshape(shape).astype(dtype))
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(sitk.Euler3DTransform((0, 0, 0), *angles).GetMatrix())
    sitk.WriteImage(image, str(tmp_path / f"scan{suffix}"), packed)
    assert_simpleitk_agrees(tmp_path / f"scan{suffix}")


SOUND = header(**PLACED) + VOXELS.tobytes()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 330), st.integers(0, 255)), min_size=1, max_size=4))
def test_flipped_bytes_give_an_image_or_an_error_of_the_case(tmp_path, changes):
    content = bytearray(SOUND)
    for place, byte in changes:
        content[place] = byte
    try:
        image = read_image(save(tmp_path / "scan.mha", bytes(content)), where="e/c")
    except CaseError:
        return
    assert image.array.nbytes <= 2 * 8 * len(SOUND)


def test_a_real_scan_is_what_simpleitk_reads():
    assert_simpleitk_agrees(Path(__file__).parents[2] / "registry" / "examples" / "format-families" / "breast1_mr.mha")
