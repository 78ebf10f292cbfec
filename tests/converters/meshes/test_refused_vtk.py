"""VTK files whose data set is neither a surface nor an image are refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from medshard.converters.reading import read_header
from medshard.errors import CaseError


@pytest.mark.parametrize("dataset", ["UNSTRUCTURED_GRID", "STRUCTURED_GRID", "RECTILINEAR_GRID", "FIELD"])
@pytest.mark.parametrize("form", ["ASCII", "BINARY"])
def test_other_data_sets_are_unsupported_and_not_unknown(tmp_path: Path, dataset: str, form: str) -> None:
    start = f"# vtk DataFile Version 4.2\nvtk output\n{form}\nDATASET {dataset}\nPOINTS 1 double\n0 0 0\n"
    (tmp_path / "m.vtk").write_text(start)
    with pytest.raises(CaseError) as error:
        read_header([tmp_path / "m.vtk"], where="e/c")
    assert error.value.code == "read.unsupported"
