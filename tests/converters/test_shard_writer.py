"""What a packed shard is: a zip of a standard Zarr v3 group whose bytes are a function of its samples."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import nibabel
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pydicom.data
import pytest
import tensorstore
import zarr
from hypothesis import given
from hypothesis import strategies as st

from medshard.converters.plan import Plan
from medshard.converters.samples import IntensityStatistics, Sample, SampleLabel
from medshard.converters.shard_index import index_rows, write_index
from medshard.converters.shard_writer import encode_sample, inner_chunk_for
from medshard.converters.shard_zip import name_of_node, node_name, pack_shard, plan_packing
from medshard.converters.volume import Mesh
from medshard.errors import CaseError, StoreError
from medshard.registry.store import RecordRef

PLAN = Plan(name="default", entry="mixed", recipe_digest="0", channels=("image",), spacing_mm=None)
RECORDS = {
    case: RecordRef(key=f"{n:064x}", digest=f"{n + 9:064x}") for n, case in enumerate(("brain/1", "slice", "tooth"))
}


def brain() -> Sample:
    """A real head MR template and its grey matter, cropped."""
    # Found without being imported, which would take seconds.
    data = Path(find_spec("nilearn").submodule_search_locations[0]) / "datasets" / "data"
    crop = (slice(60, 110), slice(40, 130), slice(50, 121))
    image = nibabel.load(data / "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz")
    grey = nibabel.load(data / "mni_icbm152_gm_tal_nlin_sym_09a_converted.nii.gz")
    voxels = np.asarray(image.dataobj).transpose(2, 1, 0)[crop].astype(np.int16)
    label = (np.asarray(grey.dataobj).transpose(2, 1, 0)[crop] > 127).astype(np.uint8)
    label[:, :40] *= 12  # a second value, whose text sorts before that of the first
    rows = np.argwhere(label)[::40]
    table = np.c_[label[tuple(rows.T)], rows].astype(np.int32)
    return Sample(
        entry="mixed",
        case="brain/1",
        patient="template",
        modality="MR",
        unit="arbitrary",
        image=voxels[None],
        slope=0.5,
        affine=np.array([[0.1, 0, 1, -98], [0, 1, 0.2, -134], [1, 0.3, 0, -72], [0, 0, 0, 1]], np.float64),
        labels={
            "tissue": SampleLabel(
                array=label[None],
                kind="semantic",
                classes={12: "grey matter (posterior)", 1: "grey matter"},
                examined=("grey matter", "grey matter (posterior)"),
                volume_ratio={"grey matter": 1.01},
            ),
            "rater 2/é": SampleLabel(array=np.zeros_like(label[None]), kind="semantic", classes={1: "x"}, examined=()),
        },
        foreground={"tissue": table[np.lexsort(table.T[::-1])], "rater 2/é": np.zeros((0, 4), np.int32)},
        statistics=IntensityStatistics(mean=50.0, std=30.0, minimum=0.5, maximum=127.5),
        spacing_before_mm=(1.0, 1.0, 1.0),
        warnings=("one thing",),
    )


def ct_slice() -> Sample:
    """A real CT slice: one plane, larger in the plane than an inner chunk."""
    slice_ = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm"))
    hounsfield = slice_.pixel_array.astype(np.int16) + np.int16(slice_.RescaleIntercept)
    return Sample(
        entry="mixed",
        case="slice",
        patient=str(slice_.PatientID),
        modality="CT",
        unit="HU",
        image=hounsfield[None, None],
        affine=np.diag([5.0, 0.66, 0.66, 1.0]),
    )


def tooth() -> Sample:
    """A mesh without an image."""
    faces = np.array([[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]], np.int64)
    mesh = Mesh(vertices=np.vstack([np.zeros(3), np.eye(3) * 0.1]), faces=faces)
    return Sample(
        entry="mixed",
        case="tooth",
        patient="p",
        modality="",
        unit="",
        image=None,
        affine=np.eye(4),
        meshes={"..": mesh},
    )


def shard_of(folder: Path, samples: list[Sample]) -> Path:
    folder.mkdir()
    pieces = []
    for number, sample in enumerate(samples):
        encode_sample(sample, PLAN, folder / str(number))
        pieces.append((sample.case, folder / str(number)))
    target = folder / "shard.zip"
    pack_shard(pieces, {"medshard": {"format_version": 1}}, target)
    return target


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shard_of(tmp_path_factory.mktemp("shard") / "new", [brain(), ct_slice(), tooth()])


def open_with_zarr(shard: Path) -> zarr.Group:
    return zarr.open_group(zarr.storage.ZipStore(shard, mode="r"), mode="r")


def test_zarr_python_reads_every_array_back(shard: Path) -> None:
    root = open_with_zarr(shard)
    original = brain()
    group = root[node_name("brain/1")]
    assert group["image"].dtype == np.int16
    np.testing.assert_array_equal(group["image"][...], original.image)
    for layer, label in original.labels.items():
        np.testing.assert_array_equal(group[f"labels/{node_name(layer)}"][...], label.array)
    np.testing.assert_array_equal(group["foreground/tissue"][...], original.foreground["tissue"])
    np.testing.assert_array_equal(root["slice/image"][...], ct_slice().image)
    mesh = tooth().meshes[".."]
    np.testing.assert_array_equal(root["tooth/meshes"][f"{node_name('..')}/vertices"][...], mesh.vertices)
    np.testing.assert_array_equal(root["tooth/meshes"][f"{node_name('..')}/faces"][...], mesh.faces)
    root.store.close()


def test_tensorstore_reads_the_same_voxels(shard: Path) -> None:
    node = node_name("brain/1")
    for array, expected in (("image", brain().image), ("labels/tissue", brain().labels["tissue"].array)):
        spec = {
            "driver": "zarr3",
            "kvstore": {"driver": "zip", "base": f"file://{shard}", "path": f"{node}/{array}/"},
        }
        opened = tensorstore.open(spec, read=True).result()
        np.testing.assert_array_equal(opened.read().result(), expected)


def test_the_attributes_say_what_the_numbers_mean(shard: Path) -> None:
    root = open_with_zarr(shard)
    facts = root[node_name("brain/1")].attrs["medshard"]
    root.store.close()
    assert facts["format_version"] == 3
    assert (facts["entry"], facts["case"], facts["patient"]) == ("mixed", "brain/1", "template")
    assert (facts["slope"], facts["intercept"], facts["unit"]) == (0.5, 0.0, "arbitrary")
    np.testing.assert_array_equal(facts["affine"], brain().affine)
    assert facts["statistics"] == {"mean": 50.0, "std": 30.0, "minimum": 0.5, "maximum": 127.5}
    assert facts["labels"]["tissue"]["classes"] == {"1": "grey matter", "12": "grey matter (posterior)"}
    assert facts["labels"]["tissue"]["volume_ratio"] == {"grey matter": 1.01}
    table = brain().foreground["tissue"]
    assert facts["labels"]["tissue"]["foreground"] == {
        "1": int((table[:, 0] == 1).sum()),
        "12": int((table[:, 0] == 12).sum()),
    }
    assert facts["warnings"] == ["one thing"]


def test_each_array_is_one_zarr_shard_and_metadata_is_written_once(shard: Path) -> None:
    with zipfile.ZipFile(shard) as archive:
        names = archive.namelist()
    assert names[0] == "zarr.json"
    assert len(names) == len(set(names))
    arrays = [name for name in names if "/c/" in name]
    assert all(name.endswith(("/c/0/0/0/0", "/c/0/0")) for name in arrays)
    assert f"{node_name('brain/1')}/image/c/0/0/0/0" in arrays
    # A map of zeros takes no bytes at all.
    assert not [name for name in arrays if node_name("rater 2/é") in name]


def test_two_writes_of_the_same_samples_are_the_same_bytes(shard: Path, tmp_path: Path) -> None:
    again = shard_of(tmp_path / "again", [brain(), ct_slice(), tooth()])
    assert again.read_bytes() == shard.read_bytes()


def test_the_order_in_which_classes_are_named_does_not_change_the_bytes(tmp_path: Path) -> None:
    sample = brain()
    tissue = replace(sample.labels["tissue"], classes=dict(reversed(sample.labels["tissue"].classes.items())))
    turned = replace(sample, labels={"rater 2/é": sample.labels["rater 2/é"], "tissue": tissue})
    assert shard_of(tmp_path / "a", [sample]).read_bytes() == shard_of(tmp_path / "b", [turned]).read_bytes()


def test_zip_members_are_stored_with_the_fixed_date_and_mode(shard: Path) -> None:
    with zipfile.ZipFile(shard) as archive:
        infos = archive.infolist()
        assert archive.testzip() is None
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
    assert {info.compress_type for info in infos} == {zipfile.ZIP_STORED}
    assert {info.external_attr >> 16 for info in infos} == {0o644}
    assert {info.flag_bits for info in infos} == {0}


def test_a_label_off_the_grid_of_its_image_is_refused(tmp_path: Path) -> None:
    sample = ct_slice()
    layer = SampleLabel(array=np.zeros((1, 1, 128, 127), np.uint8), kind="semantic", classes={1: "a"}, examined=("a",))
    with pytest.raises(CaseError, match=r"shard\.shape.*mixed/slice") as caught:
        encode_sample(replace(sample, labels={"a": layer}), PLAN, tmp_path / "piece")
    assert caught.value.details["label"] == "(1, 1, 128, 127)"


@given(st.text(min_size=1, max_size=30))
def test_any_name_becomes_a_zarr_node_and_comes_back(name: str) -> None:
    name = name.encode("utf-8", "ignore").decode() or "."
    node = node_name(name)
    assert name_of_node(node) == name
    assert node.isascii()
    assert "/" not in node
    assert node.strip(".") != ""
    assert not node.startswith("__")


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(StoreError, match=r"shard\.name"):
        node_name("")


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((108, 256, 256), (16, 32, 32)),
        ((1, 512, 512), (1, 128, 128)),  # a plane
        ((1, 20, 4000), (1, 20, 512)),  # a strip
        ((5, 7, 9), (5, 7, 9)),  # smaller than any chunk
        ((10, 300, 300), (10, 32, 32)),  # clipped along z, and no power of two fits in the budget
    ],
)
def test_inner_chunks_keep_about_the_same_voxels_in_flat_arrays(
    shape: tuple[int, int, int], expected: tuple[int, int, int]
) -> None:
    assert inner_chunk_for(shape, (16, 32, 32)) == expected


@given(
    st.lists(st.integers(1, 60), max_size=20).map(lambda sizes: [(str(n), size) for n, size in enumerate(sizes)]),
    st.integers(10, 50),
)
def test_packing_keeps_the_order_and_the_limit(sizes: list[tuple[str, int]], limit: int) -> None:
    shards = plan_packing(sizes, limit)
    size_of = dict(sizes)
    assert [case for shard in shards for case in shard] == [case for case, _ in sizes]
    for number, shard in enumerate(shards):
        total = sum(size_of[case] for case in shard)
        assert total <= limit or len(shard) == 1
        if number + 1 < len(shards):  # it was closed because the next one did not fit
            assert total + size_of[shards[number + 1][0]] > limit


def test_the_index_points_at_every_stored_byte(shard: Path) -> None:
    rows = {row["case"]: row for row in index_rows(shard, "name.zip", RECORDS)}
    data = shard.read_bytes()
    with zipfile.ZipFile(shard) as archive:
        stored = {name: archive.read(name) for name in archive.namelist() if "/c/" in name}
    for case, row in rows.items():
        for array in row["arrays"]:
            inside = data[array["offset"] : array["offset"] + array["nbytes"]]
            expected = next(
                (blob for name, blob in stored.items() if name.startswith(f"{node_name(case)}/{array['name']}/c/")), b""
            )
            assert inside == expected
            # The chunks and their table are all that a Zarr shard holds.
            chunks = [n for n in np.asarray(array["chunk_nbytes"]).tolist() if n != 2**64 - 1]
            assert sum(chunks) + (16 * len(array["chunk_nbytes"]) + 4 if inside else 0) == len(inside)


def test_the_index_repeats_what_the_sample_said(shard: Path) -> None:
    rows = index_rows(shard, "name.zip", RECORDS)
    assert [row["case"] for row in rows] == ["brain/1", "slice", "tooth"]
    row = rows[0]
    assert row["sample_id"] == RECORDS["brain/1"].key[:32]
    assert (row["record_key"], row["record_digest"]) == (RECORDS["brain/1"].key, RECORDS["brain/1"].digest)
    assert (row["shard"], row["slope"], row["channels"], row["shape"]) == ("name.zip", 0.5, 1, [50, 90, 71])
    np.testing.assert_array_equal(np.reshape(row["affine"], (4, 4)), brain().affine)
    assert json.loads(row["labels"])["tissue"]["kind"] == "semantic"
    assert rows[2]["channels"] == 0


def test_index_tables_hold_all_rows_and_are_the_same_bytes_twice(shard: Path) -> None:
    rows = index_rows(shard, "name.zip", RECORDS)
    arrow, parquet = write_index(rows)
    assert write_index(list(reversed(rows))) == (arrow, parquet)
    table = pa.ipc.open_file(io.BytesIO(arrow)).read_all()
    assert table["case"].to_pylist() == ["brain/1", "slice", "tooth"]
    assert [array["name"] for array in table["arrays"][2].as_py()] == [
        "meshes/%2E./faces",
        "meshes/%2E./vertices",
    ]
    people = pq.read_table(io.BytesIO(parquet))
    assert people["size_y"].to_pylist() == [90, 128, 0]
    assert people["mean"].to_pylist() == [50.0, None, None]
    np.testing.assert_allclose(people["spacing_y_mm"].to_numpy()[1], 0.66)


def test_samples_that_no_record_names_get_no_row(shard: Path) -> None:
    rows = index_rows(shard, "name.zip", {"slice": RECORDS["slice"]})
    assert [row["case"] for row in rows] == ["slice"]


def test_a_record_whose_case_is_not_in_the_shard_is_an_error(shard: Path) -> None:
    with pytest.raises(StoreError, match=r"shard\.case") as caught:
        index_rows(shard, "name.zip", {**RECORDS, "lost": RECORDS["slice"]})
    assert caught.value.details["cases"] == "lost"


def test_a_flipped_bit_in_a_chunk_table_is_found(shard: Path, tmp_path: Path) -> None:
    image = index_rows(shard, "name.zip", RECORDS)[0]["arrays"][1]
    assert image["name"] == "image"
    data = bytearray(shard.read_bytes())
    data[image["offset"] + image["nbytes"] - 20] ^= 1
    torn = tmp_path / "torn.zip"
    torn.write_bytes(data)
    with pytest.raises(StoreError, match=r"shard\.corrupt"):
        index_rows(torn, "name.zip", RECORDS)


def test_half_a_shard_is_found(shard: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.zip"
    torn.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    with pytest.raises(StoreError, match=r"shard\.torn.*torn\.zip"):
        index_rows(torn, "name.zip", RECORDS)
