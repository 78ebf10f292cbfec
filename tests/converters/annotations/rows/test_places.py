"""Boxes, points and outlines as indices of the image. SimpleITK, nibabel and matplotlib are the other readers."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as Itk
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_rows import FCSV, MINI_MIAS, NIH_BOXES, VOC, annotation, write_json, write_text
from matplotlib.path import Path as Polygon

from medshard.converters.annotations.rasterise import rasterise
from medshard.converters.annotations.rows.reading import (
    PlaceGrid,
    RowsRead,
    is_row_contours,
    outline_masks,
    read_annotation_rows,
    read_rows,
    row_shape,
)
from medshard.converters.annotations.rows.run_lengths import mask_of_runs, outlines_of_mask
from medshard.errors import CaseError

PICTURE = PlaceGrid(shape=(1, 100, 200), name="film")


def read(fields: dict, rows: list[dict], grid: PlaceGrid | None = PICTURE) -> RowsRead:
    return read_annotation_rows(annotation(**fields), rows, where="demo/1", grid=grid)


def boxes(fields: dict, rows: list[dict], grid: PlaceGrid | None = PICTURE) -> list[list[float]]:
    """z, y, x of the lowest and of the highest border."""
    found = read({"kind": "boxes", "values": {"nodule": "lung nodule"}, **fields}, rows, grid).table.table.to_pylist()
    return [[row[f"{axis}_{end}"] for end in ("min", "max") for axis in "zyx"] for row in found]


def points(fields: dict, rows: list[dict], grid: PlaceGrid | None = PICTURE) -> list[list[float]]:
    found = read({"kind": "landmarks", **fields}, rows, grid).table.table.to_pylist()
    return [[row[axis] for axis in "zyx"] for row in found]


# The pixels 3, 4, 5 of rows and 10 to 19 of columns.
PIXELS = [-0.5, 2.5, 9.5, 0.5, 5.5, 19.5]


@pytest.mark.parametrize(
    ("fields", "row"),
    [
        ({}, {"x_min": 10, "y_min": 3, "x_max": 20, "y_max": 6}),
        ({}, {"xmin": "10", "ymin": "3.0", "xmax": "20", "ymax": "6"}),
        ({}, {"x": 10, "y": 3, "width": 10, "height": 3}),
        ({"columns": {"corners": "b"}}, {"b": [10, 3, 20, 6]}),
        ({"columns": {"corners": "b"}}, {"b": "10, 3, 20, 6"}),
        ({"columns": {"box": "b"}}, {"b": [10, 3, 10, 3]}),
        ({"inclusive": True}, {"x_min": 10, "y_min": 3, "x_max": 19, "y_max": 5}),
        ({"inclusive": True, "first": 1}, {"x_min": 11, "y_min": 4, "x_max": 20, "y_max": 6}),
        ({"inclusive": True}, {"x": 10, "y": 3, "width": 10, "height": 3}),
        ({"at": "centre"}, {"x_min": 9.5, "y_min": 2.5, "x_max": 19.5, "y_max": 5.5}),
        ({"y_up": True}, {"x_min": 10, "y_min": 94, "x_max": 20, "y_max": 97}),
        ({"y_up": True, "inclusive": True, "at": "centre"}, {"x_min": 10, "y_min": 94, "x_max": 19, "y_max": 96}),
        ({"space": "fraction"}, {"x_min": 0.05, "y_min": 0.03, "x_max": 0.1, "y_max": 0.06}),
        ({"columns": {"x_centre": "a", "y_centre": "b"}}, {"a": 15, "b": 4.5, "width": 10, "height": 3}),
    ],
)
def test_every_way_of_stating_one_rectangle_is_the_same_box(fields: dict, row: dict) -> None:
    assert boxes(fields, [row]) == [pytest.approx(PIXELS)]


def test_yolo_lines_are_fractions_around_a_centre(tmp_path: Path) -> None:
    table = annotation(kind="boxes", format="yolo", values={"3": "polyp"})
    path = write_text(tmp_path / "1.txt", "3 0.075 0.045 0.05 0.03\n")
    rows = read_rows([path], where="d", shape=row_shape(table)).rows
    found = read_annotation_rows(table, rows, where="d/1", grid=PICTURE).table.table.to_pylist()[0]
    assert [found[f"{axis}_{end}"] for end in ("min", "max") for axis in "zyx"] == pytest.approx(PIXELS)
    assert found["concept"] == "polyp"


def test_voc_counts_from_one_and_its_greater_corner_is_inside(tmp_path: Path) -> None:
    table = annotation(kind="boxes", format="voc", values={"polyp": "polyp"}, unmapped={"tool": "an instrument"})
    rows = read_rows([write_text(tmp_path / "1.xml", VOC)], where="d", shape=row_shape(table)).rows
    found = read_annotation_rows(table, rows, where="d/1", grid=PICTURE).table.table.to_pylist()
    assert [(row["y_min"], row["x_min"], row["y_max"], row["x_max"]) for row in found] == [
        (0.5, -0.5, 4.5, 2.5),
        (0.5, 0.5, 1.5, 1.5),
    ]


def test_the_broken_header_of_chest_x_ray_14_names_its_columns(tmp_path: Path) -> None:
    columns = {"word": "Finding Label", "x": "Bbox [x", "y": "y", "width": "w", "height": "h]"}
    table = annotation(
        kind="boxes", columns=columns, values={"Atelectasis": "atelectasis", "Infiltration": "pulmonary infiltration"}
    )
    rows = read_rows([write_text(tmp_path / "b.csv", NIH_BOXES)], where="d", shape=row_shape(table)).rows
    found = read_annotation_rows(table, rows, where="d/1", grid=PlaceGrid(shape=(1, 1024, 1024)))
    assert found.table.table["x_min"][0].as_py() == pytest.approx(225.084745762712 - 0.5)
    assert found.table.table["y_max"][0].as_py() == pytest.approx(547.019216763771 + 79.1864406779661 - 0.5)
    # The other spelling of the findings' table is not taken for it.
    assert found.unknown_words == ("Infiltrate",)
    assert found.table.table["concept"].to_pylist() == ["atelectasis", None]


def test_circles_of_mini_mias_count_rows_from_below(tmp_path: Path) -> None:
    table = annotation(
        kind="boxes", format="txt", header=False, delimiter="blank", lines=r"mdb\d+\s+\w\s+\w+\s+\w\s+\d",
        at="centre", y_up=True, columns={"word": "2", "x": "4", "y": "5", "radius": "6"},
        values={"CIRC": "circumscribed breast mass"},
    )  # fmt: skip
    rows = read_rows([write_text(tmp_path / "Info.txt", MINI_MIAS)], where="d", shape=row_shape(table)).rows
    found = read_annotation_rows(table, rows, where="d/1", grid=PlaceGrid(shape=(1, 1024, 1024)))
    first = found.table.table.to_pylist()[0]
    assert found.table.table.num_rows == 3
    assert (first["x_min"] + first["x_max"]) / 2 == 535
    assert (first["y_min"] + first["y_max"]) / 2 == 1023 - 425
    assert first["x_max"] - first["x_min"] == 2 * 197


def test_the_reversed_axes_of_tdsc_abus() -> None:
    """Row of case 100 and the voxels of its mask, 163..465, 58..426 and 153..225 along x, y and z of the file."""
    columns = {"x_centre": "c_z", "y_centre": "c_y", "z_centre": "c_x", "width": "len_z", "height": "len_y",
               "depth": "len_x"}  # fmt: skip
    row = {"id": 100, "c_x": 189.0, "c_y": 242.0, "c_z": 314.0, "len_x": 72.0, "len_y": 368.0, "len_z": 302.0}
    grid = PlaceGrid(shape=(330, 608, 865))
    assert boxes({"columns": columns, "at": "centre", "inclusive": True}, [row], grid) == [
        [152.5, 57.5, 162.5, 225.5, 426.5, 465.5]
    ]


def test_a_row_without_numbers_says_that_there_is_no_box() -> None:
    fields = {
        "kind": "boxes",
        "columns": {"word": "Target"},
        "values": {"1": "lung opacity"},
        "unmapped": {"0": "none"},
    }
    found = read(fields, [{"x": "", "y": "", "width": "", "height": "", "Target": 0}])
    assert (found.table.table.num_rows, found.invalid, found.unknown_words) == (0, 0, ())


def test_bad_boxes_are_counted_and_told() -> None:
    rows = [
        {"x": 1, "y": 1, "width": 0, "height": 5},
        {"x": 1, "y": 1, "width": -3, "height": 5},
        {"x": 1, "y": "", "width": 3, "height": 5},
        {"x": 190, "y": 1, "width": 30, "height": 5},
    ]
    found = read({"kind": "boxes", "values": {"a": "liver"}}, rows)
    assert (found.table.table.num_rows, found.invalid, found.out_of_image) == (1, 3, 1)
    assert len(found.table.warnings) == 3


def test_a_cell_that_is_no_number_is_refused_without_being_repeated() -> None:
    with pytest.raises(CaseError, match="annotation.not_a_number") as raised:
        boxes({}, [{"x": "Jane Doe", "y": 1, "width": 1, "height": 1}])
    assert "Jane" not in str(raised.value)


def test_a_box_on_a_slice_and_one_through_all() -> None:
    volume = PlaceGrid(shape=(20, 100, 200))
    row = {"x": 10, "y": 3, "width": 10, "height": 3, "slice": 4}
    assert boxes({"columns": {"z": "slice"}}, [row], volume) == [[3.5, 2.5, 9.5, 4.5, 5.5, 19.5]]
    assert boxes({}, [row], volume) == [[-0.5, 2.5, 9.5, 19.5, 5.5, 19.5]]
    deep = {"x_min": 10, "y_min": 3, "z_min": 4, "x_max": 19, "y_max": 5, "z_max": 6}
    named = {role: role for role in deep}
    assert boxes({"columns": named, "inclusive": True}, [deep], volume) == [[3.5, 2.5, 9.5, 6.5, 5.5, 19.5]]


def made_itk(direction: list[float]) -> tuple[Itk.Image, PlaceGrid]:
    image = Itk.Image([40, 30, 20], Itk.sitkInt16)
    image.SetSpacing([0.7, 0.8, 2.5])
    image.SetOrigin([-120.0, 33.0, -400.5])
    image.SetDirection(direction)
    to_lps = np.array(direction).reshape(3, 3) @ np.diag(image.GetSpacing())
    affine = np.eye(4)
    affine[:3, :3] = (np.diag([-1, -1, 1]) @ to_lps)[:, ::-1]
    affine[:3, 3] = np.array([-1, -1, 1]) * np.array(image.GetOrigin())
    return image, PlaceGrid(shape=(20, 30, 40), affine=affine)


@pytest.mark.parametrize(
    "direction",
    [
        [1, 0, 0, 0, 1, 0, 0, 0, 1],
        [-1, 0, 0, 0, -1, 0, 0, 0, 1],
        [0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1],
        [0, 0, 1, 1, 0, 0, 0, 1, 0],
    ],
)
def test_nodules_in_millimetres_lie_where_simpleitk_puts_them(direction: list[float]) -> None:
    image, grid = made_itk([float(number) for number in direction])
    world = (-112.0, 41.0, -380.0)
    columns = {"x": "coordX", "y": "coordY", "z": "coordZ", "diameter": "diameter_mm"}
    row = {"coordX": world[0], "coordY": world[1], "coordZ": world[2], "diameter_mm": 6.0}
    z_min, y_min, x_min, z_max, y_max, x_max = boxes({"columns": columns, "space": "lps-mm"}, [row], grid)[0]
    x, y, z = image.TransformPhysicalPointToContinuousIndex(world)
    assert ((x_min + x_max) / 2, (y_min + y_max) / 2, (z_min + z_max) / 2) == pytest.approx((x, y, z), abs=1e-6)
    assert (x_max - x_min, y_max - y_min, z_max - z_min) == pytest.approx((6 / 0.7, 6 / 0.8, 6 / 2.5))
    named = {"x": "coordX", "y": "coordY", "z": "coordZ"}
    assert points({"columns": named, "space": "lps-mm"}, [row], grid) == [pytest.approx([z, y, x], abs=1e-6)]


def test_millimetres_need_an_image_with_a_place() -> None:
    with pytest.raises(CaseError, match="annotation.no_geometry"):
        points({"space": "lps-mm"}, [{"x": 1, "y": 2, "z": 3}])


@pytest.mark.parametrize(("frame", "sign"), [("0", -1), ("1", 1)])
def test_fiducials_lie_in_the_frame_of_their_file(tmp_path: Path, frame: str, sign: int) -> None:
    image, grid = made_itk([1.0, 0, 0, 0, 1, 0, 0, 0, 1])
    rows = read_rows([write_text(tmp_path / "p.fcsv", FCSV.format(frame=frame))], where="d").rows
    x, y, z = image.TransformPhysicalPointToContinuousIndex((sign * 10.0, sign * 20.0, 30.0))
    assert points({"format": "fcsv"}, list(rows), grid) == [pytest.approx([z, y, x])]


def test_markups_of_slicer(tmp_path: Path) -> None:
    image, grid = made_itk([1.0, 0, 0, 0, 1, 0, 0, 0, 1])
    data = {"markups": [{"type": "Curve", "coordinateSystem": "LPS", "controlPoints": [
        {"label": "cord_1-1", "position": [-110.0, 40.0, -390.0]}]}]}  # fmt: skip
    rows = read_rows([write_json(tmp_path / "c.json", data)], where="d").rows
    x, y, z = image.TransformPhysicalPointToContinuousIndex((-110.0, 40.0, -390.0))
    assert points({"format": "json", "values": {"cord": "spinal cord"}}, list(rows), grid) == [pytest.approx([z, y, x])]


@pytest.mark.parametrize("letters", ["RAS", "LPS", "PIR", "SLA", "IPL"])
def test_centroids_along_other_axes_are_turned_onto_the_image(letters: str) -> None:
    """The same voxel found by turning a whole image with nibabel."""
    _, grid = made_itk([1.0, 0, 0, 0, 1, 0, 0, 0, 1])
    array = np.zeros(grid.shape, np.uint8)
    array[4, 25, 31] = 1
    turned = nib.Nifti1Image(array, grid.affine)
    orientation = nib.orientations.ornt_transform(
        nib.io_orientation(grid.affine), nib.orientations.axcodes2ornt(tuple(letters))
    )
    place = np.argwhere(turned.as_reoriented(orientation).get_fdata())[0]
    rows = [{"direction": list(letters)}, {"label": 20, "X": place[0], "Y": place[1], "Z": place[2]}]
    table = {"format": "json", "columns": {"word": "label"}, "values": {"20": "L1 vertebra"}}
    assert points(table, rows, grid) == [[4.0, 25.0, 31.0]]


def test_points_in_pixels() -> None:
    assert points({}, [{"": 0, "X": 10, "Y": 3}]) == [[0.0, 3.0, 10.0]]
    assert points({"first": 1}, [{"x": 10, "y": 3}]) == [[0.0, 2.0, 9.0]]
    assert points({"at": "corner"}, [{"x": 10, "y": 3}]) == [[0.0, 2.5, 9.5]]
    assert points({}, [{"x": "", "y": ""}, {"x": 1, "y": 2}]) == [[0.0, 2.0, 1.0]]


def test_columns_without_a_header(tmp_path: Path) -> None:
    table = annotation(
        kind="landmarks", header=False, columns={"x": "0", "y": "1", "z": "2", "word": "3"},
        values={"1": "pulmonary vessel"}, unmapped={"0": "background"},
    )  # fmt: skip
    rows = read_rows([write_text(tmp_path / "v.csv", "5,6,7,1\n8,9,10,0\n")], where="d", shape=row_shape(table)).rows
    found = read_annotation_rows(table, rows, where="d/1", grid=PlaceGrid(shape=(20, 30, 40))).table.table.to_pylist()
    assert [(row["concept"], row["word"], row["z"], row["y"], row["x"]) for row in found] == [
        ("pulmonary vessel", "1", 7.0, 6.0, 5.0),
        (None, "0", 10.0, 9.0, 8.0),
    ]


def test_raters_and_scores_are_kept_and_other_columns_are_not() -> None:
    row = {"rad_id": "R8", "class_name": "nodule", "x_min": 1, "y_min": 1, "x_max": 3, "y_max": 3, "PatientID": "X"}
    found = read({"kind": "boxes", "columns": {"rater": "rad_id"}, "values": {"nodule": "lung nodule"}}, [row])
    assert found.table.table["rater"].to_pylist() == ["R8"]
    assert "X" not in str(found.table.table.to_pylist())


def runs_of(mask: np.ndarray, *, relative: bool) -> str:
    """Run lengths written pixel by pixel, column after column."""
    flat = [bool(mask[y, x]) for x in range(mask.shape[1]) for y in range(mask.shape[0])]
    runs, end = [], 0
    for place, inside in enumerate(flat):
        if inside and (place == 0 or not flat[place - 1]):
            length = next((n for n in range(place, len(flat)) if not flat[n]), len(flat)) - place
            runs += [place - end if relative else place + 1, length]
            end = place + length
    return " ".join(map(str, runs))


@settings(max_examples=60, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))), st.booleans())
def test_run_lengths_are_the_mask_that_they_were_written_from(mask: np.ndarray, relative: bool) -> None:
    found = mask_of_runs(runs_of(mask, relative=relative), mask.shape, form="relative" if relative else "absolute")
    assert (mask if found is None else found).tolist() == mask.tolist()
    assert (found is None) == (not mask.any())


@settings(max_examples=80, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))))
def test_outlines_of_a_mask_enclose_its_pixels_and_no_other(mask: np.ndarray) -> None:
    assume(mask.any())
    rows, columns = np.indices(mask.shape)
    centres = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1)
    inside = np.zeros(mask.size, int)
    for hole, corners in outlines_of_mask(mask):
        polygon = Polygon([(x, y) for y, x in corners] + [(corners[0][1], corners[0][0])])
        inside += (-1 if hole else 1) * polygon.contains_points(centres)
    assert (inside.reshape(mask.shape) == mask).all()


@pytest.mark.parametrize("cell", ["1", "1 2 3", "5 200", "-3 4", "1 x", "99999999999999999999 1", "0 3 -1 2"])
def test_run_lengths_that_do_not_fit_are_refused(cell: str) -> None:
    fields = {"kind": "contours", "runs": "relative", "values": {"EncodedPixels": "pneumothorax"}}
    with pytest.raises(CaseError, match="annotation.bad_runs"):
        read(fields, [{"ImageId": "1", "EncodedPixels": cell}], PlaceGrid(shape=(1, 8, 8)))


def test_runs_of_one_image_are_one_segment() -> None:
    fields = annotation(kind="contours", runs="relative", values={"EncodedPixels": "pneumothorax"})
    assert is_row_contours(fields)
    grid = PlaceGrid(shape=(1, 4, 4))
    found = outline_masks(fields, [{"EncodedPixels": "0 2"}, {"EncodedPixels": "5 1"}], where="d/1", grid=grid)
    assert found.array[0, 0].tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert [segment.name for segment in found.segments] == ["EncodedPixels"]
    nothing = outline_masks(fields, [{"EncodedPixels": "-1"}], where="d/1", grid=grid)
    assert not nothing.array.any()
    assert nothing.segments == ()


def test_polygons_in_a_cell_and_corners_in_rows_are_the_same_outline() -> None:
    corners = [[1, 1], [5, 1], [5, 4]]
    whole = {"kind": "contours", "values": {"cell": "lymphocyte"}, "columns": {"points": "p"}}
    lists = {"kind": "contours", "values": {"cell": "lymphocyte"}, "columns": {"x": "cx", "y": "cy"}}
    apart = {"kind": "contours", "values": {"cell": "lymphocyte"}, "columns": {"outline": "n"}}
    tables = [
        read(whole, [{"p": corners}]),
        read(whole, [{"p": [[1, 1, 5, 1, 5, 4]]}]),
        read(lists, [{"cx": "1,5,5", "cy": "1,1,4"}]),
        read(apart, [{"x": x, "y": y, "n": 7} for x, y in corners]),
    ]
    found = [[(row["outline"], row["y"], row["x"]) for row in one.table.table.to_pylist()] for one in tables]
    assert found == [[(0, 1.0, 1.0), (0, 1.0, 5.0), (0, 4.0, 5.0)]] * 4
    assert read(whole, [{"p": [[1, 1], [2, 2]]}]).invalid == 1


def test_polygons_are_drawn_as_those_of_other_files() -> None:
    fields = annotation(kind="contours", values={"cell": "lymphocyte"}, columns={"points": "p"})
    rows = [{"p": [[0.5, 0.5], [3.5, 0.5], [3.5, 2.5], [0.5, 2.5]]}]
    drawn = outline_masks(fields, rows, where="d/1", grid=PlaceGrid(shape=(1, 5, 6)))
    assert drawn.space == "index"
    assert [region.name for region in drawn.regions] == ["cell"]
    mask = rasterise(drawn, drawn.regions[0], (1, 5, 6), np.eye(4)).mask
    assert np.argwhere(mask).tolist() == [[0, y, x] for y in (1, 2) for x in (1, 2, 3)]
