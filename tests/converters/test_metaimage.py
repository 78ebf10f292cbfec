"""MetaImage files written byte by byte here, and read through SimpleITK."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

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
