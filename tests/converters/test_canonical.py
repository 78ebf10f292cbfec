"""Volumes on disk: exact, deterministic, readable by others."""

from __future__ import annotations

import hashlib
import json
from importlib import resources

import ngff_zarr
import numpy as np
import pytest
import tensorstore
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError
from pydicom import dcmread
from pydicom.data import get_testdata_file
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from medshard.converters.canonical import read_volume, read_volume_image, read_volume_layer, write_volume
from medshard.converters.geometry import ALL_ORIENTATIONS, pixel_grid_affine, reorient
from medshard.converters.volume import Image, LabelLayer, LeadingAxis, Mesh, Rescale, Volume
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
            leading=LeadingAxis(kind="time", values=(1.5, 4.0)),
            attributes={"EchoTime": (1.5, 2.0), "FlipAngle": 9, "RepetitionTime": 4.5, "ScanningSequence": ("GR",)},
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
            also={2: ("abdominal organ", "lymphatic organ")},
            ignore=(255,),
            colours={1: "#dd8265"},
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


@pytest.fixture(scope="module")
def with_levels(tmp_path_factory):
    path = tmp_path_factory.mktemp("levels") / "case.zarr"
    write_volume(volume(), path, pyramid_levels=2)
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


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_two_writes_are_equal_byte_for_byte_with_any_number_of_threads(folder, tmp_path, threads):
    write_volume(volume(), tmp_path / "again.zarr", threads=threads)
    assert tree_listing(tmp_path / "again.zarr") == tree_listing(folder)


def test_an_array_of_many_chunks_is_one_file_beside_its_metadata(folder):
    files = [path for path in tree_files(folder / "images" / "ct" / "0") if path.name != "zarr.json"]
    assert len(files) == 1
    stored = zarr.open_array(folder / "images" / "ct" / "0", mode="r")
    assert (stored.chunks, stored.shards) == ((1, 3, 128, 128), (1, 3, 256, 256))


@pytest.mark.parametrize("orientation", ALL_ORIENTATIONS[::7])
def test_a_turned_view_is_stored_like_its_copy(tmp_path, orientation):
    image = volume().images["ct"]
    turned, affine = reorient(image.array, image.affine, orientation)
    assert np.shares_memory(turned, image.array)
    cases = {
        "view": Image(array=turned, affine=affine),
        "copy": Image(array=turned.copy(order="C"), affine=affine),
    }
    for name, scan in cases.items():
        write_volume(volume(images={"scan": scan}, labels={}, meshes={}), tmp_path / name)
    assert tree_listing(tmp_path / "view") == tree_listing(tmp_path / "copy")


def test_rescales_of_equal_slices_take_little_space(tmp_path):
    rescale = Rescale(slope=(0.1,) * 600, intercept=tuple(float(n) for n in range(600)), unit="HU")
    image = Image(array=np.ones((1, 600, 2, 2), np.int16), affine=STRAIGHT, rescale=rescale)
    write_volume(volume(images={"pet": image}, labels={}, meshes={}), tmp_path / "case")
    assert read_volume_image(tmp_path / "case", "pet").rescale == rescale
    assert attributes(tmp_path / "case", "images/pet")["medshard"]["rescale"]["slope"] == {"value": 0.1, "times": 600}


def test_numbers_that_json_does_not_have_are_refused_by_name(tmp_path):
    image = Image(array=np.ones((1, 1, 1, 1), np.int16), affine=STRAIGHT, attributes={"EchoTime": float("nan")})
    with pytest.raises(CaseError, match=r"canonical\.not_finite"):
        write_volume(volume(images={"scan": image}, labels={}, meshes={}), tmp_path / "case")


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
        assert scale["axes"][:2] == [{"name": "t", "type": "time", "unit": "second"}, {"name": "c", "type": "channel"}]
        steps, origin = scale["datasets"][0]["coordinateTransformations"]
        assert (steps["scale"][:2], origin["translation"][:2]) == ([2.5, 1.0], [1.5, 0.0])
        stored = json.loads((folder / "images/perfusion/0/zarr.json").read_text())
        assert stored["dimension_names"] == ["t", "c", "z", "y", "x"]

    @pytest.mark.parametrize(
        "leading",
        [
            LeadingAxis(kind="diffusion", values=(0.0, 1000.0)),
            LeadingAxis(kind="time", values=(0.0, 1.0, 5.0)),
            LeadingAxis(kind="time"),
            None,
        ],
    )
    def test_a_leading_axis_without_even_seconds_has_no_unit(self, tmp_path, leading):
        array = np.ones((3 if leading and len(leading.values or ()) == 3 else 2, 1, 2, 2, 2), np.int16)
        image = Image(array=array, affine=STRAIGHT, leading=leading)
        write_volume(volume(images={"dwi": image}, labels={}, meshes={}), tmp_path / "case")
        (scale,) = attributes(tmp_path / "case", "images/dwi")["ome"]["multiscales"]
        assert scale["axes"][0] == {"name": "t", "type": "time"}
        assert read_volume_image(tmp_path / "case", "dwi").leading == leading

    def test_labels_are_listed_and_their_values_named(self, folder):
        assert attributes(folder, "labels")["ome"]["labels"] == ["organs", "nodules", "tissue"]
        label = attributes(folder, "labels/organs")["ome"]["image-label"]
        assert label["properties"] == [
            {"label-value": 1, "concept": "liver"},
            {"label-value": 2, "concept": "spleen", "also": ["abdominal organ", "lymphatic organ"]},
        ]
        assert label["colors"][0]["rgba"] == [0xDD, 0x82, 0x65, 255]
        assert label["colors"][0]["rgba"] != label["colors"][1]["rgba"]
        assert (folder / "labels/organs" / label["source"]["image"]).resolve() == (folder / "images/ct").resolve()
        assert "image-label" not in attributes(folder, "labels/tissue")["ome"]

    def test_an_oblique_affine_stands_in_our_attributes_exactly(self, folder):
        assert attributes(folder, "images/perfusion")["medshard"]["affine"] == OBLIQUE.tolist()


# SHA-256 of the schemas of the specification's release 0.5.2 (repository ome/ngff, 0.5/schemas), which ngff-zarr ships.
OFFICIAL_SCHEMAS = {
    "_version": "26c03746999987ae695a4d0efb2ae56503dd69b7b80320732f2a04a540ef91d5",
    "image": "eb129f72fdd91e0da5c762b0214ac96a714a562c559fc60c6f688e28644c929d",
    "label": "9f8bfd0cc0d50c6680dd39abe9b569e53283651933fac56d3b82ca8345740aec",
}


def official_validator(model: str) -> Draft202012Validator:
    schemas = {}
    for name, digest in OFFICIAL_SCHEMAS.items():
        data = resources.files("ngff_zarr").joinpath("spec", "0.5", "schemas", f"{name}.schema").read_bytes()
        assert hashlib.sha256(data).hexdigest() == digest
        schemas[name] = json.loads(data)
    registry = Registry().with_resources(
        (schema["$id"], Resource.from_contents(schema, default_specification=DRAFT202012))
        for schema in schemas.values()
    )
    return Draft202012Validator(schemas[model], registry=registry)


class TestOtherReadersOfOmeZarr:
    def test_every_group_is_valid_by_the_official_schema(self, with_levels):
        for node in ("images/ct", "images/perfusion", "images/photo", "labels/organs", "labels/tissue"):
            assert official_validator("image").is_valid(attributes(with_levels, node)), node
        for node in ("labels/organs", "labels/nodules"):
            assert official_validator("label").is_valid(attributes(with_levels, node)), node

    def test_the_official_schema_can_fail(self, with_levels):
        broken = attributes(with_levels, "images/ct")
        del broken["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"]
        with pytest.raises(ValidationError):
            official_validator("image").validate(broken)

    @pytest.mark.parametrize("node", ["images/ct", "images/perfusion", "images/photo", "labels/organs"])
    def test_ngff_zarr_accepts_it_and_sees_the_same_voxels(self, with_levels, node):
        case = volume()
        kind, name = node.split("/")
        wanted = case.images[name].array if kind == "images" else case.labels[name].array
        opened = ngff_zarr.from_ngff_zarr(str(with_levels / node), validate=True)
        np.testing.assert_array_equal(np.asarray(opened.images[0].data), wanted)
        assert len(opened.images) == len(opened.metadata.datasets) == 3

    def test_ngff_zarr_places_a_smaller_level_at_the_centre_of_its_blocks(self, with_levels):
        opened = ngff_zarr.from_ngff_zarr(str(with_levels / "images/ct"))
        level = opened.images[2]
        assert [level.scale[axis] for axis in "zyx"] == pytest.approx([2.5, 2.4, 2.8])
        first = STRAIGHT @ [0, 1.5, 1.5, 1]
        assert [level.translation[axis] for axis in "zyx"] == pytest.approx(first[[2, 1, 0]])

    def test_levels_do_not_change_what_is_read_back(self, with_levels):
        assert same(read_volume(with_levels), without_order(volume()))


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
    path.write_text(path.read_text().replace('"format_version":3', '"format_version":4'))
    with pytest.raises(StoreError, match=r"store\.format_version"):
        read_volume(tmp_path / "case.zarr")
