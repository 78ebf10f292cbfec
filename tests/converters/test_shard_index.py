"""The index repeats what shards say, in columns that a reader maps."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from made_shards import made_sample, plan_of, publish_shards
from numcodecs import blosc

from medshard.converters.index_format import INDEX_SCHEMA
from medshard.converters.shard_index import IndexRow, index_rows, write_index
from medshard.errors import StoreError
from medshard.loaders.index_columns import IndexColumns
from medshard.loaders.sample_row import SampleRow
from medshard.loaders.shard_reader import SampleIndex
from medshard.registry.store import ObjectRef, RecordRef, Store

SHARD = ObjectRef(digest="a" * 64, suffix=".zip", size=1 << 40, kind="file")
SHARDS = {f"{SHARD.digest}.zip": SHARD}


@pytest.fixture(scope="module")
def organs(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store.open(tmp_path_factory.mktemp("index") / "store")
    samples = [made_sample("organs", f"case-{number}", seed=number) for number in range(3)]
    bare = replace(samples[2], case="case/bare", labels={}, foreground={}, statistics=None)
    publish_shards(store, plan_of("organs"), [samples[:2], [samples[2], bare]])
    return store


def test_chunk_tables_are_those_of_the_zarr_shards(organs: Store) -> None:
    """Decoded by hand from the zip's bytes at the places of the index, a chunk is what zarr-python reads."""
    index = SampleIndex.open(organs, "organs")
    for number in range(len(index)):
        row = index.row(number)
        path = organs.root / "objects" / row.shard[:2] / row.shard
        group = zarr.open_group(zarr.storage.ZipStore(path, mode="r"), mode="r")[row.case.replace("/", "%2F")]
        file = path.read_bytes()
        image = row.arrays["image"]
        whole = group["image"][...]
        grid = [-(-size // chunk) for size, chunk in zip(image.shape, image.inner_chunk, strict=True)]
        for chunk, (offset, nbytes) in enumerate(zip(image.chunk_offsets, image.chunk_nbytes, strict=True)):
            place = np.unravel_index(chunk, grid)
            cut = tuple(slice(int(p) * n, (int(p) + 1) * n) for p, n in zip(place, image.inner_chunk, strict=True))
            expected = whole[cut]
            if nbytes == 2**64 - 1:
                assert not expected.any()
                continue
            begin = image.offset + int(offset)
            decoded = np.frombuffer(blosc.decompress(file[begin : begin + int(nbytes)]), image.dtype)
            inside = tuple(slice(size) for size in expected.shape)
            np.testing.assert_array_equal(decoded.reshape(image.inner_chunk)[inside], expected)


def test_label_texts_repeat_whatever_the_counts_of_foreground(organs: Store) -> None:
    index = SampleIndex.open(organs, "organs")
    numbers, texts = index.distinct("labels")
    assert sorted(texts) == sorted({"{}", *texts})
    assert len(texts) == 2
    assert numbers.tolist().count(texts.index("{}")) == 1
    assert "foreground" not in "".join(texts)


def test_rows_by_class_are_those_of_the_table(organs: Store) -> None:
    index = SampleIndex.open(organs, "organs")
    found = list(zip(*(column.tolist() for column in index.foreground("organ")), strict=True))
    expected = []
    for number in range(len(index)):
        row = index.row(number)
        if "organ" in row.labels:
            table = index.read_array(row, "foreground/organ")
            values, counts = np.unique(table[:, 0], return_counts=True)
            assert dict(row.labels["organ"].foreground) == dict(zip(values.tolist(), counts.tolist(), strict=True))
            expected += [(number, value, count) for value, count in zip(values.tolist(), counts.tolist(), strict=True)]
    assert found == expected
    assert all(len(column) == 0 for column in index.foreground("nothing"))


def test_columns_are_read_without_rows(organs: Store) -> None:
    index = SampleIndex.open(organs, "organs")
    assert index.column("case") == index.cases == ["case-0", "case-1", "case-2", "case/bare"]
    assert index.column("channels").tolist() == [1] * 4
    assert index.column("shape").tolist() == [[20, 50, 40]] * 4
    assert index.column("affine").shape == (4, 16)
    assert index.column("modality").tolist() == ["CT"] * 4
    assert index.column("synthetic").dtype == np.bool_
    assert index.column("split").tolist() == [None] * 4
    shards = index.column("shard")
    assert shards[0] == shards[1] != shards[2]
    assert shards[0] is shards[1]  # words are shared


def test_every_case_is_found_and_no_other(organs: Store) -> None:
    index = SampleIndex.open(organs, "organs")
    assert [index.find(case).case for case in index.cases] == index.cases
    for absent in ("", "case-", "case-00", "case-9", "zzz", "case/bare "):
        with pytest.raises(StoreError, match=r"sample\.unknown"):
            index.find(absent)


def test_people_get_a_table_of_scalars(organs: Store) -> None:
    ref = SampleIndex.open(organs, "organs").head.attachments["table"]
    table = pq.read_table(io.BytesIO(organs.read_bytes(ref)))
    assert table["size_y"].to_pylist() == [50] * 4
    assert table["spacing_z_mm"].to_pylist() == [3.0] * 4
    assert table["modality"].to_pylist() == ["CT"] * 4
    assert {"group", "split", "synthetic", "labels"} <= set(table.column_names)
    assert not any(pa.types.is_nested(field.type) for field in table.schema)


texts = st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1, max_size=8)
chunk_tables = st.lists(st.integers(0, 2**64 - 1), max_size=5)
numbers = st.floats(-1e6, 1e6)


@st.composite
def made_rows(draw: st.DrawFn) -> list[IndexRow]:
    cases = draw(st.lists(texts, unique=True, max_size=6))
    return [draw(made_row(case)) for case in cases]


@st.composite
def made_row(draw: st.DrawFn, case: str) -> IndexRow:
    layers = sorted(draw(st.sets(st.sampled_from(["liver", "organ%20x"]))))
    labels = {
        "organ x" if layer == "organ%20x" else layer: {
            "kind": "semantic",
            "classes": {"1": "liver", "10": "spleen", "2": "kidney"},
            "examined": ["liver"],
            "also": {},
            "ignore": [255],
        }
        for layer in layers
    }
    return {
        "sample_id": draw(texts),
        "entry": "made",
        "case": case,
        "patient": draw(texts),
        "group": draw(st.none() | texts),
        "split": draw(st.none() | st.sampled_from(["train", "test"])),
        "synthetic": draw(st.booleans()),
        "modality": draw(st.sampled_from(["CT", "MR", ""])),
        "unit": "HU",
        "shard": f"{SHARD.digest}.zip",
        "record_key": draw(texts),
        "record_digest": draw(texts),
        "slope": draw(numbers),
        "intercept": draw(numbers),
        "quantisation_error": 0.5,
        "channels": draw(st.integers(0, 4)),
        "shape": draw(st.lists(st.integers(0, 2**40), min_size=3, max_size=3)),
        "affine": draw(st.lists(numbers, min_size=16, max_size=16)),
        "statistics": draw(
            st.none() | st.fixed_dictionaries(dict.fromkeys(("mean", "std", "minimum", "maximum"), numbers))
        ),
        "labels": json.dumps(labels, sort_keys=True),
        "contents": draw(st.sampled_from(["{}", '{"signals":{"ecg":{"rate_hz":500}}}'])),
        "arrays": [draw(made_array(f"foreground/{layer}")) for layer in layers] + [draw(made_array("image"))],
    }


@st.composite
def made_array(draw: st.DrawFn, name: str) -> dict[str, object]:
    table, axes = draw(chunk_tables), draw(st.integers(1, 5))
    classes = draw(st.lists(st.integers(1, 9), unique=True, max_size=3).map(sorted)) if "foreground" in name else []
    counts = draw(st.lists(st.integers(1, 9), min_size=len(classes), max_size=len(classes)))
    return {
        "name": name,
        "dtype": draw(st.sampled_from(["int16", "uint8", "float32"])),
        "shape": [500] * axes,
        "inner_chunk": [16, 32, 32, 8, 9][:axes],
        "codecs": '[{"name":"bytes","configuration":{"endian":"little"}},{"name":"blosc"}]',
        "offset": draw(st.integers(0, 1000)),
        "nbytes": draw(st.integers(0, 2**39)),
        "chunk_offsets": table,
        "chunk_nbytes": table[::-1],
        "class_values": classes,
        "class_ends": np.cumsum(counts, dtype=int).tolist(),
    }


@settings(max_examples=30, deadline=None)
@given(rows=made_rows())
def test_a_mapped_row_is_what_was_written(tmp_path_factory: pytest.TempPathFactory, rows: list[IndexRow]) -> None:
    """Against what pyarrow itself reads from the file."""
    arrow, _ = write_index(rows)
    path = tmp_path_factory.mktemp("made") / "index.arrow"
    path.write_bytes(arrow)
    expected = pa.ipc.open_file(path).read_all().to_pylist()
    assert [row["case"] for row in expected] == sorted(row["case"] for row in rows)
    columns = IndexColumns(path)
    assert len(columns) == len(rows)
    for number, row in enumerate(expected):
        assert columns.find(row["case"]) == number
        tables = {array["name"]: array for each in rows if each["case"] == row["case"] for array in each["arrays"]}
        check_row(columns.row(number, SHARDS), row, tables)


def check_row(found: SampleRow, expected: dict[str, object], tables: dict[str, dict[str, object]]) -> None:
    same = ("sample_id", "case", "patient", "group", "split", "synthetic", "modality", "unit", "shard", "record_key")
    for name in (*same, "record_digest", "slope", "intercept", "quantisation_error", "channels"):
        assert getattr(found, name) == expected[name], name
    assert list(found.shape) == expected["shape"]
    assert found.affine.ravel().tolist() == expected["affine"]
    statistics = found.statistics
    assert (None if statistics is None else vars(statistics)) == expected["statistics"]
    assert list(found.labels) == sorted(json.loads(expected["labels"]))
    assert found.contents == json.loads(expected["contents"])
    assert len(found.arrays) == len(expected["arrays"])
    for array, stored in zip(found.arrays.values(), expected["arrays"], strict=True):
        assert array.name == stored["name"].replace("%20", " ")
        assert (array.dtype.name, array.offset, array.nbytes) == (stored["dtype"], stored["offset"], stored["nbytes"])
        assert [list(array.shape), list(array.inner_chunk)] == [stored["shape"], stored["inner_chunk"]]
        assert array.chunk_offsets.tolist() == tables[stored["name"]]["chunk_offsets"]
        assert array.chunk_nbytes.tolist() == tables[stored["name"]]["chunk_nbytes"]
        if array.name.startswith("foreground/"):
            rows = found.labels[array.name.removeprefix("foreground/")].foreground
            counts = np.diff([0, *stored["class_ends"]]).tolist()
            assert dict(rows) == dict(zip(stored["class_values"], counts, strict=True))


def test_equal_rows_give_equal_bytes_in_any_order(organs: Store) -> None:
    index = SampleIndex.open(organs, "organs")
    rows = []
    for shard in sorted(set(index.column("shard").tolist())):
        refs = {
            row.case: RecordRef(key=row.record_key, digest=row.record_digest)
            for row in map(index.row, range(len(index)))
            if row.shard == shard
        }
        rows += index_rows(organs.root / "objects" / shard[:2] / shard, shard, refs)
    published = organs.read_bytes(index.head.attachments["index"])
    assert write_index(rows)[0] == write_index(rows[::-1])[0] == published


def test_an_index_without_samples_is_empty(tmp_path: Path) -> None:
    (tmp_path / "index.arrow").write_bytes(write_index([])[0])
    columns = IndexColumns(tmp_path / "index.arrow")
    assert (len(columns), columns.find("a"), columns.column("case")) == (0, None, [])


def test_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "index.arrow"
    schema = INDEX_SCHEMA.with_metadata({"medshard.format_version": "2"})
    with pa.ipc.new_file(path, schema) as writer:
        writer.write_table(schema.empty_table())
    with pytest.raises(StoreError, match=r"store\.format_version") as caught:
        IndexColumns(path)
    assert caught.value.details == {"expected": "3", "found": "2"}
