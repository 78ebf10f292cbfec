"""A case out of a stack is the case as if it had been written alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medshard.converters.annotation_table import AnnotationTable, rows_table
from medshard.converters.canonical import read_volume, write_volume
from medshard.converters.geometry import pixel_grid_affine
from medshard.converters.stacked import read_stacked, stack_member, write_stack
from medshard.converters.volume import Image, LabelLayer, Mesh, Rescale, Volume
from medshard.errors import CaseError, StoreError

SHAPE = (1, 1, 5, 7)
NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)


@st.composite
def volumes(draw: st.DrawFn, case: str, dtype: np.dtype) -> Volume:  # type: ignore[type-arg]
    affine = pixel_grid_affine()
    affine[:3, 3] = draw(st.tuples(NUMBERS, NUMBERS, NUMBERS))
    image = Image(
        array=draw(arrays(dtype, SHAPE)),
        affine=affine if draw(st.booleans()) else pixel_grid_affine(),
        rescale=Rescale(slope=(draw(st.floats(0.1, 9)),), unit=draw(st.sampled_from(("arbitrary", "HU")))),
        modality=draw(st.sampled_from(("X-ray", "OCT"))),
        trusted_geometry=draw(st.booleans()),
        attributes=draw(
            st.dictionaries(st.sampled_from(("KVP", "Rows")), st.one_of(st.just(1), st.just(1.0), st.just(("a", "b"))))
        ),
    )
    mask = LabelLayer(
        array=draw(arrays(np.uint8, SHAPE, elements=st.integers(0, 3))),
        affine=image.affine,
        classes=draw(st.sampled_from(({1: "drusen"}, {1: "drusen", 2: "fovea"}))),
        examined=draw(st.sampled_from((("drusen",), ()))),
        colours=draw(st.sampled_from(({}, {1: "#ff0000"}))),
    )
    rows = draw(st.lists(st.fixed_dictionaries({"concept": st.sampled_from(("drusen", None)), "word": st.text()})))
    found = AnnotationTable(
        kind="classes",
        table=rows_table("classes", [{**row, "state": "present"} for row in rows]),
        examined=("drusen",),
        rater=draw(st.sampled_from((None, "first"))),
    )
    patient = draw(st.text(min_size=1, max_size=5))
    return Volume(
        entry="entry",
        case=case,
        patient=patient,
        images={"oct": image},
        labels={"lesions": mask},
        annotations={"diagnosis": found},
    )


@st.composite
def cohorts(draw: st.DrawFn) -> list[Volume]:
    dtype = np.dtype(draw(st.sampled_from(("uint8", "int16", "float32"))))
    return [draw(volumes(f"case{number}", dtype)) for number in range(draw(st.integers(1, 12)))]


@given(cohort=cohorts())
@settings(max_examples=25, deadline=None)
def test_every_case_of_a_stack_is_what_it_would_be_alone(
    cohort: list[Volume], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("stack")
    _stack(cohort, folder / "stack")
    for row, (volume, together) in enumerate(
        zip(cohort, read_stacked(folder / "stack", range(len(cohort))), strict=True)
    ):
        write_volume(volume, folder / f"alone{row}")
        alone = read_volume(folder / f"alone{row}")
        _assert_same(alone, together)
        _assert_same(alone, read_volume(folder / "stack", row))


def test_a_stack_of_a_thousand_cases_is_a_handful_of_files_that_zarr_reads(tmp_path: Path) -> None:
    cohort = [_picture(f"case{number:04d}", number) for number in range(1000)]
    _stack(cohort, tmp_path / "stack")
    assert sum(path.is_file() for path in (tmp_path / "stack").rglob("*")) == 6
    array = zarr.open_array(tmp_path / "stack" / "images" / "oct" / "0", mode="r")
    assert array.shape == (1000, *SHAPE)
    assert array.chunks == (1, *SHAPE)
    np.testing.assert_array_equal(array[:], np.stack([volume.images["oct"].array for volume in cohort]))


def test_equal_cases_have_equal_bytes_whatever_the_threads(tmp_path: Path) -> None:
    cohort = [_picture(f"case{number}", number) for number in range(20)]
    _stack(cohort, tmp_path / "one", threads=1)
    _stack(cohort, tmp_path / "four", threads=4)
    for path in (path for path in (tmp_path / "one").rglob("*") if path.is_file()):
        assert path.read_bytes() == (tmp_path / "four" / path.relative_to(tmp_path / "one")).read_bytes()


def test_cases_of_other_sizes_types_or_names_have_another_form() -> None:
    image = _picture("case", 1).images["oct"]
    others = (
        {"oct": replace(image, array=image.array[..., :-1])},
        {"oct": replace(image, array=image.array.astype(np.int16))},
        {"fundus": image},
        {"oct": image, "fundus": image},
    )
    forms = {_form(replace(_picture("case", 1), images=images)) for images in others}
    assert len(forms | {_form(_picture("case", 2))}) == 5


def test_a_case_with_a_surface_is_not_stacked() -> None:
    mesh = Mesh(vertices=np.zeros((3, 3)), faces=np.array([[0, 1, 2]]))
    assert stack_member(replace(_picture("case", 1), meshes={"tooth": mesh})) is None


def test_a_case_that_json_cannot_hold_is_refused_before_it_spoils_others() -> None:
    image = replace(_picture("case", 1).images["oct"], rescale=Rescale(slope=(float("nan"),)))
    with pytest.raises(CaseError, match="not a finite number") as caught:
        stack_member(replace(_picture("case", 1), images={"oct": image}))
    assert caught.value.code == "canonical.not_finite"


@pytest.mark.parametrize("row", [None, -1, 2])
def test_a_row_that_the_stack_does_not_have_is_refused(tmp_path: Path, row: int | None) -> None:
    _stack([_picture("a", 1), _picture("b", 2)], tmp_path / "stack")
    with pytest.raises(StoreError) as caught:
        read_volume(tmp_path / "stack", row)
    assert caught.value.code == "stack.row"


def test_a_row_of_a_case_that_is_no_stack_is_refused(tmp_path: Path) -> None:
    write_volume(_picture("a", 1), tmp_path / "alone")
    with pytest.raises(StoreError) as caught:
        read_volume(tmp_path / "alone", 0)
    assert caught.value.code == "stack.row"


def _picture(case: str, seed: int) -> Volume:
    array = np.random.default_rng(seed).integers(0, 256, SHAPE, dtype=np.uint8)
    image = Image(array=array, affine=pixel_grid_affine(), modality="OCT", trusted_geometry=False)
    return Volume(entry="entry", case=case, patient=case, images={"oct": image})


def _stack(cohort: list[Volume], folder: Path, threads: int = 1) -> None:
    members = [stack_member(volume) for volume in cohort]
    write_stack([member for member in members if member is not None], folder, threads=threads)


def _form(volume: Volume) -> str:
    member = stack_member(volume)
    assert member is not None
    return member.form


def _assert_same(one: Volume, other: Volume) -> None:
    assert (one.entry, one.case, one.patient) == (other.entry, other.case, other.patient)
    for kind in ("images", "labels", "annotations"):
        assert list(getattr(one, kind)) == list(getattr(other, kind))
    for kind in ("images", "labels"):
        for name, layer in getattr(one, kind).items():
            same = getattr(other, kind)[name]
            assert same.array.dtype == layer.array.dtype
            np.testing.assert_array_equal(same.array, layer.array)
            np.testing.assert_array_equal(same.affine, layer.affine)
            blank = {"array": None, "affine": None}
            assert repr(replace(same, **blank)) == repr(replace(layer, **blank))
    for name, rows in one.annotations.items():
        assert other.annotations[name].table.equals(rows.table)
        assert replace(other.annotations[name], table=None) == replace(rows, table=None)  # type: ignore[arg-type]
