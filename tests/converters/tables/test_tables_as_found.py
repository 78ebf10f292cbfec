"""Oddities of public tables that were once read without a word, made again and small."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medshard.converters.tables import columnar
from medshard.converters.tables.reading import read_table
from medshard.converters.tables.table_format import TableRequest
from medshard.errors import CaseError

ANY = TableRequest()


@pytest.mark.parametrize("line", ["4.430692879471407331e-01 -6.7e+00 1E5", "1e-3,2.5,nan", "-inf;0;7", "1,2,3"])
def test_a_first_line_of_numbers_is_pointed_out_in_every_way_to_write_them(tmp_path: Path, line: str) -> None:
    (tmp_path / "t.csv").write_text(f"{line}\n{line}\n")
    assert any(
        "holds numbers only" in warning
        for warning in read_table([tmp_path / "t.csv"], where="e/c", request=ANY).warnings
    )


@pytest.mark.parametrize("line", ["e,-,.", "age,1e5", "nancy,info"])
def test_a_first_line_with_words_is_a_header(tmp_path: Path, line: str) -> None:
    (tmp_path / "t.csv").write_text(f"{line}\n" + ",".join("1" * len(line.split(","))) + "\n")
    assert not read_table([tmp_path / "t.csv"], where="e/c", request=ANY).warnings


def bomb(path: Path, length: int) -> Path:
    values = pa.table({"text": ["a" * length] * 4})
    pq.write_table(values, path, compression="zstd", use_dictionary=False, write_statistics=False)
    return path


def test_a_small_parquet_file_of_enormous_values_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columnar, "LARGE_GROUP", 1 << 20)
    with pytest.raises(CaseError) as error:
        read_table([bomb(tmp_path / "t.parquet", 1 << 20)], where="e/c", request=ANY)
    assert error.value.code == "table.inflates_too_far"


def test_small_groups_of_rows_may_be_packed_as_far_as_they_can(tmp_path: Path) -> None:
    found = read_table([bomb(tmp_path / "t.parquet", 1 << 18)], where="e/c", request=ANY)
    assert sum(batch.num_rows for batch in found.batches()) == 4


def test_an_h5ad_file_from_before_anndata_0_7_is_refused_by_name(tmp_path: Path) -> None:
    rows = np.array([(b"a", 0), (b"b", 1), (b"c", 0)], dtype=[("index", "S1"), ("cell_type", "i1")])
    with h5py.File(tmp_path / "t.h5ad", "w") as file:
        file["X"] = np.ones((3, 3), np.float32)
        file["obs"] = rows
        file["var"] = rows
    with pytest.raises(CaseError) as error:
        read_table([tmp_path / "t.h5ad"], where="e/c", request=ANY)
    assert error.value.code == "read.unsupported"
