"""Files that would fill the memory or the disk, and damaged bytes: refused by a code, in little time and memory."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import random
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from made_tables import VCF, parquet_bytes, table, texts, workbook, written
from pyarrow import table as arrow_table

from medshard.converters.table import Table
from medshard.converters.tables import packed
from medshard.errors import CaseError, MedshardError

BLOCK = b"a,b\n" + b"1,2\n" * 65_535


def gzip_bomb(block: bytes, times: int) -> bytes:
    """One member that repeats a block."""
    pack = zlib.compressobj(9, wbits=31)
    return b"".join([*(pack.compress(block) for _ in range(times)), pack.flush()])


@pytest.fixture
def small_free_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "FREE_BYTES", 8 << 20)


@pytest.mark.usefixtures("small_free_bytes")
@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
def test_bombs_are_refused_with_a_way_out(tmp_path: Path, kind: str) -> None:
    content = {
        "gzip": lambda: gzip_bomb(BLOCK, 128),
        "bzip2": lambda: bz2.compress(BLOCK * 40),
        "xz": lambda: lzma.compress(BLOCK * 40, preset=1),
    }[kind]()
    path = written(tmp_path, "a.csv", content)
    start = time.monotonic()
    with pytest.raises(CaseError, match=r"table\.inflates_too_far") as caught:
        table(path)
    assert "unpack it" in caught.value.action
    assert time.monotonic() - start < 10


def test_a_row_without_an_end_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", gzip_bomb(b"x" * (1 << 20), 100))
    with pytest.raises(CaseError, match=r"table\.(row_too_long|inflates_too_far)"):
        table(path)


def test_a_quotation_without_an_end_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", b'a,b\n1,"' + b"x,y\n" * (6 << 20))
    with pytest.raises(CaseError, match=r"table\.(row_too_long|bad_quoting|ragged)"):
        table(path)


def test_a_million_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"table\.too_many_columns"):
        table(written(tmp_path, "a.csv", ",".join(f"c{n}" for n in range(1_000_000)) + "\n"))


def test_a_long_vcf_header_and_a_long_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CaseError):
        table(written(tmp_path, "a.vcf", b"##fileformat=VCFv4.2\n##" + b"x" * (70 << 20)))
    with pytest.raises(CaseError, match=r"table\.row_too_long"):
        texts(written(tmp_path, "a.txt", b"x " * (33 << 20)))


def samples(folder: Path) -> Iterator[tuple[str, bytes]]:
    plain = 'id,name,v\n1,Ärzte,0.5\n2,"two\nlines",1.5\n'
    yield "a.csv", plain.encode()
    yield "a.csv.gz", gzip.compress(plain.encode() * 20)
    yield "a.csv.xz", lzma.compress(plain.encode() * 20)
    yield "a.csv", plain.encode("utf-16")
    yield "a.json", json.dumps([{"a": 1, "b": ["x", {"c": None}]}, {"a": 2.5}]).encode()
    yield "a.vcf", VCF.encode()
    yield "a.xlsx", workbook(folder / "made.xlsx", {"x": [("a", "b"), (1, "y")]}).read_bytes()
    yield "a.parquet", parquet_bytes(arrow_table({"a": ["x", "y"], "b": [1, 2]}), compression="none")


def refusal(read: Callable[[Path], Table], path: Path) -> MedshardError | None:
    try:
        read(path).read()
    except MedshardError as error:
        return error
    return None


@pytest.mark.parametrize("seed", range(4))
def test_damaged_bytes_are_read_or_refused_but_never_crash(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    for name, content in samples(tmp_path):
        for _ in range(40):
            damaged = bytearray(content)
            for _ in range(chance.randint(1, 4)):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            if chance.random() < 0.3:
                damaged = damaged[: chance.randrange(1, len(damaged))]
            for read in (table, texts):
                said = refusal(read, written(tmp_path, name, bytes(damaged)))
                assert said is None or said.where == "entry/case"
                assert "Ärzte" not in str(said)
