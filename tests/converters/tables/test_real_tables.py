"""Tables of installed packages, as pandas reads them without guessing."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import sklearn.datasets
from made_tables import table

from medshard.converters.tables.reading import is_table, write_parquet
from medshard.errors import CaseError

FOLDER = Path(sklearn.datasets.__file__).parent / "data"
FILES = sorted(FOLDER.glob("*.csv*"))
# Their first line holds numbers of rows and classes, or the first row: it is no header, and is not taken for one.
WITHOUT_HEADER = {
    "breast_cancer.csv": r"table\.ragged",
    "wine_data.csv": r"table\.ragged",
    "digits.csv.gz": r"table\.duplicate_column",
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_value_is_there(path: Path, tmp_path: Path) -> None:
    assert is_table([path])
    if path.name in WITHOUT_HEADER:
        with pytest.raises(CaseError, match=WITHOUT_HEADER[path.name]):
            table(path)
        return
    found = table(path)
    write_parquet(found, tmp_path / "a.parquet")
    mark = str(found.attributes["delimiter"])
    wanted = pd.read_csv(path, sep=mark, dtype=str, keep_default_na=False, na_values=[""])
    assert wanted.shape == found.read().shape
    for number, column in enumerate(pq.read_table(tmp_path / "a.parquet").columns):
        values = [None if pd.isna(value) else value for value in wanted.iloc[:, number].tolist()]
        kept = column.to_pylist()
        assert kept == (values if str(column.type) == "string" else [None if v is None else float(v) for v in values])


def test_there_are_files() -> None:
    assert FILES
