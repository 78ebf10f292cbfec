"""NRRD files written byte by byte here, and read through SimpleITK."""

from __future__ import annotations

import bz2
import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (the name that everybody knows it by)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medshard.converters.formats.nrrd import header_fields
from medshard.converters.reading import read_header, read_image
from medshard.errors import CaseError

VOXELS = np.random.default_rng(0).integers(-1000, 3000, (4, 6, 5)).astype("<i2")
TO_RAS = {
    "right-anterior-superior": (1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
    "left-anterior-superior": (-1, 1, 1),
}
DIRECTIONS = np.array([[0.8, 0.1, 0.0], [-0.1, 0.7, 0.2], [0.0, 0.4, 2.5]])
ORIGIN = np.array([-12.5, 30.25, -700.125])


def nrrd(voxels: np.ndarray = VOXELS, *, encoding: str = "raw", **fields: str) -> bytes:
    lines = [
        "NRRD0004",
        f"type: {np.dtype(voxels.dtype).name}",
        f"dimension: {voxels.ndim}",
        f"sizes: {' '.join(str(n) for n in reversed(voxels.shape))}",
        f"encoding: {encoding}",
    ]
    lines += [] if voxels.itemsize == 1 else ["endian: little"]
    lines += [f"{name.replace('_', ' ')}: {value}" for name, value in fields.items()]
    return "\n".join(lines).encode() + b"\n\n" + encoded(voxels, encoding)


def encoded(voxels: np.ndarray, encoding: str) -> bytes:
    if encoding == "text":
        return " ".join(str(value) for value in voxels.ravel()).encode() + b"\n"
    data = voxels.tobytes()
    packed = {"gzip": lambda: gzip.compress(data, mtime=0), "bzip2": lambda: bz2.compress(data)}
    return packed.get(encoding, lambda: data)()


def vector(values) -> str:
    return "(" + ",".join(repr(float(v)) for v in values) + ")"


def placed(space: str, *, before: str = "", after: str = "") -> dict[str, str]:
    directions = " ".join(vector(row) for row in DIRECTIONS)
    return {
        "space": space,
        "space_directions": f"{before} {directions} {after}".strip(),
        "space_origin": vector(ORIGIN),
    }


def save(path: Path, content: bytes) -> list[Path]:
    path.write_bytes(content)
    return [path]


def refused(files: list[Path]) -> CaseError:
    with pytest.raises(CaseError) as error:
        read_image(files, where="entry/case")
    return error.value


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "text"])
@pytest.mark.parametrize("space", TO_RAS)
def test_voxels_and_every_corner_are_what_the_file_states(tmp_path, space, encoding):
    files = save(tmp_path / "scan.nrrd", nrrd(encoding=encoding, **placed(space)))
    image = read_image(files, where="e/c")
    np.testing.assert_array_equal(image.array[0], VOXELS)
    assert image.array.dtype == np.int16
    for z, y, x in ((0, 0, 0), (3, 5, 4), (3, 0, 4)):
        stated = ORIGIN + x * DIRECTIONS[0] + y * DIRECTIONS[1] + z * DIRECTIONS[2]
        np.testing.assert_allclose((image.affine @ [z, y, x, 1])[:3], stated * TO_RAS[space], atol=1e-4)


def test_the_header_agrees_with_the_image(tmp_path):
    files = save(tmp_path / "scan.nrrd", nrrd(**placed("left-posterior-superior")))
    header, image = read_header(files, where="e/c"), read_image(files, where="e/c")
    assert (header.format, header.shape, header.dtype, header.channels) == ("nrrd", image.shape, "int16", 1)
    np.testing.assert_array_equal(header.affine, image.affine)
    assert header.voxel_bytes == image.array.nbytes
    assert header.warnings == ()


@pytest.mark.parametrize("first", [True, False], ids=["list axis first", "list axis last"])
def test_a_list_axis_becomes_the_channels(tmp_path, first):
    channels = np.stack([VOXELS, VOXELS + 1, VOXELS * 2])
    kinds = "list domain domain domain" if first else "domain domain domain list"
    geometry = placed("left-posterior-superior", **({"before": "none"} if first else {"after": "none"}))
    stored = np.ascontiguousarray(np.moveaxis(channels, 0, -1)) if first else channels
    image = read_image(save(tmp_path / "scan.nrrd", nrrd(stored, kinds=kinds, **geometry)), where="e/c")
    np.testing.assert_array_equal(image.array, channels)


def test_a_fourth_domain_axis_becomes_time(tmp_path):
    series = np.stack([VOXELS, VOXELS + 1])
    files = save(tmp_path / "scan.nrrd", nrrd(series, spacings="0.5 0.5 2 1"))
    image = read_image(files, where="e/c")
    np.testing.assert_array_equal(image.array, series[:, None])
    assert read_header(files, where="e/c").timepoints == 2
    assert image.spacing_mm == (2.0, 0.5, 0.5)


def test_spacing_without_a_space_is_trusted_with_a_warning(tmp_path):
    header = read_header(save(tmp_path / "scan.nrrd", nrrd(spacings="0.5 0.5 2")), where="e/c")
    assert header.spacing_mm == (2.0, 0.5, 0.5)
    assert header.trusted_geometry
    assert "orientation" in header.warnings[0]


def test_without_spacing_and_space_the_geometry_is_not_trusted(tmp_path):
    files = save(tmp_path / "scan.nrrd", nrrd())
    assert not read_header(files, where="e/c").trusted_geometry
    assert not read_image(files, where="e/c").trusted_geometry


def test_a_detached_data_file_is_found_beside_its_header(tmp_path):
    (tmp_path / "scan.raw").write_bytes(VOXELS.tobytes())
    header = nrrd(data_file="scan.raw", **placed("left-posterior-superior")).split(b"\n\n")[0] + b"\n"
    image = read_image(save(tmp_path / "scan.nhdr", header), where="e/c")
    np.testing.assert_array_equal(image.array[0], VOXELS)


def test_a_missing_data_file_is_named(tmp_path):
    header = nrrd(data_file="lost.raw").split(b"\n\n")[0] + b"\n"
    error = refused(save(tmp_path / "scan.nhdr", header))
    assert error.code == "read.missing_part"
    assert error.details["expected"] == "lost.raw"


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
@pytest.mark.parametrize("cut", [3, 60])
def test_a_cut_file_is_truncated(tmp_path, encoding, cut):
    error = refused(save(tmp_path / "scan.nrrd", nrrd(encoding=encoding, spacings="1 1 1")[:-cut]))
    assert error.code == "read.truncated"


def test_wrong_bytes_in_the_compressed_data_are_not_called_truncated(tmp_path):
    content = bytearray(nrrd(encoding="gzip", spacings="1 1 1"))
    content[-5] ^= 0xFF
    content[-40] ^= 0xFF
    error = refused(save(tmp_path / "scan.nrrd", bytes(content)))
    assert error.code == "read.unreadable"
    assert str(tmp_path) not in str(error)
    assert "0x" not in error.details["reason"]


def assert_simpleitk_agrees(path: Path) -> None:
    """Voxel by voxel, and at the corner farthest from the first voxel."""
    expected = sitk.ReadImage(str(path))
    dimension = expected.GetDimension()
    stored = sitk.GetArrayFromImage(expected)
    stored = stored.reshape(*stored.shape[:dimension], -1)
    voxels = np.moveaxis(stored.reshape((1,) * (5 - stored.ndim) + stored.shape), -1, 1)
    last = [size - 1 for size in expected.GetSize()[:3]] + [0] * (dimension - 3)
    corner = np.array([*expected.TransformIndexToPhysicalPoint(last), 0.0])[:3] * (-1, -1, 1)
    image = read_image([path], where="e/c")
    np.testing.assert_array_equal(image.array if image.array.ndim == 5 else image.array[None], voxels)
    np.testing.assert_allclose((image.affine @ [*(n - 1 for n in image.shape), 1])[:3], corner, atol=1e-4)


@pytest.mark.parametrize(
    ("space", "warned"),
    [("RAS", False), ("las", False), ("LPS", False), ("scanner-xyz", True), ("3D-right-handed", True)],
)
def test_abbreviated_and_other_spaces_are_what_simpleitk_takes_them_for(tmp_path, space, warned):
    files = save(tmp_path / "scan.nrrd", nrrd(**placed(space)))
    assert_simpleitk_agrees(files[0])
    assert bool(read_header(files, where="e/c").warnings) == warned


@pytest.mark.parametrize(
    "fields",
    [
        {"spacings": "0.5 -0.5 2"},
        {"spacings": "0.5 0.5 2", "axis_mins": "5 6 7"},
        {"spacings": "0.5 0.5 nan"},
        {**placed("RAS"), "measurement_frame": "(0,1,0) (1,0,0) (0,0,1)", "content": "a patient"},
        {**placed("RAS"), "kinds": "domain domain time"},
        {**placed("LPS"), "centerings": "cell cell cell", "space_units": '"mm" "mm" "mm"'},
        {"space": "RAS", "space_directions": placed("RAS")["space_directions"]},
    ],
)
def test_geometry_that_is_stated_in_part_lies_where_simpleitk_puts_it(tmp_path, fields):
    assert_simpleitk_agrees(save(tmp_path / "scan.nrrd", nrrd(**fields))[0])


@pytest.mark.parametrize("at", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", ["list", "vector", "RGB-color", "3-vector"])
def test_an_axis_of_channels_may_stand_anywhere(tmp_path, at, kind):
    channels = np.stack([VOXELS, VOXELS + 1, VOXELS * 2])
    kinds = ["domain"] * 3
    kinds.insert(at, kind)
    steps = placed("LPS")["space_directions"].split()
    steps.insert(at, "none")
    stored = np.ascontiguousarray(np.moveaxis(channels, 0, 3 - at))
    geometry = {**placed("LPS"), "space_directions": " ".join(steps)}
    files = save(tmp_path / "scan.nrrd", nrrd(stored, kinds=" ".join(kinds), **geometry))
    np.testing.assert_array_equal(read_image(files, where="e/c").array, channels)
    assert read_header(files, where="e/c").channels == 3
    assert_simpleitk_agrees(files[0])


@pytest.mark.parametrize(("at", "channels", "steps"), [(0, 3, 1), (3, 1, 3)])
def test_an_axis_that_says_nothing_of_itself_is_given_a_role_with_a_warning(tmp_path, at, channels, steps):
    series = np.stack([VOXELS, VOXELS + 1, VOXELS * 2])
    words = placed("LPS")["space_directions"].split()
    words.insert(at, "none")
    stored = np.ascontiguousarray(np.moveaxis(series, 0, 3 - at))
    files = save(tmp_path / "scan.nrrd", nrrd(stored, **{**placed("LPS"), "space_directions": " ".join(words)}))
    header = read_header(files, where="e/c")
    assert (header.channels, header.timepoints) == (channels, steps)
    assert "no direction and no kind" in header.warnings[0]
    np.testing.assert_array_equal(read_image(files, where="e/c").array.reshape(series.shape), series)


@pytest.mark.parametrize("space", ["LPST", "left-posterior-superior-time", "RAST", "right-anterior-superior-time"])
def test_a_space_with_time_has_images_one_after_the_other(tmp_path, space):
    series = np.stack([VOXELS, VOXELS + 1])
    directions = "(1,0,0,0) (0,2,0,0) (0,0,3,0) (0,0,0,1.5)"
    fields = {"space": space, "space_directions": directions, "space_origin": "(1,2,3,0)"}
    files = save(tmp_path / "scan.nrrd", nrrd(series, **fields))
    image = read_image(files, where="e/c")
    np.testing.assert_array_equal(image.array, series[:, None])
    sign = 1 if space.startswith(("R", "r")) else -1
    np.testing.assert_allclose((image.affine @ [3, 5, 4, 1])[:3], [sign * 5, sign * 12, 12])
    # SimpleITK turns RAS into LPS, but not RAS with time: there the definition of the format holds against it.
    if sign == -1:
        assert_simpleitk_agrees(files[0])


def test_one_slice_in_space_gets_a_normal_and_a_warning(tmp_path):
    fields = {"space": "LPS", "space_directions": "(0,0.5,0) (0,0,0.7)", "space_origin": "(1,2,3)"}
    files = save(tmp_path / "scan.nrrd", nrrd(VOXELS[0], **fields))
    image = read_image(files, where="e/c")
    np.testing.assert_allclose(image.affine[:3], [[-1, 0, 0, -1], [0, 0, -0.5, -2], [0, 0.7, 0, 3]], atol=1e-12)
    assert "thickness" in read_header(files, where="e/c").warnings[0]


def test_spacings_in_a_space_leave_the_orientation_assumed(tmp_path):
    header = read_header(save(tmp_path / "scan.nrrd", nrrd(space="RAS", spacings="0.5 0.6 2")), where="e/c")
    assert header.spacing_mm == (2.0, 0.6, 0.5)
    assert "orientation is assumed" in header.warnings[0]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"kinds": "complex domain domain"}, "read.unsupported"),
        ({"kinds": "list vector domain"}, "read.unsupported"),
        ({"kinds": "domain domain"}, "read.unreadable"),
        ({"space": "LPS", "space_directions": "(1,0,0) (0,1,0)"}, "read.unreadable"),
        ({"space": "LPS", "space_directions": "(1,0,0) (0,1,0) (0,0,inf)"}, "geometry.singular"),
        ({"space": "LPS", "space_directions": "(1,0,0) (0,1,0) (0,1,0)"}, "geometry.singular"),
        ({"space": "LPS", "space_directions": "(1,0,0) (0,1,0) (0,0,0)"}, "geometry.singular"),
        (
            {"space": "LPS", "space_directions": "(1,0,0) (0,1,0) none", "kinds": "domain list domain"},
            "read.unreadable",
        ),
        ({"spacings": "1 1 one"}, "read.unreadable"),
        ({"byte_skip": "-7"}, "read.unreadable"),
    ],
)
def test_headers_that_contradict_themselves_are_refused(tmp_path, fields, code):
    assert refused(save(tmp_path / "scan.nrrd", nrrd(**fields))).code == code


@pytest.mark.parametrize("encoding", ["hex", "zrl", "magic"])
def test_other_encodings_are_refused_by_name(tmp_path, encoding):
    error = refused(save(tmp_path / "scan.nrrd", nrrd(encoding=encoding, spacings="1 1 1")))
    assert error.code == "read.unsupported"
    assert error.details["field"] == "encoding"


def detached(path: Path, *data: str, encoding: str = "raw", **fields: str) -> list[Path]:
    content = nrrd(encoding=encoding, **fields, **placed("LPS")).split(b"\n\n")[0] + b"\ndata file: "
    return save(path, content + "\n".join(data).encode() + b"\n")


@pytest.mark.parametrize(
    "data",
    [
        ("s%03d.raw 1 4 1",),
        ("s%03d.raw 1 4 1 2",),
        ("LIST", "s001.raw", "s002.raw", "s003.raw", "s004.raw"),
        ("LIST 2", "s001.raw", "s002.raw", "s003.raw", "s004.raw"),
    ],
)
@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_slices_in_files_of_their_own_are_one_volume(tmp_path, data, encoding):
    for number, plane in enumerate(VOXELS, start=1):
        (tmp_path / f"s{number:03d}.raw").write_bytes(encoded(plane, encoding))
    files = detached(tmp_path / "scan.nhdr", *data, encoding=encoding)
    np.testing.assert_array_equal(read_image(files, where="e/c").array[0], VOXELS)
    assert_simpleitk_agrees(files[0])


def test_slabs_of_several_slices_may_lie_in_a_file(tmp_path):
    for number, slab in enumerate((VOXELS[:2], VOXELS[2:])):
        (tmp_path / f"s{number}.raw").write_bytes(slab.tobytes())
    files = detached(tmp_path / "scan.nhdr", "LIST 3", "s0.raw", "s1.raw")
    np.testing.assert_array_equal(read_image(files, where="e/c").array[0], VOXELS)


@pytest.mark.parametrize(
    ("fields", "before"),
    [
        ({"byte_skip": "7"}, b"1234567"),
        ({"byte_skip": "-1"}, b"a header of any length"),
        ({"line_skip": "2"}, b"one\ntwo\n"),
        ({"line_skip": "1", "byte_skip": "3"}, b"one\n123"),
    ],
)
def test_lines_and_bytes_before_the_voxels_are_skipped(tmp_path, fields, before):
    (tmp_path / "scan.raw").write_bytes(before + VOXELS.tobytes())
    files = detached(tmp_path / "scan.nhdr", "scan.raw", **fields)
    np.testing.assert_array_equal(read_image(files, where="e/c").array[0], VOXELS)
    assert_simpleitk_agrees(files[0])


@pytest.mark.parametrize("name", ["../scan.raw", "/etc/passwd", "LIST\n../scan.raw", "../s%d.raw 1 1 1"])
def test_a_data_file_outside_the_folder_is_refused(tmp_path, name):
    (tmp_path / "inner").mkdir()
    for data in ("scan.raw", "s1.raw"):
        (tmp_path / data).write_bytes(VOXELS.tobytes())
    error = refused(detached(tmp_path / "inner" / "scan.nhdr", *name.split("\n")))
    assert (error.code, "outside" in error.problem) == ("read.unsupported", True)


@pytest.mark.parametrize("data", ["s%d%d.raw 1 2 1", "s%s.raw 1 2 1", "s%d.raw 1 2 0", "s%d.raw 1 999999999 1"])
def test_a_pattern_that_cannot_be_followed_is_refused(tmp_path, data):
    assert refused(detached(tmp_path / "scan.nhdr", data)).code == "read.unreadable"


def test_a_file_that_the_header_does_not_name_is_not_passed_over(tmp_path):
    (tmp_path / "scan.raw").write_bytes(VOXELS.tobytes())
    (tmp_path / "other.raw").write_bytes(VOXELS.tobytes())
    files = detached(tmp_path / "scan.nhdr", "scan.raw")
    assert refused([*files, tmp_path / "other.raw"]).code == "read.several_images"
    assert read_image([*files, tmp_path / "scan.raw"], where="e/c").shape == VOXELS.shape


def test_header_fields_are_spelled_alike_and_carry_the_pairs(tmp_path):
    extra = b"\nSegment0_Name:=left: lung\\nupper\ndatafile: x.raw"
    path = tmp_path / "scan.nhdr"
    path.write_bytes(nrrd(**placed("LPS")).split(b"\n\n")[0].replace(b"space origin", b"Space  Origin") + extra)
    fields = header_fields(path)
    assert fields["Segment0_Name"] == "left: lung\nupper"
    assert fields["data file"] == "x.raw"
    assert fields["space origin"] == vector(ORIGIN)


def test_free_text_of_the_header_is_in_no_error_and_no_warning(tmp_path):
    secret = b"\ncontent: Jane Roe\nowner:=Jane Roe\n# Jane Roe"
    content = nrrd(spacings="1 1 1").replace(b"\nencoding", secret + b"\nencoding")
    assert "Jane" not in str(read_header(save(tmp_path / "scan.nrrd", content), where="e/c"))
    assert "Jane" not in str(refused(save(tmp_path / "cut.nrrd", content[:-9])))
    assert "Jane" not in str(refused(save(tmp_path / "odd.nrrd", content.replace(b"type: int16", b"type: Jane Roe"))))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"sizes: 5 6 4", b"sizes: 2147483647 2147483647 2147483647"),
        (b"sizes: 5 6 4", b"sizes: 5 6 -4"),
        (b"sizes: 5 6 4", b"sizes: 5 6"),
        (b"dimension: 3", b"dimension: 300"),
        (b"type: int16", b"type: block"),
        (b"encoding", b"endian: big\nencoding"),
        (b"encoding", b"line skip: 99999999\nencoding"),
        (b"encoding", b"byte skip: 99999999999\nencoding"),
        (b"encoding", b"encoding: raw\nencoding"),
    ],
)
@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2", "text"])
def test_a_hostile_header_costs_an_error_and_no_memory(tmp_path, field, value, encoding):
    files = save(tmp_path / "scan.nrrd", nrrd(encoding=encoding, spacings="1 1 1").replace(field, value, 1))
    tracemalloc.start()
    try:
        refused(files)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.lists(st.integers(1, 7), min_size=2, max_size=4),
    dtype=st.sampled_from(["u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"]),
    spacing=st.lists(st.floats(0.01, 20), min_size=4, max_size=4),
    origin=st.lists(st.floats(-1e4, 1e4), min_size=4, max_size=4),
    angles=st.lists(st.floats(-3, 3), min_size=3, max_size=3),
    packed=st.booleans(),
    suffix=st.sampled_from([".nrrd", ".nhdr"]),
)
def test_what_simpleitk_writes_is_read_as_simpleitk_reads_it(
    tmp_path, *, shape, dtype, spacing, origin, angles, packed, suffix
):
    voxels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    image = sitk.GetImageFromArray(voxels, isVector=False)
    image.SetSpacing(spacing[: len(shape)])
    image.SetOrigin(origin[: len(shape)])
    if len(shape) == 3:
        image.SetDirection(sitk.Euler3DTransform((0, 0, 0), *angles).GetMatrix())
    sitk.WriteImage(image, str(tmp_path / f"scan{suffix}"), packed)
    assert_simpleitk_agrees(tmp_path / f"scan{suffix}")


SOUND = nrrd(encoding="gzip", **placed("left-posterior-superior"))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 280), st.integers(0, 255)), min_size=1, max_size=4))
def test_flipped_bytes_give_an_image_or_an_error_of_the_case(tmp_path, changes):
    content = bytearray(SOUND)
    for place, byte in changes:
        content[place] = byte
    try:
        image = read_image(save(tmp_path / "scan.nrrd", bytes(content)), where="e/c")
    except CaseError:
        return
    assert image.array.nbytes <= 8 * 1032 * len(SOUND)


def test_a_real_scan_in_nrrd_is_what_simpleitk_reads(tmp_path):
    scan = Path(__file__).parents[2] / "registry" / "examples" / "format-families" / "breast1_mr.mha"
    sitk.WriteImage(sitk.ReadImage(str(scan)), str(tmp_path / "scan.nrrd"), True)
    assert_simpleitk_agrees(tmp_path / "scan.nrrd")
