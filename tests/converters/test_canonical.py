"""Volumes on disk: exact, deterministic, readable by others."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorstore
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.data import get_testdata_file

from medshard.converters.canonical import (
    chunk_shapes,
    read_volume,
    read_volume_image,
    read_volume_layer,
    write_volume,
)
from medshard.converters.geometry import pixel_grid_affine
from medshard.converters.volume import Image, LabelLayer, Mesh, Rescale, Volume
from medshard.errors import CaseError, StoreError
from medshard.registry.store.digests import tree_files, tree_listing

OBLIQUE = np.array([[0.1, -0.3, 0.9, -90.1], [0.2, 0.8, 0.25, 120.3], [2.9, 0.4, -0.05, -70.7], [0, 0, 0, 1]])
STRAIGHT = np.array([[0, 0, 0.7, -90.5], [0, 0.6, 0, 120.25], [2.5, 0, 0, -700.0], [0, 0, 0, 1.0]])


def volume(**changes) -> Volume:
    """A case with everything: a CT of several chunks, a series in time, overlapping layers of each kind, a surface."""
    plane = dcmread(str(get_testdata_file("CT_small.dcm"))).pixel_array
    ct = np.tile(plane, (1, 3, 2, 2))
    rng = np.random.default_rng(0)
    images = {
        "ct": Image(array=ct, affine=STRAIGHT, rescale=Rescale(intercept=(-1024.0,), unit="HU"), modality="CT"),
        "perfusion": Image(
            array=rng.integers(0, 99, (2, 1, 3, 4, 5)).astype(np.uint16),
            affine=OBLIQUE,
            rescale=Rescale(slope=(1.0, 1 / 3, 0.1), intercept=(0.0, 2.0, 3.0)),
            modality="MR",
            sequence="DCE",
        ),
        "photo": Image(array=rng.random((3, 1, 4, 5), np.float32), affine=pixel_grid_affine(), trusted_geometry=False),
    }
    liver = np.zeros(ct.shape, np.uint8)
    liver[:, 1, 20:60, 30:90] = 1
    tissue = rng.integers(0, 255, (2, 3, 4, 5)).astype(np.uint8)
    labels = {
        "organs": LabelLayer(
            array=liver,
            affine=STRAIGHT,
            classes={2: "spleen", 1: "liver"},
            examined=("liver", "spleen"),
            rater="r1",
        ),
        "nodules": LabelLayer(
            array=liver.astype(np.int32),
            affine=STRAIGHT,
            kind="instance",
            classes={1: "nodule"},
            examined=("nodule",),
        ),
        "tissue": LabelLayer(
            array=tissue,
            affine=OBLIQUE,
            kind="soft",
            classes={0: "grey matter", 1: "white matter"},
            examined=("grey matter",),
            rescale=Rescale(slope=(1 / 255,), unit="probability"),
        ),
    }
    mesh = Mesh(vertices=rng.random((7, 3)), faces=np.array([[0, 1, 2], [4, 5, 6]]), unit="unknown")
    fields = {
        "entry": "kits23",
        "case": "case_00042",
        "patient": "Zoë",
        "images": images,
        "labels": labels,
        "meshes": {"kidney": mesh},
    }
    return Volume(**{**fields, **changes})


def same(first: object, second: object) -> bool:
    """Equality of dataclasses with arrays in them, dtypes and bytes included."""
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return (first.dtype, first.shape, first.tobytes()) == (second.dtype, second.shape, second.tobytes())
    if isinstance(first, dict) and isinstance(second, dict):
        return list(first) == list(second) and all(same(first[key], second[key]) for key in first)
    if hasattr(first, "__dataclass_fields__"):
        return type(first) is type(second) and same(vars(first), vars(second))
    return type(first) is type(second) and first == second


def without_order(case: Volume) -> Volume:
    for layer in case.labels.values():
        ordered = dict(sorted(layer.classes.items()))
        layer.classes.clear()
        layer.classes.update(ordered)
    return case


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("canonical") / "case.zarr"
    write_volume(volume(), path)
    return path


def attributes(folder, node: str) -> dict:
    return json.loads((folder / node / "zarr.json").read_text())["attributes"]


def test_a_case_comes_back_exactly(folder):
    assert same(read_volume(folder), without_order(volume()))


@settings(max_examples=15, deadline=None)
@given(
    shape=st.lists(st.integers(1, 7), min_size=4, max_size=5),
    dtype=st.sampled_from(
        ["bool", "uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64"]
    ),
    affine=st.lists(st.floats(-1e3, 1e3), min_size=16, max_size=16),
)
def test_any_array_and_any_affine_come_back_exactly(tmp_path_factory, shape, dtype, affine):
    array = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    image = Image(array=array, affine=np.array(affine).reshape(4, 4))
    path = tmp_path_factory.mktemp("any") / "case.zarr"
    case = volume(images={"scan": image}, labels={}, meshes={})
    write_volume(case, path)
    assert same(read_volume(path), case)


def test_floats_that_are_not_numbers_stay(tmp_path):
    array = np.array([np.nan, np.inf, -np.inf, -0.0], np.float32).reshape(1, 1, 2, 2)
    case = volume(images={"map": Image(array=array, affine=STRAIGHT)}, labels={}, meshes={})
    write_volume(case, tmp_path / "case.zarr")
    assert same(read_volume(tmp_path / "case.zarr"), case)


def test_two_writes_are_equal_byte_for_byte(folder, tmp_path):
    write_volume(volume(), tmp_path / "again.zarr")
    assert tree_listing(tmp_path / "again.zarr") == tree_listing(folder)


def test_an_array_of_many_chunks_is_one_file_beside_its_metadata(folder):
    files = [path for path in tree_files(folder / "images" / "ct" / "0") if path.name != "zarr.json"]
    assert len(files) == 1
    stored = zarr.open_array(folder / "images" / "ct" / "0", mode="r")
    assert (stored.chunks, stored.shards) == ((1, 3, 128, 128), (1, 3, 256, 256))


@pytest.mark.parametrize(
    ("shape", "chunks", "shards"),
    [
        ((1, 100, 512, 500), (1, 64, 128, 128), (1, 128, 512, 512)),
        ((2, 3, 10, 130, 20), (1, 1, 10, 128, 20), (2, 3, 10, 256, 20)),
        ((1, 1, 32, 32), (1, 1, 32, 32), None),
    ],
)
def test_chunks_are_clipped_to_the_shape_and_the_shard_covers_it(shape, chunks, shards):
    assert chunk_shapes(shape, spatial=True) == (chunks, shards)


def test_tensorstore_reads_the_same_voxels(folder):
    for name, image in volume().images.items():
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(folder / "images" / name / "0")}}
        assert same(tensorstore.open(spec).result().read().result(), image.array)


def test_one_image_or_layer_is_read_without_the_rest(folder, tmp_path):
    assert same(read_volume_image(folder, "perfusion"), volume().images["perfusion"])
    assert same(read_volume_layer(folder, "tissue"), volume().labels["tissue"])
    with pytest.raises(KeyError):
        read_volume_image(folder, "mri")


class TestOmeMetadata:
    def test_axes_units_and_transforms_follow_ome_zarr_0_5(self, folder):
        ome = attributes(folder, "images/ct")["ome"]
        assert ome["version"] == "0.5"
        (scale,) = ome["multiscales"]
        assert [axis["name"] for axis in scale["axes"]] == ["c", "z", "y", "x"]
        assert [axis.get("unit") for axis in scale["axes"]] == [None, "millimeter", "millimeter", "millimeter"]
        (dataset,) = scale["datasets"]
        assert dataset["path"] == "0"
        assert dataset["coordinateTransformations"] == [
            {"type": "scale", "scale": [1.0, 2.5, 0.6, 0.7]},
            {"type": "translation", "translation": [0.0, -700.0, 120.25, -90.5]},
        ]

    def test_in_canonical_orientation_the_transforms_alone_place_every_voxel(self, folder):
        (scale,) = attributes(folder, "images/ct")["ome"]["multiscales"]
        steps, origin = scale["datasets"][0]["coordinateTransformations"]
        _, s, a, r = np.array([0, 2, 200, 100]) * steps["scale"] + origin["translation"]
        np.testing.assert_allclose((STRAIGHT @ [2, 200, 100, 1])[:3], (r, a, s))

    def test_a_series_in_time_has_a_time_axis(self, folder):
        (scale,) = attributes(folder, "images/perfusion")["ome"]["multiscales"]
        assert [axis["type"] for axis in scale["axes"]] == ["time", "channel", "space", "space", "space"]
        stored = json.loads((folder / "images/perfusion/0/zarr.json").read_text())
        assert stored["dimension_names"] == ["t", "c", "z", "y", "x"]

    def test_labels_are_listed_and_their_values_named(self, folder):
        assert attributes(folder, "labels")["ome"]["labels"] == ["organs", "nodules", "tissue"]
        label = attributes(folder, "labels/organs")["ome"]["image-label"]
        assert label["properties"] == [{"label-value": 1, "concept": "liver"}, {"label-value": 2, "concept": "spleen"}]
        assert label["colors"][0]["rgba"] != label["colors"][1]["rgba"]
        assert "image-label" not in attributes(folder, "labels/tissue")["ome"]

    def test_an_oblique_affine_stands_in_our_attributes_exactly(self, folder):
        assert attributes(folder, "images/perfusion")["medshard"]["affine"] == OBLIQUE.tolist()


@pytest.mark.parametrize("name", ["../escape", "a/b", ".hidden", "", "__reserved"])
def test_a_name_that_is_no_file_name_is_refused(tmp_path, name):
    image = volume().images["ct"]
    with pytest.raises(CaseError, match=r"canonical\.bad_name"):
        write_volume(volume(images={name: image}), tmp_path / "case.zarr")
    assert not (tmp_path / "case.zarr").exists()


def test_a_folder_with_files_in_it_is_not_written_over(folder):
    with pytest.raises(FileExistsError):
        write_volume(volume(), folder)


def test_a_newer_format_is_refused(tmp_path):
    write_volume(volume(labels={}, meshes={}), tmp_path / "case.zarr")
    path = tmp_path / "case.zarr" / "zarr.json"
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(StoreError, match=r"store\.format_version"):
        read_volume(tmp_path / "case.zarr")
