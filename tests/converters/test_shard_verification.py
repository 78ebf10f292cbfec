"""Every planted fault is found and named, and a whole store has none."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_shards import made_sample, plan_of, publish_shards

from medshard.converters.faults import Fault
from medshard.converters.shard_index import index_rows, write_index
from medshard.converters.store_verification import Verified, verify_file, verify_store
from medshard.loaders.shard_reader import SampleIndex
from medshard.registry.store import Head, Store, swap_head
from medshard.registry.store.manifests import head_path, read_head, read_manifest

ENTRY = "organs"


def build(root: Path) -> Store:
    store = Store.open(root)
    samples = [made_sample(ENTRY, f"case-{number}", seed=number) for number in range(4)]
    publish_shards(store, plan_of(ENTRY), [samples[:2], samples[2:]])
    return store


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole") / "store"
    build(root)
    return root


@pytest.fixture
def store(whole: Path, tmp_path: Path) -> Store:
    shutil.copytree(whole, tmp_path / "store")
    return Store.open(tmp_path / "store", create=False)


def head_of(store: Store) -> Head:
    head = read_head(store, ENTRY, "shards", "default")
    assert head is not None
    return head


def path_of(store: Store, attached: str) -> Path:
    return store.path(head_of(store).attachments[attached])


def index_of(store: Store) -> SampleIndex:
    return SampleIndex.open(store, ENTRY)


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x10
    path.write_bytes(data)


def codes(done: Verified) -> set[str]:
    return {each.code for each in done.faults}


def test_a_whole_store_has_no_fault(store: Store) -> None:
    done = verify_store(store)
    assert done.faults == []
    assert (done.heads, done.shards, done.samples) == (1, 2, 4)
    assert done.objects == sum(path.is_file() for path in (store.root / "objects").rglob("*"))
    assert verify_file(path_of(store, "shard-00000")).faults == []


def test_a_flipped_byte_in_a_chunk_is_named_with_case_array_and_chunk(store: Store) -> None:
    image = index_of(store).find("case-1").arrays["image"]
    number = next(n for n, at in enumerate(image.chunk_offsets.tolist()) if at != 2**64 - 1)
    flip(path_of(store, "shard-00000"), image.offset + int(image.chunk_offsets[number]) + 4)  # its size in the header
    done = verify_store(store)
    assert {"object.corrupt", "shard.member", "shard.chunk"} <= codes(done)
    named = next(each for each in done.faults if each.code == "shard.chunk")
    assert named.where == str(path_of(store, "shard-00000"))
    assert {key: named.details[key] for key in ("case", "array", "chunk")} == {
        "case": f"{ENTRY}/case-1",
        "array": "image",
        "chunk": str(number),
    }


@pytest.mark.parametrize("step", range(8))
def test_any_flipped_byte_of_a_shard_is_found(store: Store, step: int) -> None:
    path = path_of(store, "shard-00001")
    place = path.stat().st_size * (2 * step + 1) // 16
    flip(path, place)
    assert codes(verify_file(path)) >= {"object.corrupt"}
    renamed = path.with_name("renamed.zip")  # without its digest to go by
    shutil.copyfile(path, renamed)
    assert verify_file(renamed).faults


def test_a_flipped_byte_in_a_chunk_table_is_named(store: Store) -> None:
    label = index_of(store).find("case-2").arrays["labels/organ"]
    path = path_of(store, "shard-00001")
    flip(path, label.offset + label.nbytes - 10)
    found = [each for each in verify_file(path).faults if each.code == "shard.corrupt"]
    assert [(each.details["case"], each.details["array"]) for each in found] == [(f"{ENTRY}/case-2", "labels/organ")]


def test_a_damaged_zip_directory_is_found(store: Store) -> None:
    path = path_of(store, "shard-00000")
    with zipfile.ZipFile(path) as archive:
        directory = archive.start_dir
    flip(path, directory)
    assert "shard.torn" in codes(verify_store(store))


def test_a_truncated_shard_is_found(store: Store) -> None:
    path = path_of(store, "shard-00000")
    path.write_bytes(path.read_bytes()[:-500])
    done = verify_store(store)
    assert {"object.corrupt", "object.size", "shard.torn"} <= codes(done)
    assert all(
        str(path) in (each.where, each.details.get("shard", str(path))) for each in done.faults if "shard" in each.code
    )


@pytest.mark.parametrize("attached", ["shard-00000", "index", "plan", "table"])
def test_a_missing_object_is_named(store: Store, attached: str) -> None:
    path_of(store, attached).unlink()
    missing = [each for each in verify_store(store).faults if each.code == "object.missing"]
    assert [each.details["name"] for each in missing] == [attached]


def test_a_missing_manifest_is_named(store: Store) -> None:
    store.path(head_of(store).manifest).unlink()
    assert codes(verify_store(store)) == {"object.missing"}


def test_swapped_shards_are_found(store: Store, tmp_path: Path) -> None:
    one, other = path_of(store, "shard-00000"), path_of(store, "shard-00001")
    one.rename(tmp_path / "kept")
    other.rename(one)
    (tmp_path / "kept").rename(other)
    corrupt = {each.where for each in verify_store(store).faults if each.code == "object.corrupt"}
    assert {str(one), str(other)} <= corrupt


def test_an_edited_index_is_found(store: Store) -> None:
    path = path_of(store, "index")
    flip(path, path.stat().st_size // 2)
    assert "object.corrupt" in codes(verify_store(store))


def publish_edited(store: Store, edit: Callable[[dict[str, object]], None]) -> None:
    """A HEAD with an index that somebody wrote anew, digests and all."""
    head = head_of(store)
    rows = []
    for attached in ("shard-00000", "shard-00001"):
        path = path_of(store, attached)
        index = index_of(store)
        named = {row.case for row in map(index.row, range(len(index))) if row.shard == path.name}
        manifest = read_manifest(store, head.manifest)
        refs = {record.case: record.ref for record in manifest.good if record.case in named}
        rows += index_rows(path, path.name, refs)
    edit(rows[1])
    arrow, _ = write_index(rows)
    attachments = {**head.attachments, "index": store.publish_bytes(arrow, ".arrow")}
    swap_head(store, ENTRY, "shards", replace(head, attachments=attachments), "default")


@pytest.mark.parametrize(
    ("column", "value"),
    [("slope", 2.0), ("patient", "somebody else"), ("synthetic", True), ("channels", 3), ("labels", "{}")],
)
def test_an_index_that_was_written_anew_is_compared_with_its_shards(store: Store, column: str, value: object) -> None:
    publish_edited(store, lambda row: row.update({column: value}))
    found = [
        each for each in verify_store(store).faults if each.code == "index.row" and each.details["column"] == column
    ]
    assert [each.details["case"] for each in found] == ["case-1"]


def test_an_index_with_another_record_is_found(store: Store) -> None:
    publish_edited(store, lambda row: row.update(record_digest="0" * 64))
    assert "index.record" in codes(verify_store(store))


def test_a_moved_chunk_is_found(store: Store) -> None:
    def move(row: dict[str, object]) -> None:
        array = next(array for array in row["arrays"] if array["name"] == "image")
        array["chunk_offsets"] = np.array(array["chunk_offsets"]) + np.uint64(1)

    publish_edited(store, move)
    (found,) = verify_store(store).faults
    assert (found.code, found.details["case"], found.details["column"]) == ("index.row", "case-1", "packed")


Edit = Callable[[dict[str, dict[str, object]]], object]


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (lambda head: head["attachments"]["shard-00000"].update(size=5), "object.size"),
        (lambda head: head["attachments"]["index"].update(digest="0" * 64), "object.missing"),
        (lambda head: head["attachments"].pop("index"), "head.attachment"),
        (lambda head: head["attachments"].pop("shard-00001"), "index.shard"),
        (lambda head: head.update(manifest=head["attachments"]["plan"]), "head.manifest"),
        (lambda head: head.pop("manifest"), "head.unreadable"),
        (lambda head: head.update(format_version=99), "head.unreadable"),
    ],
)
def test_an_edited_head_is_found(store: Store, edit: Edit, code: str) -> None:
    path = head_path(store, ENTRY, "shards", "default")
    document = json.loads(path.read_bytes())
    edit(document)
    path.write_text(json.dumps(document))
    assert code in codes(verify_store(store))


def test_a_head_that_names_the_plan_of_another_is_found(store: Store) -> None:
    other = publish_shards(store, replace(plan_of(ENTRY), antialias=False), [[made_sample(ENTRY, "case-9")]])
    head = replace(other, attachments={**other.attachments, "plan": store.publish_bytes(plan_bytes(), ".json")})
    swap_head(store, ENTRY, "shards", head, "default")
    assert codes(verify_store(store)) == {"head.plan"}


def plan_bytes() -> bytes:
    return json.dumps(plan_of(ENTRY).to_json()).encode()


def test_a_foreground_row_on_another_voxel_is_named(tmp_path: Path) -> None:
    sample = made_sample(ENTRY, "case-0")
    table = sample.foreground["organ"].copy()
    table[3, 3] += 30
    store = Store.open(tmp_path / "store")
    publish_shards(store, plan_of(ENTRY), [[replace(sample, foreground={"organ": table})]])
    (found,) = verify_store(store).faults
    assert (found.code, found.details["row"]) == ("shard.foreground", "3")
    table[3, 3] = 4000
    publish_shards(store, plan_of(ENTRY), [[replace(sample, foreground={"organ": table})]])
    (outside,) = [each for each in verify_store(store, entry=ENTRY).faults if "outside" in each.problem]
    assert outside.details["case"] == f"{ENTRY}/case-0"


def test_all_faults_are_listed_not_only_the_first(store: Store) -> None:
    for row in [index_of(store).row(number) for number in range(4)]:
        image = row.arrays["image"]
        flip(store.root / "objects" / row.shard[:2] / row.shard, image.offset + image.nbytes - 20)
    found = [each for each in verify_store(store).faults if each.code == "shard.corrupt"]
    assert sorted(each.details["case"] for each in found) == [f"{ENTRY}/case-{n}" for n in range(4)]


def test_a_tree_that_has_changed_is_found(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "a").write_text("one")
    (folder / "b").write_text("two")
    ref = store.publish_tree(folder, ".zarr")
    (store.path(ref) / "a").write_text("eno")
    (store.path(ref) / "b").unlink()
    (store.path(ref) / "c").write_text("more")
    found = {(each.code, Path(each.where).name) for each in verify_store(store).faults}
    assert found == {("object.corrupt", "a"), ("object.missing", "b"), ("object.corrupt", "c")}


def test_a_fault_is_data_and_reads_well() -> None:
    found = Fault(code="shard.chunk", where="x.zip", problem="a chunk is damaged", details={"case": "a/b"})
    assert str(found) == "shard.chunk  x.zip: a chunk is damaged\n    case: a/b"
    assert found.to_json()["details"] == {"case": "a/b"}
