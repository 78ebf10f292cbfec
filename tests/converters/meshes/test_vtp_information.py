"""Data arrays as VTK writes them since version 8: with facts about the numbers in elements of their own."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest

from medshard.converters.formats.format import ANY
from medshard.converters.formats.mesh import read
from medshard.converters.volume import Mesh

POINTS = np.array([[0, 0, 0], [1.5, 0, 0], [0, 2.5, 0]], np.float32)
KEY = (
    '<InformationKey name="L2_NORM_RANGE" location="vtkDataArray" length="2">'
    '<Value index="0">0</Value><Value index="1">2.5</Value></InformationKey>'
)


def packed(values: np.ndarray) -> str:  # type: ignore[type-arg]
    content = values.astype(values.dtype.newbyteorder("<")).tobytes()
    return base64.b64encode(len(content).to_bytes(4, "little") + content).decode()


def data_array(values: np.ndarray, kind: str, form: str, more: str = "") -> str:  # type: ignore[type-arg]
    text = packed(values) if form == "binary" else " ".join(str(value) for value in values.flatten())
    start = f'<DataArray type="{kind}" NumberOfComponents="{values.ndim * 2 - 1}" format="{form}" {more}>'
    return f"{start}\n{text}\n{KEY}\n</DataArray>"


@pytest.mark.parametrize("form", ["ascii", "binary"])
def test_facts_within_a_data_array_are_none_of_its_numbers(tmp_path: Path, form: str) -> None:
    points = data_array(POINTS, "Float32", form, 'Name="Points"')
    corners = data_array(np.array([0, 1, 2], np.int64), "Int64", form, 'Name="connectivity"')
    ends = data_array(np.array([3], np.int64), "Int64", form, 'Name="offsets"')
    path = tmp_path / "m.vtp"
    path.write_text(
        '<?xml version="1.0"?><VTKFile type="PolyData" version="0.1" byte_order="LittleEndian" header_type="UInt32">'
        '<PolyData><Piece NumberOfPoints="3" NumberOfVerts="0" NumberOfLines="0" NumberOfStrips="0" NumberOfPolys="1">'
        f"<Points>{points}</Points><Polys>{corners}{ends}</Polys></Piece></PolyData></VTKFile>"
    )
    found = read([path], ANY)
    assert isinstance(found, Mesh)
    np.testing.assert_array_equal(found.vertices, POINTS)
    np.testing.assert_array_equal(found.faces, [[0, 1, 2]])
