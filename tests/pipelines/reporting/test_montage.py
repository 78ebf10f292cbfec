"""Contact sheets: orientation, proportions, windows and outlines, as a person would check them."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Picture

from medshard.converters.canonical import write_volume
from medshard.converters.geometry import pixel_grid_affine
from medshard.converters.volume import Image, LabelLayer, Mesh, Rescale, Volume
from medshard.errors import StoreError
from medshard.pipelines.reporting.mesh_views import shown_meshes
from medshard.pipelines.reporting.montage import CONCEPT_COLOURS, contact_sheet, draw_sheet
from medshard.pipelines.reporting.planes import shown_images
from medshard.registry.store import CaseRecord, Head, Manifest, Store, publish_manifest, swap_head

SHAPE = (10, 20, 30)
SPACING_MM = (3.0, 1.0, 1.0)
CAPTION_PIXELS = 45


def canonical_affine(spacing_mm: tuple[float, float, float] = SPACING_MM) -> NDArray[np.float64]:
    """z to Superior, y to Anterior, x to Right."""
    z, y, x = spacing_mm
    return np.array([[0, 0, x, -15], [0, y, 0, -10], [z, 0, 0, 40], [0, 0, 0, 1]], np.float64)


def bright_image(**changes: object) -> Image:
    values = np.random.default_rng(0).integers(500, 900, (1, *SHAPE)).astype(np.int16)
    return replace(Image(array=values, affine=canonical_affine(), modality="MR"), **changes)


def lesion(box: tuple[slice, slice, slice]) -> LabelLayer:
    array = np.zeros((1, *SHAPE), np.uint8)
    array[(0, *box)] = 1
    return LabelLayer(array=array, affine=canonical_affine(), classes={1: "lesion"}, examined=("lesion",))


# High y is anterior and high x is the patient's right; high z is superior.
RIGHT_ANTERIOR_SUPERIOR = (slice(7, 9), slice(14, 18), slice(22, 28))


def labelled_volume(case: str = "one") -> Volume:
    return Volume(
        entry="made",
        case=case,
        patient=case,
        images={"image": bright_image()},
        labels={"lesion": lesion(RIGHT_ANTERIOR_SUPERIOR)},
    )


def image_volume(image: Image) -> Volume:
    return Volume(entry="made", case="one", patient="one", images={"image": image})


def publish(store: Store, volumes: list[Volume]) -> None:
    """The stage `volumes` of the entry `made`, as a build leaves it."""
    records = []
    for volume in volumes:
        with store.scratch() as scratch:
            write_volume(volume, scratch / "volume")
            output = store.publish_tree(scratch / "volume", ".zarr")
        records.append(
            CaseRecord(
                stage="volumes", entry="made", case=volume.case, key=volume.case, code_version="1", output=output
            )
        )
    manifest = Manifest(stage="volumes", entry="made", code_version="1", records=tuple(records))
    swap_head(store, "made", "volumes", Head(manifest=publish_manifest(store, manifest)))


def decode(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(Picture.open(io.BytesIO(png)).convert("RGB"))


def middle_of(mask: NDArray[np.bool_]) -> tuple[float, float]:
    rows, columns = np.nonzero(mask)
    return float(rows.mean()) / mask.shape[0], float(columns.mean()) / mask.shape[1]


def test_anterior_is_on_top_and_the_patients_right_on_the_left_of_an_axial_slice() -> None:
    axial = next(shown_images(labelled_volume())).planes[0]
    row, column = middle_of(axial.marked["lesion"])
    assert row < 0.5
    assert column < 0.5
    assert (axial.left, axial.right) == ("R", "L")


def test_superior_is_on_top_of_coronal_and_sagittal_slices_and_anterior_on_the_left_of_sagittal_ones() -> None:
    _, coronal, sagittal = next(shown_images(labelled_volume())).planes
    assert all(coordinate < 0.5 for plane in (coronal, sagittal) for coordinate in middle_of(plane.marked["lesion"]))
    assert (coronal.left, coronal.right) == ("R", "L")
    assert (sagittal.left, sagittal.right) == ("A", "P")


def test_slices_go_through_the_labelled_voxels() -> None:
    shown = next(shown_images(labelled_volume()))
    assert all(plane.marked["lesion"].any() for plane in shown.planes)


def test_an_outline_lies_on_the_edge_of_the_structure_in_the_picture() -> None:
    pixels = decode(draw_sheet([labelled_volume()], tile=(480, 190)))
    scale = min((480 - 12) / (30 + 30 + 20), 190 / 30)
    coloured = np.all(pixels == CONCEPT_COLOURS[0], axis=-1)[CAPTION_PIXELS + 6 :]
    axial = coloured[: round(30 * scale), : 6 + round(30 * scale)]
    rows, columns = np.nonzero(axial)
    top = (30 - 20) / 2 * scale  # the axial slice is 20 mm high and centred beside slices of 30 mm
    # Voxels 14 to 17 along y and 22 to 27 along x, seen from below and from the front.
    assert rows.min() == pytest.approx(top + (20 - 18) * scale, abs=2)
    assert rows.max() == pytest.approx(top + (20 - 14) * scale, abs=2)
    assert columns.min() == pytest.approx(6 + (30 - 28) * scale, abs=2)
    assert columns.max() == pytest.approx(6 + (30 - 22) * scale, abs=2)
    inside = axial[rows.min() + 3 : rows.max() - 2, columns.min() + 3 : columns.max() - 2]
    assert not inside.any()


def test_pixels_are_in_proportion_to_millimetres() -> None:
    shown = next(shown_images(image_volume(bright_image())))
    assert [plane.size_mm for plane in shown.planes] == [(20.0, 30.0), (30.0, 30.0), (30.0, 20.0)]
    pixels = decode(draw_sheet([image_volume(bright_image())], tile=(480, 190)))
    scale = min((480 - 12) / (30 + 30 + 20), 190 / 30)
    bright = pixels.max(axis=-1)[CAPTION_PIXELS + 6 : -25] > 0
    middle_column = bright[:, 6 + round(30 * scale) + 6 + round(15 * scale)]
    assert np.count_nonzero(middle_column) == pytest.approx(30 * scale, abs=4)


def test_an_image_without_geometry_is_shown_as_it_is_stored() -> None:
    values = np.arange(12, dtype=np.uint8).reshape(1, 1, 3, 4)
    image = Image(array=values, affine=pixel_grid_affine(), modality="fundus", trusted_geometry=False)
    (plane,) = next(shown_images(image_volume(image))).planes
    assert plane.pixels[0, 0] < plane.pixels[-1, -1]
    assert (plane.left, plane.right) == ("", "")


def test_a_colour_photograph_keeps_its_colours() -> None:
    red = np.zeros((3, 1, 5, 6), np.uint8)
    red[0] = 200
    image = Image(array=red, affine=pixel_grid_affine(), modality="fundus", trusted_geometry=False)
    pixels = decode(draw_sheet([image_volume(image)]))
    assert np.count_nonzero(np.all(np.abs(pixels.astype(int) - (200, 0, 0)) < 8, axis=-1)) > 1000


def test_a_flat_image_is_one_slice_across_its_flat_axis() -> None:
    sagittal = bright_image(array=np.ones((1, 10, 20, 1), np.int16))
    (plane,) = next(shown_images(image_volume(sagittal))).planes
    assert (plane.left, plane.right) == ("A", "P")
    assert plane.pixels.shape == (10, 20)


def test_edges_of_an_oblique_slice_have_two_letters() -> None:
    affine = canonical_affine()
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    affine[:3, :3] = turn @ affine[:3, :3]
    axial = next(shown_images(image_volume(bright_image(affine=affine)))).planes[0]
    assert (axial.left, axial.right) == ("RA", "LP")


@pytest.mark.parametrize(("background_hu", "window"), [(-800, "lung"), (40, "soft tissue")])
def test_the_window_of_a_ct_follows_from_what_is_in_it(background_hu: int, window: str) -> None:
    values = np.full((1, *SHAPE), -1000, np.int16)
    values[0, 2:8, 4:16, 5:25] = background_hu
    values[0, 4:6, 8:12, 10:20] = 50
    image = bright_image(array=values, modality="CT", rescale=Rescale(unit="HU"))
    caption = next(shown_images(image_volume(image))).caption
    assert any(line.startswith(f"{window} window") for line in caption)


def test_values_that_are_not_finite_do_not_spoil_the_window() -> None:
    values = np.ones((1, *SHAPE), np.float32)
    values[0, :, :10] = np.nan
    values[0, :, 10:15] = 5.0
    plane = next(shown_images(image_volume(bright_image(array=values)))).planes[0]
    assert {0, 255} <= set(np.unique(plane.pixels).tolist())


def test_a_mesh_in_millimetres_is_drawn_with_the_patients_right_on_the_left() -> None:
    # A triangle that stands tall at the patient's right and runs out to the left.
    vertices = np.array([[10.0, 0, 0], [10, 0, 20], [-30, 0, 0], [0, 5, 0]])
    mesh = Mesh(vertices=vertices, faces=np.array([[0, 1, 2], [0, 2, 3]]), space="ras")
    volume = Volume(entry="made", case="one", patient="one", images={}, meshes={"surface": mesh})
    _, front, _ = next(shown_meshes(volume)).planes
    drawn = front.pixels > 0
    assert np.count_nonzero(drawn[:, : drawn.shape[1] // 2]) > 2 * np.count_nonzero(drawn[:, drawn.shape[1] // 2 :])
    assert (front.left, front.right, front.size_mm) == ("R", "L", (20.0, 40.0))
    unknown = next(shown_meshes(replace(volume, meshes={"surface": replace(mesh, unit="unknown")}))).planes
    assert {plane.left + plane.right for plane in unknown} == {""}


def test_equal_stores_give_equal_pictures_of_at_most_the_size_asked_for(tmp_path: Path) -> None:
    sheets = []
    for name in ("a", "b"):
        store = Store.open(tmp_path / name)
        publish(store, [labelled_volume(f"case_{number}") for number in range(5)])
        sheets.append(contact_sheet(store, "made", most_bytes=60_000))
    assert sheets[0] == sheets[1]
    assert len(sheets[0]) <= 60_000


def test_of_many_cases_evenly_spaced_ones_are_shown(store: Store) -> None:
    volumes = [labelled_volume(f"case_{number}") for number in range(5)]
    publish(store, volumes)
    shown = contact_sheet(store, "made", most_cases=2)
    assert shown == draw_sheet([volumes[0], volumes[2]], note="2 of 5 cases, evenly spaced. ")


def test_an_entry_without_usable_cases_gets_a_sheet_all_the_same(store: Store) -> None:
    publish(store, [])
    assert decode(contact_sheet(store, "made")).size > 0


def test_a_stage_that_was_not_built_is_an_error(store: Store) -> None:
    with pytest.raises(StoreError) as raised:
        contact_sheet(store, "made")
    assert raised.value.code == "stage.not_built"
