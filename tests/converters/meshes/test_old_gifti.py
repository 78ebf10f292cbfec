"""GIFTI in the words of the drafts of its format, as older programs write it."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medshard.converters.formats.format import ANY
from medshard.converters.formats.mesh import read
from medshard.converters.volume import Mesh

POINTS = np.array([[0, 0, 0], [1.5, 0, 0], [0, 2.5, 0], [0, 0, 3.5]], np.float32)
FACES = np.array([[0, 1, 2], [0, 2, 3], [0, 1, 3]], np.int32)


def data_array(values: np.ndarray, intent: str, kind: str, words: dict[str, str]) -> str:  # type: ignore[type-arg]
    order = "F" if words["order"] == "ColumnMajorOrder" else "C"
    numbers = values.astype(values.dtype.newbyteorder(">" if words["endian"].endswith("BIG") else "<"))
    content = numbers.tobytes(order=order)
    if words["encoding"] == "GIFTI_ENCODING_ASCII":
        text = " ".join(str(value) for value in values.flatten(order=order))
    else:
        packed = zlib.compress(content) if words["encoding"].endswith("GZ") else content
        text = base64.b64encode(packed).decode()
    return (
        f'<DataArray Intent="{intent}" DataType="{kind}" ArrayIndexingOrder="{words["order"]}" Dimensionality="2" '
        f'Dim0="{values.shape[0]}" Dim1="3" Encoding="{words["encoding"]}" Endian="{words["endian"]}" '
        f'ExternalFileName="" ExternalFileOffset=""><Data>{text}</Data></DataArray>'
    )


@pytest.mark.parametrize("encoding", ["GIFTI_ENCODING_ASCII", "GIFTI_ENCODING_B64BIN", "GIFTI_ENCODING_B64GZ"])
@pytest.mark.parametrize("endian", ["GIFTI_ENDIAN_LITTLE", "GIFTI_ENDIAN_BIG"])
@pytest.mark.parametrize("order", ["RowMajorOrder", "ColumnMajorOrder"])
def test_the_words_of_the_drafts_mean_what_nibabel_takes_them_for(
    tmp_path: Path, encoding: str, endian: str, order: str
) -> None:
    words = {"encoding": encoding, "endian": endian, "order": order}
    points = data_array(POINTS, "NIFTI_INTENT_POINTSET", "NIFTI_TYPE_FLOAT32", words)
    faces = data_array(FACES, "NIFTI_INTENT_TRIANGLE", "NIFTI_TYPE_INT32", words)
    path = tmp_path / "m.gii"
    path.write_text(f'<?xml version="1.0"?><GIFTI Version="1.0" NumberOfDataArrays="2">{points}{faces}</GIFTI>')
    found = read([path], ANY)
    assert isinstance(found, Mesh)
    oracle = nibabel.gifti.GiftiImage.from_filename(path)
    np.testing.assert_array_equal(found.vertices, POINTS)
    np.testing.assert_array_equal(found.faces, FACES)
    np.testing.assert_array_equal(oracle.darrays[0].data, POINTS)
