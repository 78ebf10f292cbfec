"""The suite over the cases table: what must not pass, above all what Great Expectations passes by itself."""

import io
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medshard.pipelines.orchestration import expectations
from medshard.pipelines.orchestration.expectations import ExpectationReport, validate_cases_table
from medshard.pipelines.stages.cases_table import COLUMNS, cases_table

Row = dict[str, Any]


def row(case: str, **changes: Any) -> Row:
    """A case of one labelled image that nothing speaks against."""
    good: Row = {
        "case": case,
        "patient": case,
        "subject": "patient",
        "sex": "F",
        "age_band": "60-69",
        "site": "site-1f2e3d4c",
        "manufacturer": "Siemens",
        "scanner": None,
        "field_strength_t": None,
        "modality": "CT",
        "group": "thorax",
        "split": None,
        "synthetic": False,
        "images": 1,
        "labels_usable": 1,
        "meshes": 0,
        "files": 2,
        "image_format": "nrrd",
        "dtype": "int16",
        "channels": 1,
        **dict.fromkeys(("shape_z", "shape_y", "shape_x"), 64),
        **dict.fromkeys(("spacing_z_mm", "spacing_y_mm", "spacing_x_mm"), 0.8),
        "trusted_geometry": True,
        "burned_in_text": None,
        "foreground_voxels": 100,
        "fit_supervised": True,
        "fit_self_supervised": True,
        "fit_evaluation": True,
        "excluded": False,
        "reasons": "",
        "warnings": 0,
    }
    return good | changes


def excluded_row(case: str, **changes: Any) -> Row:
    """What `cases_table` writes of a case that could not be read: next to nothing is known of it."""
    blank: Row = dict.fromkeys(COLUMNS.names)
    fit = dict.fromkeys(("fit_supervised", "fit_self_supervised", "fit_evaluation"), False)
    counts = dict.fromkeys(("images", "labels_usable", "meshes", "files", "foreground_voxels", "warnings"), 0)
    return (
        blank
        | fit
        | counts
        | {"case": case, "synthetic": False, "excluded": True, "reasons": "format.unknown: no reader"}
        | changes
    )


def mesh_row(case: str) -> Row:
    of_images = [name for name in COLUMNS.names if name.startswith(("shape_", "spacing_"))]
    return row(case, images=0, meshes=1, fit_evaluation=False, modality="mesh") | dict.fromkeys(
        [*of_images, "image_format", "dtype", "channels", "trusted_geometry"]
    )


def parquet(rows: list[Row], schema: pa.Schema = COLUMNS) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink)
    return sink.getvalue()


# One row for each fault; each is found by an expectation that no other row fails. A run takes a second, so one for all.
FAULTS: dict[str, tuple[Row, tuple[str, str]]] = {
    "a spacing that is NaN": (
        row("nan", spacing_z_mm=math.nan),
        ("column_values_to_not_be_null", "spacing_z_mm"),
    ),
    "no spacing at all": (row("none", spacing_y_mm=None), ("column_values_to_not_be_null", "spacing_y_mm")),
    "a spacing of zero": (row("zero", spacing_x_mm=0.0), ("column_values_to_be_between", "spacing_x_mm")),
    "micrometres for mm": (row("large", spacing_z_mm=5000.0), ("column_values_to_be_between", "spacing_z_mm")),
    "a case that stands there twice": (row("twice"), ("column_values_to_be_unique", "case")),
    "an unknown modality": (row("XR", modality="XR"), ("column_values_to_be_in_set", "modality")),
    "no patient": (row("nobody", patient=""), ("column_value_lengths_to_be_between", "patient")),
    "neither image nor mesh": (row("nothing", images=0), ("column_values_to_be_between", "images")),
    "nothing to score": (row("healthy", foreground_voxels=0), ("column_values_to_be_between", "foreground_voxels")),
    "an age instead of a band": (row("age", age_band="67"), ("column_values_to_match_regex", "age_band")),
    "a hospital instead of a pseudonym": (row("h", site="St Elsewhere"), ("column_values_to_match_regex", "site")),
    "a sex that is no code": (row("s", sex="female"), ("column_values_to_be_in_set", "sex")),
    "a part of a split that nobody knows": (row("p", split="holdout"), ("column_values_to_be_in_set", "split")),
    "made or not, nobody says": (row("m", synthetic=None), ("column_values_to_not_be_null", "synthetic")),
    "no reason": (excluded_row("silent", reasons=""), ("column_value_lengths_to_be_between", "reasons")),
    "excluded and fit": (
        excluded_row("both", fit_supervised=True),
        ("column_values_to_be_in_set", "fit_supervised"),
    ),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, ExpectationReport]:
    table = parquet([row("a"), row("b"), mesh_row("c"), excluded_row("d")])
    return table, validate_cases_table(table, tmp_path_factory.mktemp("good") / "data-docs")


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> ExpectationReport:
    rows = [row("twice"), row("fine"), *(faulty for faulty, _ in FAULTS.values())]
    return validate_cases_table(parquet(rows), tmp_path_factory.mktemp("bad") / "data-docs")


def failed(report: ExpectationReport) -> set[tuple[str, str]]:
    return {(one.expectation.removeprefix("expect_"), one.column) for one in report.failures if not one.raised}


def test_good_cases_excluded_cases_and_meshes_meet_every_expectation(good: tuple[bytes, ExpectationReport]) -> None:
    _, report = good
    assert report.failures == ()
    assert report.success
    assert report.evaluated > 30


def test_the_data_docs_and_the_whole_result_are_written_beside_each_other(
    good: tuple[bytes, ExpectationReport],
) -> None:
    _, report = good
    assert "<html" in report.index.read_text(encoding="utf-8").lower()
    assert report.result == report.index.parent.with_name("data-docs.json")
    assert json.loads(report.result.read_bytes())["details"]["success"] is True


@pytest.mark.parametrize("fault", FAULTS)
def test_a_table_does_not_pass_with(bad: ExpectationReport, fault: str) -> None:
    assert not bad.success
    assert FAULTS[fault][1] in failed(bad)


def test_no_row_fails_an_expectation_that_it_should_meet(bad: ExpectationReport) -> None:
    assert failed(bad) == {expected for _, expected in FAULTS.values()}
    assert not any(failure.raised for failure in bad.failures)


def test_an_empty_table_does_not_pass(tmp_path: Path) -> None:
    report = validate_cases_table(parquet([]), tmp_path / "data-docs")
    assert ("table_row_count_to_be_between", "") in failed(report)


def test_an_expectation_that_could_not_be_evaluated_is_told_apart_from_one_that_failed(tmp_path: Path) -> None:
    without_spacing = pa.schema([field for field in COLUMNS if field.name != "spacing_z_mm"])
    rows = [{name: value for name, value in row("a").items() if name != "spacing_z_mm"}]
    report = validate_cases_table(parquet(rows, without_spacing), tmp_path / "data-docs")
    assert {failure.column for failure in report.failures if failure.raised} == {"spacing_z_mm"}
    assert failed(report) == {("table_columns_to_match_set", "")}


def test_the_same_table_is_not_validated_twice(
    good: tuple[bytes, ExpectationReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    table, first = good

    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(expectations, "_run_suite", refuse)
    assert validate_cases_table(table, first.index.parent) == first
    with pytest.raises(AssertionError):
        validate_cases_table(parquet([row("b")]), first.index.parent)


def test_the_columns_of_the_suite_are_those_of_the_stage() -> None:
    assert pq.read_schema(io.BytesIO(cases_table([]))).names == COLUMNS.names
    assert set(row("a")) == set(COLUMNS.names) == set(excluded_row("a"))
