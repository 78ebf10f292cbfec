"""Great Expectations over the cases table: what every row must hold, and the data docs that show it.

The criteria of inclusion judge single cases; the suite judges the table as a whole, so that a fault of a reader or of
the stage itself does not pass as data. Two habits of the tool shape the suite: an empty table and a column of nothing
but NaN pass any range, so a row count and a not-null stand beside each; and an expectation that could not be evaluated
comes back as failed, so the report tells the two apart.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from medshard.pipelines.stages.cases_table import COLUMNS
from medshard.registry.store.digests import canonical_json, sha256_bytes
from medshard.registry.store.objects import write_atomically
from medshard.registry.vocabulary import Group, Modality, Purpose, SplitName

# Raised when the suite changes, so that a report of an older one is not taken for current.
SUITE_VERSION = 2
LARGEST_SPACING_MM = 100.0
SUBJECTS = ("patient", "phantom", "template")
VALUES_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class FailedExpectation:
    """One expectation that the table does not meet.

    raised: it could not be evaluated, which says nothing of the data.
    """

    expectation: str
    column: str
    found: str
    raised: bool


@dataclass(frozen=True, kw_only=True)
class ExpectationReport:
    """The outcome of the suite. index: first page of the data docs. result: the whole result as JSON beside them."""

    evaluated: int
    failures: tuple[FailedExpectation, ...]
    index: Path
    result: Path

    @property
    def success(self) -> bool:
        return not self.failures


def validate_cases_table(table: bytes, site_folder: Path) -> ExpectationReport:
    """Validate the Parquet bytes of a cases table and write the data docs.

    The site goes to `site_folder`, which is replaced, and the result to a JSON file of the same name beside it. Where
    that file is of the same table and suite, it is the answer, and Great Expectations (seconds to import) stays out.
    """
    result_file = site_folder.with_name(f"{site_folder.name}.json")
    identity = {"suite_version": SUITE_VERSION, "table_sha256": sha256_bytes(table)}
    known = _read_result(result_file, identity) if (site_folder / "index.html").is_file() else None
    if known is None:
        evaluated, failures, details = _run_suite(table, site_folder)
        known = {**identity, "evaluated": evaluated, "failures": [asdict(failure) for failure in failures]}
        write_atomically(result_file, canonical_json({**known, "details": details}) + b"\n")
    return ExpectationReport(
        evaluated=known["evaluated"],
        failures=tuple(FailedExpectation(**failure) for failure in known["failures"]),
        index=site_folder / "index.html",
        result=result_file,
    )


def _read_result(file: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    document: dict[str, Any] = json.loads(file.read_bytes())
    return document if all(document.get(name) == value for name, value in identity.items()) else None


def _run_suite(table: bytes, site_folder: Path) -> tuple[int, list[FailedExpectation], dict[str, Any]]:
    """Number of expectations, those that failed, and the tool's own result without values that JSON does not have."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with warnings.catch_warnings():
        # great_expectations 1.24 imports two deprecated modules of the standard library.
        warnings.filterwarnings("ignore", message=r"module 'sre_\w+' is deprecated", category=DeprecationWarning)
        gx: Any = import_module("great_expectations")  # takes seconds, so not above

    frame = pq.read_table(io.BytesIO(table)).to_pandas()
    shutil.rmtree(site_folder, ignore_errors=True)
    context = _context(site_folder)
    batch = (
        context.data_sources.add_pandas("store")
        .add_dataframe_asset("cases")
        .add_batch_definition_whole_dataframe("all")
    )
    suite = context.suites.add(gx.ExpectationSuite(name="cases"))
    for expectation in _expectations():
        suite.add_expectation(expectation)
    validation = context.validation_definitions.add(gx.ValidationDefinition(name="cases", data=batch, suite=suite))
    checkpoint = gx.Checkpoint(
        name="cases",
        validation_definitions=[validation],
        result_format={"result_format": "SUMMARY"},
        actions=[gx.checkpoint.UpdateDataDocsAction(name="data docs", site_names=["data-docs"])],
    )
    outcome = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": frame})
    result = next(iter(outcome.run_results.values()))
    failures = [_failure(single) for single in result.results if not single.success]
    failures.sort(key=lambda failure: (failure.column, failure.expectation))
    return len(result.results), failures, json.loads(json.dumps(result.to_json_dict()), parse_constant=str)


def _context(site_folder: Path) -> Any:
    """A context in memory whose only site is ours; its default would leave a folder in the system's temporary one."""
    gx: Any = import_module("great_expectations")
    types: Any = import_module("great_expectations.data_context.types.base")

    site = {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(site_folder.resolve())},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }
    config = types.DataContextConfig(
        store_backend_defaults=types.InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        data_docs_sites={"data-docs": site},
        progress_bars=types.ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    return gx.get_context(mode="ephemeral", project_config=config)


def _expectations() -> Iterable[Any]:
    """The suite. Every range is preceded by a not-null on the same rows."""
    gxe: Any = import_module("great_expectations.expectations")
    condition: Any = import_module("great_expectations.expectations.row_conditions").Column

    included, excluded = condition("excluded") == False, condition("excluded") == True  # noqa: E712 - builds a condition
    with_image, scored = included & (condition("images") > 0), condition("fit_evaluation") == True  # noqa: E712

    yield gxe.ExpectTableRowCountToBeBetween(min_value=1)
    yield gxe.ExpectTableColumnsToMatchSet(column_set=COLUMNS.names, exact_match=True)
    yield gxe.ExpectColumnValuesToNotBeNull(column="case")
    yield gxe.ExpectColumnValuesToBeUnique(column="case")
    yield gxe.ExpectColumnValuesToNotBeNull(column="excluded")
    yield gxe.ExpectColumnValueLengthsToBeBetween(column="reasons", min_value=1, row_condition=excluded)
    for column, allowed in _vocabularies().items():
        yield gxe.ExpectColumnValuesToNotBeNull(column=column, row_condition=included)
        yield gxe.ExpectColumnValuesToBeInSet(column=column, value_set=allowed, row_condition=included)
    # Where a header says nothing these columns are empty; what they may say is coarse.
    yield gxe.ExpectColumnValuesToBeInSet(column="sex", value_set=["F", "M", "O"])
    yield gxe.ExpectColumnValuesToMatchRegex(column="age_band", regex=r"^(?:0-9|[1-8]0-[1-8]9|90\+)$")
    yield gxe.ExpectColumnValuesToMatchRegex(column="site", regex=r"^site-[0-9a-f]{8}$")
    yield gxe.ExpectColumnValuesToBeInSet(column="split", value_set=[part.value for part in SplitName])
    yield gxe.ExpectColumnValuesToNotBeNull(column="synthetic")
    yield gxe.ExpectColumnValuesToNotBeNull(column="patient", row_condition=included)
    yield gxe.ExpectColumnValueLengthsToBeBetween(column="patient", min_value=1, row_condition=included)
    # Without this a table of cases that have neither image nor mesh would meet every condition on images.
    no_mesh = included & (condition("meshes") == 0)
    yield gxe.ExpectColumnValuesToBeBetween(column="images", min_value=1, row_condition=no_mesh)
    for axis in "zyx":
        shape, spacing = f"shape_{axis}", f"spacing_{axis}_mm"
        yield gxe.ExpectColumnValuesToNotBeNull(column=shape, row_condition=with_image)
        yield gxe.ExpectColumnValuesToBeBetween(column=shape, min_value=1, row_condition=with_image)
        yield gxe.ExpectColumnValuesToNotBeNull(column=spacing, row_condition=with_image)
        yield gxe.ExpectColumnValuesToBeBetween(
            column=spacing, min_value=0.0, strict_min=True, max_value=LARGEST_SPACING_MM, row_condition=with_image
        )
    for column in ("image_format", "dtype", "channels", "trusted_geometry"):
        yield gxe.ExpectColumnValuesToNotBeNull(column=column, row_condition=with_image)
    for column in (f"fit_{purpose.value.replace('-', '_')}" for purpose in Purpose):
        yield gxe.ExpectColumnValuesToNotBeNull(column=column)
        yield gxe.ExpectColumnValuesToBeInSet(column=column, value_set=[False], row_condition=excluded)
    yield gxe.ExpectColumnValuesToNotBeNull(column="foreground_voxels", row_condition=scored)
    yield gxe.ExpectColumnValuesToBeBetween(column="foreground_voxels", min_value=1, row_condition=scored)


def _vocabularies() -> dict[str, list[str]]:
    return {
        "modality": [modality.value for modality in Modality],
        "group": [group.value for group in Group],
        "subject": list(SUBJECTS),
    }


def _failure(single: Any) -> FailedExpectation:
    """One result of the tool, which reports an exception either flat or for each metric that raised."""
    config = single.expectation_config
    info = single.exception_info or {}
    raised = [one for one in ([info] if "raised_exception" in info else info.values()) if one["raised_exception"]]
    if raised:
        found = "could not be evaluated: " + "; ".join(sorted({str(one["exception_message"]) for one in raised}))
    elif "unexpected_count" in single.result:
        values = ", ".join(str(value) for value in single.result["partial_unexpected_list"][:VALUES_SHOWN])
        found = f"{single.result['unexpected_count']} of {single.result['element_count']} rows: {values}"
    else:
        found = f"observed {single.result.get('observed_value')}"
    return FailedExpectation(
        expectation=config.type, column=str(config.kwargs.get("column", "")), found=found, raised=bool(raised)
    )
