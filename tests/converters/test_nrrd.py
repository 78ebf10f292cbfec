"""NRRD files written byte by byte here, and read through SimpleITK."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

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
    data = voxels.tobytes()
    return "\n".join(lines).encode() + b"\n\n" + (gzip.compress(data, mtime=0) if encoding == "gzip" else data)


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


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
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
