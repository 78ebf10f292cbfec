"""Templates: from file paths to cases."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medshard.registry import layout
from medshard.registry.layout import discover
from medshard.registry.schema import Entry
from medshard.registry.templates import check_template, fill, template_fields


def entry(*groups: dict[str, Any]) -> Entry:
    return Entry.model_validate(
        {
            "id": "x", "title": "X", "description": "x", "version": "1", "groups": ["brain"], "modalities": ["MR"],
            "tasks": ["segmentation"], "dimensions": [3], "licence": {"id": "CC0-1.0"}, "access": {"kind": "open"},
            "maturity": "described", "acquisition": [{"kind": "folder", "path": "."}], "cases": list(groups),
        }
    )  # fmt: skip


def group(**fields: Any) -> dict[str, Any]:
    return {"modality": "MR", **fields}


def test_images_and_labels_of_one_binding_are_one_case() -> None:
    found = discover(
        entry(group(
            case="{patient}_{visit}", patient="{patient}",
            images={"t1": {"path": "{patient}/{visit}/t1.nii"}, "t2": {"path": "{patient}/{visit}/t2.nii"}},
            labels={"tumour": {"path": "masks/{patient}-{visit}.nii", "classes": {1: "tumour"}}},
        )),
        ["p1/a/t1.nii", "p1/a/t2.nii", "p1/b/t1.nii", "masks/p1-a.nii", "README.txt"],
    )  # fmt: skip
    first, second = found.cases
    assert (first.case, first.patient) == ("p1_a", "p1")
    assert first.images == {"t1": ("p1/a/t1.nii",), "t2": ("p1/a/t2.nii",)}
    assert first.labels == {"tumour": (("masks/p1-a.nii",),)}
    assert second.images["t2"] == ()
    assert second.labels == {"tumour": ((),)}
    assert found.unmatched == ("README.txt",)


def test_a_star_gathers_the_files_of_a_series() -> None:
    found = discover(
        entry(group(case="{series}", images={"ct": {"path": "dicom/{series}/*.dcm"}})),
        ["dicom/s1/2.dcm", "dicom/s1/1.dcm", "dicom/s2/1.dcm", "dicom/s2/deep/1.dcm"],
    )
    assert [case.images["ct"] for case in found.cases] == [("dicom/s1/1.dcm", "dicom/s1/2.dcm"), ("dicom/s2/1.dcm",)]


def test_two_stars_cross_folders() -> None:
    found = discover(entry(group(case="{s}", images={"ct": {"path": "{s}/**.dcm"}})), ["s2/1.dcm", "s2/deep/er/1.dcm"])
    assert found.cases[0].images["ct"] == ("s2/1.dcm", "s2/deep/er/1.dcm")


def test_where_restricts_a_field() -> None:
    found = discover(
        entry(group(where={"case": r"lung\d+"}, images={"image": {"path": "{case}.nrrd"}})),
        ["lung1.nrrd", "brain1.nrrd"],
    )
    assert [case.case for case in found.cases] == ["lung1"]


def test_regular_expression_characters_in_file_names_are_plain() -> None:
    found = discover(
        entry(
            group(
                images={"image": {"path": "a+b (1)/{case}.nii"}},
                labels={"m": {"path": "a+b (1)/{case}[m]*.nii", "classes": {1: "x"}}},
            )
        ),
        ["a+b (1)/s[1].nii", "a+b (1)/s[1][m].nii"],
    )
    case = next(case for case in found.cases if case.case == "s[1]")
    assert case.labels["m"] == (("a+b (1)/s[1][m].nii",),)


@pytest.mark.parametrize("template", ["{a", "a}", "{a b}", "/abs/{a}", "../{a}", "{}"])
def test_bad_templates_are_refused(template: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        check_template(template)


names = st.text(alphabet=string.ascii_letters + string.digits + "-_.", min_size=1, max_size=12)


@given(patient=names, case=names)
def test_filling_a_template_and_matching_it_are_inverse(patient: str, case: str) -> None:
    template = "images/{patient}/{case}.nii.gz"
    path = fill(template, {"patient": patient, "case": case})
    found = discover(entry(group(case="{case}", patient="{patient}", images={"image": {"path": template}})), [path])
    assert template_fields(template) == ("patient", "case")
    assert [(c.patient, c.case, c.images["image"]) for c in found.cases] == [(patient, case, (path,))]


def test_a_deep_tree_of_equal_names_is_searched_by_what_differs() -> None:
    """`**/` in front and one name for all cases is the commonest layout of the catalog: it must not be quadratic."""
    cases = [f"root/s{number:04d}" for number in range(400)]
    paths = [f"{case}/{name}.nii.gz" for case in cases for name in ("ct", "mask")]
    finder = layout._Finder(paths)
    assert finder.files("**/s0007/mask.nii.gz") == ("root/s0007/mask.nii.gz",)
    assert len(finder._candidates("**/s0007/mask.nii.gz")) == 1
    assert finder.files("**/ct.nii.gz") == tuple(f"{case}/ct.nii.gz" for case in cases)
    assert layout._Finder(["ct.nii.gz"]).files("**/ct.nii.gz") == ("ct.nii.gz",), "`**/` may stand for no folder"
