"""Mosaics: made with known places, since real ones are measured by benchmarks/dicom_fidelity.py against dcm2niix."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from made_dicom import frames, item, planes, write

from medshard.converters.reading import read_header, read_image
from medshard.errors import CaseError


def csa_header(**tags):
    """A Siemens CSA header of the second version with the given tags, each a list of words."""
    made = b"SV10\x04\x03\x02\x01" + struct.pack("<2I", len(tags), 77)
    for name, words in tags.items():
        made += struct.pack("<64si4s3i", name.encode(), len(words), b"FD", 3, len(words), 77)
        for word in words:
            content = word.encode() + b"\0"
            made += struct.pack("<4i", len(content), len(content), 77, len(content))
            made += content + bytes(-len(content) % 4)
    return made


def tiled(voxels, across, down):
    """(z, y, x) as one large frame of tiles."""
    z, y, x = voxels.shape
    filled = np.concatenate([voxels, np.zeros((across * down - z, y, x), voxels.dtype)])
    return filled.reshape(down, across, y, x).swapaxes(1, 2).reshape(down * y, across * x)


def siemens(voxels, *, first, normal=(0, 0, 1), series="mosaic", time="100000", **fields):
    """A mosaic of which the first tile's first pixel lies at `first`, mm LPS."""
    across = int(np.ceil(np.sqrt(len(voxels))))
    large = tiled(voxels, across, across)
    spread = (across - 1) / 2 * np.array([voxels.shape[2] * 0.8, voxels.shape[1] * 0.6, 0])
    (made,) = frames(
        large[None],
        modality="MR",
        series=series,
        origin=np.asarray(first) - spread,
        ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"],
        SpacingBetweenSlices=2.5,
        AcquisitionTime=time,
    )
    private = made.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    words = {"NumberOfImagesInMosaic": [str(len(voxels))], "SliceNormalVector": [str(v) for v in normal], **fields}
    private.add_new(0x10, "OB", csa_header(**words))
    return made


@pytest.mark.parametrize(("side", "order"), [(1, slice(None)), (-1, slice(None, None, -1))])
def test_tiles_lie_along_the_stated_normal(tmp_path, side, order):
    voxels = planes(7)
    image = read_image(write([siemens(voxels, first=(-10, 20, 30), normal=(0, 0, side))], tmp_path), where="e/c")
    np.testing.assert_array_equal(image.array[0], voxels[order])
    lowest = 30 if side > 0 else 30 - 6 * 2.5
    np.testing.assert_allclose(image.affine @ [0, 0, 0, 1], [10, -20, lowest, 1], atol=1e-5)
    np.testing.assert_allclose(image.spacing_mm, (2.5, 0.6, 0.8))


def test_each_file_is_a_volume(tmp_path):
    made = [siemens(planes(4, start=500 * t), first=(0, 0, 0), time=f"10000{t}") for t in range(3)]
    for t, dataset in enumerate(made):
        dataset.SOPInstanceUID = f"1.2.3.{t + 1}"
    image = read_image(write(made[::-1], tmp_path), where="e/c")
    assert image.array[:, 0, 0, 0, 0].tolist() == [0, 500, 1000]
    assert (image.leading.kind, image.leading.values) == ("time", (0.0, 1.0, 2.0))


def test_a_grid_of_united_imaging_states_the_place_of_every_tile(tmp_path):
    voxels = planes(5)
    (made,) = frames(tiled(voxels, 3, 2)[None], modality="MR", ImagePositionPatient=None)
    made.ImageType = ["ORIGINAL", "PRIMARY", "M", "VFRAME"]
    block = made.private_block(0x0065, "Image Private Header", create=True)
    block.add_new(0x50, "DS", "5")
    block.add_new(0x51, "SQ", [item(ImagePositionPatient=[1, 2, 10 - 3.0 * z]) for z in range(5)])
    image = read_image(write([made], tmp_path), where="e/c")
    np.testing.assert_array_equal(image.array[0], voxels[::-1])
    np.testing.assert_allclose(image.affine @ [0, 0, 0, 1], [-1, -2, -2, 1], atol=1e-6)


@pytest.mark.parametrize(
    "broken",
    [
        {"NumberOfImagesInMosaic": []},
        {"NumberOfImagesInMosaic": ["1000000"]},
        {"NumberOfImagesInMosaic": ["50"]},
        {"SliceNormalVector": []},
        {"SliceNormalVector": ["1", "0", "0"]},
    ],
)
def test_a_mosaic_that_cannot_be_taken_apart_is_refused_by_name(tmp_path, broken):
    with pytest.raises(CaseError) as error:
        read_header(write([siemens(planes(7), first=(0, 0, 0), **broken)], tmp_path), where="e/c")
    assert error.value.code == "dicom.unknown_mosaic"
