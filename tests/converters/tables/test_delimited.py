"""Delimited text: what is text stays text, what is found is refused by name, and pandas sees the same."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_tables import columns, table, types, written

from medshard.converters.tables.reading import is_table
from medshard.errors import CaseError


class TestTypes:
    def test_integers_and_decimals_that_can_be_written_again_become_numbers(self, tmp_path: Path) -> None:
        found = table(written(tmp_path, "a.csv", "n,d,mixed\n1,0.5,1\n-20,-1.25,2.5\n,,\n"))
        assert types(found) == ["int64", "double", "double"]
        assert columns(found) == {"n": [1, -20, None], "d": [0.5, -1.25, None], "mixed": [1.0, 2.5, None]}

    @pytest.mark.parametrize(
        "values",
        [
            ("007", "1"),
            ("+1", "2"),
            ("1e5", "2e6"),
            ("0x1F", "2"),
            ("250.10", "1.5"),
            ("250.0", "486"),
            ("1,5", "2,5"),
            ("NA", "1"),
            ("1234567890123456789", "1"),
            ("0.12345678901234567890", "1.5"),
            ("-0", "1"),
            ("1 ", "2"),
            ("True", "False"),
            ("2024-01-01", "2024-01-02"),
        ],
    )
    def test_what_numbers_would_lose_stays_text(self, tmp_path: Path, values: tuple[str, ...]) -> None:
        lines = "".join(f'"{value}",x\n' for value in values)
        found = table(written(tmp_path, "a.csv", f"value,other\n{lines}"))
        assert columns(found)["value"] == list(values)

    def test_one_late_value_decides_for_the_whole_column(self, tmp_path: Path) -> None:
        rows = "".join(f"{number},a\n" for number in range(300_000))
        found = table(written(tmp_path, "a.csv", f"id,b\n{rows}0300000,a\n"))
        assert types(found) == ["string", "string"]
        assert columns(found)["id"][-2:] == ["299999", "0300000"]

    def test_decimals_with_zeros_at_their_ends_are_pointed_out(self, tmp_path: Path) -> None:
        found = table(written(tmp_path, "a.csv", "dose,b\n1.50,x\n2.25,y\n"))
        assert types(found)[0] == "string"
        assert "dose" in found.warnings[0]

    def test_only_empty_is_missing(self, tmp_path: Path) -> None:
        found = table(written(tmp_path, "a.csv", 'a,b\n,NA\n"",null\nx,\n'))
        assert columns(found) == {"a": [None, None, "x"], "b": ["NA", "null", None]}

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.lists(
            st.one_of(
                st.integers(-(10**19), 10**19).map(str),
                st.floats(allow_nan=False).map(repr),
                st.decimals(-1000, 1000, places=3).map(str),
                st.text("0123456789.-+eE,\"\n\r x'", max_size=6),
            ),
            min_size=1,
            max_size=8,
        )
    )
    def test_the_text_of_every_value_can_be_formed_again(self, tmp_path: Path, values: list[str]) -> None:
        stream = io.StringIO(newline="")
        csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(
            [["v", "w"], *([value, "x"] for value in values)]
        )
        found = table(written(tmp_path, "a.csv", stream.getvalue()))
        kept = columns(found)["v"]
        for value, again in zip(values, kept, strict=True):
            if isinstance(again, float):
                assert float(value) == again
                assert str(pa.scalar(again).cast(pa.string())).removesuffix(".0") == value.removesuffix(".0") or (
                    len(value) <= 17
                )
            else:
                assert (str(again) if again is not None else "") == value


class TestDeclared:
    def test_declared_columns_are_converted(self, tmp_path: Path) -> None:
        text = "i,f,b,d,t,c,s\n007,1.50,yes,2150-02-03,2150-02-03 04:05:06,x,1\nNA,1e-3,0,20200131,2020-01-31,y,2\n"
        kinds = ["integer", "number", "boolean", "date", "timestamp", "category", "string"]
        found = table(written(tmp_path, "a.csv", text), dtypes=dict(zip("ifbdtcs", kinds, strict=True)))
        read = found.read()
        assert types(found)[:5] == ["int64", "double", "bool", "date32[day]", "timestamp[us]"]
        assert pa.types.is_dictionary(read.schema.field("c").type)
        assert columns(found)["i"] == [7, None]
        assert columns(found)["f"] == [1.5, 0.001]
        assert columns(found)["b"] == [True, False]
        assert [str(day) for day in columns(found)["d"]] == ["2150-02-03", "2020-01-31"]
        assert columns(found)["s"] == ["1", "2"]
        assert "1 words for a missing value" in found.warnings[0]

    @pytest.mark.parametrize(
        ("kind", "bad"),
        [
            ("integer", "1.5"),
            ("integer", "99999999999999999999"),
            ("integer", "9223372036854775808"),
            ("number", "1,5"),
            ("number", "0x10"),
            ("boolean", "maybe"),
            ("date", "31/01/2020"),
            ("date", "2023-02-30"),
            ("timestamp", "2020-01-01T00:00:00+02:00"),
            ("date", "2020-01-01 12:30:00"),
        ],
    )
    def test_a_value_that_does_not_fit_names_line_and_column_but_not_itself(
        self, tmp_path: Path, kind: str, bad: str
    ) -> None:
        path = written(tmp_path, "a.csv", f'note,v\n"two\nlines",\nx,"{bad}"\n')
        with pytest.raises(CaseError, match=r"table\.bad_value") as caught:
            table(path, dtypes={"v": kind})
        assert caught.value.details["line"] == "4"
        assert caught.value.details["column"] == "v"
        assert bad not in str(caught.value)
        assert caught.value.where == "entry/case"

    def test_a_declared_column_has_to_be_there(self, tmp_path: Path) -> None:
        with pytest.raises(CaseError, match=r"table\.no_such_column"):
            table(written(tmp_path, "a.csv", "a,b\n1,2\n"), dtypes={"c": "string"})


class TestDelimiter:
    @pytest.mark.parametrize("mark", [",", "\t", ";", "|", " "])
    def test_is_found_from_the_header(self, tmp_path: Path, mark: str) -> None:
        found = table(written(tmp_path, "a.txt", f"name{mark}age\nx{mark}1\n"))
        assert columns(found) == {"name": ["x"], "age": [1]}

    def test_a_comma_in_names_of_tab_separated_columns_does_not_count(self, tmp_path: Path) -> None:
        found = table(written(tmp_path, "a.tsv", "Size[x,y]\tage\n3\t4\n"))
        assert columns(found) == {"Size[x,y]": [3], "age": [4]}

    def test_two_that_fit_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(CaseError, match=r"table\.ambiguous_delimiter"):
            table(written(tmp_path, "a.csv", "a;b,c\n1;2,3\n4;5,6\n"))

    def test_decimal_commas_are_not_guessed(self, tmp_path: Path) -> None:
        found = table(written(tmp_path, "a.csv", "a;b\n1,5;2\n2,5;3\n"))
        assert columns(found) == {"a": ["1,5", "2,5"], "b": [2, 3]}

    def test_one_column_is_a_table(self, tmp_path: Path) -> None:
        assert columns(table(written(tmp_path, "a.csv", "case\nx\n\ny\n"))) == {"case": ["x", None, "y"]}


class TestRows:
    @pytest.mark.parametrize("row", ["1\n", "1,2,3\n", "1,2,\n"])
    def test_a_ragged_row_is_refused_with_its_line(self, tmp_path: Path, row: str) -> None:
        path = written(tmp_path, "a.csv", f'a,b\n"x\ny",2\n\n{row}5,6\n')
        with pytest.raises(CaseError, match=r"table\.ragged") as caught:
            table(path)
        assert caught.value.details["line"] == "5"

    @pytest.mark.parametrize("text", ['a,b\n"x"y,1\n', 'a,b\n1,"x\n', 'a,b\n"say \\"hi\\"",2\n'])
    def test_quotation_marks_where_none_belong_are_refused(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(CaseError, match=r"table\.(bad_quoting|ragged)"):
            table(written(tmp_path, "a.csv", text))

    def test_a_mark_inside_a_bare_value_is_meant(self, tmp_path: Path) -> None:
        assert columns(table(written(tmp_path, "a.csv", 'a,b\n5" tube,1\n')))["a"] == ['5" tube']

    @settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.text('",\n\rab', max_size=24))
    def test_what_is_read_is_what_a_strict_reader_reads(self, tmp_path: Path, body: str) -> None:
        try:
            wanted = [row for row in csv.reader(io.StringIO(body, newline=""), strict=True) if row]
        except csv.Error:
            wanted = [[]]
        path = written(tmp_path, "a.csv", f"k,l\n{body}")
        if any(len(row) != 2 for row in wanted):
            with pytest.raises(CaseError):
                table(path)
        else:
            read = table(path).read()
            assert [[value or "" for value in row.values()] for row in read.to_pylist()] == wanted

    def test_names_that_are_empty_get_their_place_and_double_ones_are_refused(self, tmp_path: Path) -> None:
        found = table(written(tmp_path, "a.csv", ",b\n0,1\n"))
        assert found.schema.names == ["column_1", "b"]
        assert "column_1" in found.warnings[0]
        with pytest.raises(CaseError, match=r"table\.duplicate_column"):
            table(written(tmp_path, "b.csv", "a,a\n0,1\n"))

    def test_a_header_without_rows_is_an_empty_table(self, tmp_path: Path) -> None:
        assert columns(table(written(tmp_path, "a.csv", "a,b\n"))) == {"a": [], "b": []}

    def test_batches_can_be_read_again(self, tmp_path: Path) -> None:
        found = table(written(tmp_path, "a.csv", "a,b\n1,2\n"))
        assert found.read() == found.read()


class TestText:
    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-8"])
    def test_encodings(self, tmp_path: Path, encoding: str) -> None:
        text = "größe,ort\n1,Ærø\n2,東京\n"
        assert columns(table(written(tmp_path, "a.csv", text.encode(encoding)))) == {
            "größe": [1, 2],
            "ort": ["Ærø", "東京"],
        }

    @pytest.mark.parametrize("before", [0, 400_000])
    def test_latin_1_is_read_with_a_warning_wherever_it_shows(self, tmp_path: Path, before: int) -> None:
        found = table(written(tmp_path, "a.csv", b"a,b\n" + b"x,1\n" * before + b"M\xfcller,2\n"))
        assert columns(found)["a"][-1] == "Müller"
        assert "Windows-1252" in found.warnings[0]

    def test_bytes_of_zero_are_no_text(self, tmp_path: Path) -> None:
        assert not is_table([written(tmp_path, "a.csv", b"a,b\n\0\0\0\1,2\n")])

    @pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, None])
    def test_packed_by_content_not_by_name(self, tmp_path: Path, pack: object) -> None:
        text = b"a,b\n1,2\n"
        content = pack(text) if callable(pack) else pa.compress(text, "zstd", asbytes=True)
        assert columns(table(written(tmp_path, "a.csv", content))) == {"a": [1], "b": [2]}

    @pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
    def test_cut_packed_files_are_truncated(self, tmp_path: Path, pack: object) -> None:
        assert callable(pack)
        text = "a,b\n" + "".join(f"{n},{n * n}\n" for n in range(50_000))
        content = pack(text.encode())
        with pytest.raises(CaseError, match=r"read\.truncated"):
            table(written(tmp_path, "a.csv", content[: len(content) // 2]))

    def test_members_one_after_another_are_all_read(self, tmp_path: Path) -> None:
        parts = [b"a,b\n1,2\n", b"3,4\n"]
        for pack in (gzip.compress, bz2.compress, lzma.compress):
            assert columns(table(written(tmp_path, "a.csv", b"".join(map(pack, parts)))))["a"] == [1, 3]


def test_pandas_reads_the_same(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": [f"p{n:04}" for n in range(500)], "x": range(500), "y": [n / 8 for n in range(500)]})
    frame.loc[3, "y"] = None
    path = tmp_path / "a.csv"
    frame.to_csv(path, index=False)
    assert table(path).read().to_pandas()["y"].fillna(-1).tolist() == pd.read_csv(path)["y"].fillna(-1).tolist()
