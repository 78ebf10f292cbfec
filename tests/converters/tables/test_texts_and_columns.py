"""Texts, Parquet and Arrow files, what is refused by name, and the Parquet that is written."""

from __future__ import annotations

import gzip
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from made_tables import WHERE, columns, parquet_bytes, table, texts, types, written

from medshard.converters.table import Table, table_of
from medshard.converters.tables import parquet_writer
from medshard.converters.tables.reading import TableRequest, is_table, read_table, table_decoders, write_parquet
from medshard.errors import CaseError

FRAME = pa.table(
    {"id": ["a", "b", None], "n": [1, None, 3], "options": [["x"], [], None], "o": [{"A": "1"}, None, {"A": "2"}]}
)


class TestTexts:
    @pytest.mark.parametrize("name", ["report.txt", "report.md", "report"])
    def test_prose_is_one_row(self, tmp_path: Path, name: str) -> None:
        prose = "FINDINGS: clear, no effusion.\r\n\r\nIMPRESSION: normal, unchanged.\n"
        assert columns(texts(written(tmp_path, name, prose))) == {"text": [prose]}

    def test_latin_1(self, tmp_path: Path) -> None:
        found = texts(written(tmp_path, "a.txt", b"Sin hallazgos patol\xf3gicos"))
        assert columns(found) == {"text": ["Sin hallazgos patológicos"]}
        assert found.warnings

    def test_xml_is_its_pieces(self, tmp_path: Path) -> None:
        xml = '<?xml version="1.0"?><r><a Label="FINDINGS">clear &amp; <b>dry</b> lungs</a><a Label="x"/></r>'
        assert columns(texts(written(tmp_path, "a.xml", xml))) == {
            "path": ["/r/a/@Label", "/r/a", "/r/a/b", "/r/a", "/r/a/@Label"],
            "text": ["FINDINGS", "clear &", "dry", "lungs", "x"],
        }

    def test_entities_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(CaseError, match=r"read\.unsupported"):
            texts(written(tmp_path, "a.xml", '<!DOCTYPE r [<!ENTITY a "b">]><r>&a;</r>'))

    def test_deep_and_broken_xml_is_refused(self, tmp_path: Path) -> None:
        for xml in ("<a>" * 1000, "<a><b></a>", "<a>"):
            with pytest.raises(CaseError):
                texts(written(tmp_path, "a.xml", "<?xml version='1.0'?>" + xml))

    def test_tables_of_texts_are_records(self, tmp_path: Path) -> None:
        assert columns(texts(written(tmp_path, "a.csv", "id,text\n1,clear\n"))) == {"id": [1], "text": ["clear"]}
        assert columns(texts(written(tmp_path, "a.parquet", parquet_bytes(FRAME))))["id"] == ["a", "b", None]
        assert columns(texts(written(tmp_path, "a.jsonl", '{"q": "x"}\n'))) == {"q": ["x"]}

    def test_pages_and_documents_are_refused(self, tmp_path: Path) -> None:
        for content in (b"<!DOCTYPE html><html></html>", b"%PDF-1.7\n", b"{\\rtf1 x}"):
            with pytest.raises(CaseError, match=r"table\.unsupported_format"):
                texts(written(tmp_path, "a.txt", content))


class TestColumnar:
    def test_parquet_keeps_its_types_and_loses_its_writers_words(self, tmp_path: Path) -> None:
        content = parquet_bytes(FRAME.replace_schema_metadata({"pandas": "DOE^JANE"}))
        found = table(written(tmp_path, "train-00000-of-00001.parquet", content))
        assert found.read() == FRAME
        assert not found.schema.metadata

    def test_arrow(self, tmp_path: Path) -> None:
        pyarrow.feather.write_feather(FRAME, str(tmp_path / "a.feather"))
        assert table(tmp_path / "a.feather").read() == FRAME

    def test_declared(self, tmp_path: Path) -> None:
        path = written(tmp_path, "a.parquet", parquet_bytes(FRAME))
        assert columns(table(path, dtypes={"n": "string"}))["n"] == ["1", None, "3"]
        with pytest.raises(CaseError, match=r"table\.bad_value"):
            table(path, dtypes={"id": "integer"}).read()

    def test_broken_files_are_refused(self, tmp_path: Path) -> None:
        whole = bytearray(parquet_bytes(FRAME))
        with pytest.raises(CaseError, match=r"read\."):
            table(written(tmp_path, "a.parquet", bytes(whole[: len(whole) // 2])))
        for place in range(4, len(whole), 41):
            damaged = bytes(whole[:place]) + bytes([whole[place] ^ 0xFF]) + bytes(whole[place + 1 :])
            try:
                table(written(tmp_path, "b.parquet", damaged)).read()
            except CaseError:
                continue


class TestRefused:
    def test_data_bases(self, tmp_path: Path) -> None:
        with sqlite3.connect(tmp_path / "a.sqlite") as base:
            base.execute("create table t (a)")
        base.close()
        assert is_table([tmp_path / "a.sqlite"])
        with pytest.raises(CaseError, match=r"table\.unsupported_format") as caught:
            table(tmp_path / "a.sqlite")
        assert "SQLite" in caught.value.problem

    @pytest.mark.parametrize(
        "start",
        [
            b"\0" * 12 + bytes.fromhex("c2ea8160b31411cfbd92080009c7318c"),
            b"$FL2@(#) SPSS DATA FILE",
            b"<stata_dta><header>",
            b"\x72\x02\x01\x00",
            b"FEA1\0\0\0\0",
            b"RDX3\n",
            gzip.compress(b"X\n\0\0\0\3"),
            b"\x80\x04\x95\x00",
            b"BAM\x01",
        ],
    )
    def test_by_name(self, tmp_path: Path, start: bytes) -> None:
        with pytest.raises(CaseError, match=r"table\.unsupported_format"):
            table(written(tmp_path, "a.bin", start + b"\0" * 64))

    def test_pictures_are_no_tables(self, tmp_path: Path) -> None:
        path = written(tmp_path, "a.csv", b"\x89PNG\r\n\x1a\n" + bytes(range(200)))
        assert not is_table([path])
        with pytest.raises(CaseError, match=r"read\.unknown_format"):
            table(path)

    def test_nothing_and_empty_files(self, tmp_path: Path) -> None:
        assert not is_table([])
        with pytest.raises(CaseError, match=r"read\.no_files"):
            table()
        with pytest.raises(CaseError, match=r"read\.truncated"):
            table(written(tmp_path, "a.csv", ""))
        with pytest.raises(CaseError, match=r"read\.truncated"):
            table(written(tmp_path, "a.csv", " \n\n"))

    def test_two_tables_for_one_are_refused(self, tmp_path: Path) -> None:
        files = [written(tmp_path, name, "a,b\n1,2\n") for name in ("a.csv", "b.csv")]
        with pytest.raises(CaseError, match=r"table\.several_files"):
            read_table(files, where=WHERE, request=TableRequest())

    def test_decoders_name_who_read(self, tmp_path: Path) -> None:
        assert "pyarrow" in table_decoders([written(tmp_path, "a.csv", "a,b\n1,2\n")])


class TestWriting:
    def test_what_is_written_is_what_was_read(self, tmp_path: Path) -> None:
        facts = write_parquet(table_of(FRAME, "made"), tmp_path / "a.parquet")
        assert pq.read_table(tmp_path / "a.parquet") == FRAME
        assert facts.rows == 3
        assert facts.nulls == {"id": 1, "n": 1, "options": 1, "o": 1}
        assert facts.columns["n"] == "int64"
        assert facts.size == (tmp_path / "a.parquet").stat().st_size

    def test_bytes_depend_on_the_rows_alone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(parquet_writer, "ROWS_PER_GROUP", 1000)
        whole = pa.table({"a": range(4321), "c": pa.array([f"v{n % 7}" for n in range(4321)]).dictionary_encode()})
        made = []
        for size in (17, 1000, 5000):
            write_parquet(
                Table(schema=whole.schema, batches=lambda s=size: iter(whole.to_batches(s)), format="made"),  # type: ignore[misc]
                tmp_path / f"{size}.parquet",
            )
            made.append((tmp_path / f"{size}.parquet").read_bytes())
        assert made[0] == made[1] == made[2]
        groups = pq.ParquetFile(tmp_path / "17.parquet").metadata
        assert [groups.row_group(n).num_rows for n in range(groups.num_row_groups)] == [1000, 1000, 1000, 1000, 321]

    def test_categories_of_a_csv_survive_many_batches(self, tmp_path: Path) -> None:
        rows = "".join(f"{n},kind {n // 200_000}\n" for n in range(600_000))
        found = table(written(tmp_path, "a.csv", f"n,k\n{rows}"), dtypes={"k": "category"})
        facts = write_parquet(found, tmp_path / "a.parquet")
        assert facts.rows == 600_000
        assert facts.row_groups == 5
        assert set(pq.read_table(tmp_path / "a.parquet").column("k").to_pylist()) == {"kind 0", "kind 1", "kind 2"}

    def test_nothing_is_left_of_a_table_that_breaks(self, tmp_path: Path) -> None:
        def batches() -> Iterator[pa.RecordBatch]:
            yield from pa.table({"a": [1]}).to_batches()
            raise ValueError("made")

        with pytest.raises(ValueError, match="made"):
            write_parquet(Table(schema=pa.schema([("a", pa.int64())]), batches=batches, format="made"), tmp_path / "a")
        assert not (tmp_path / "a").exists()

    def test_an_empty_table(self, tmp_path: Path) -> None:
        found = table(written(tmp_path, "a.csv", "a,b\n"))
        assert types(found) == ["string", "string"]
        assert write_parquet(found, tmp_path / "a.parquet").rows == 0
        assert pq.read_table(tmp_path / "a.parquet").num_rows == 0
