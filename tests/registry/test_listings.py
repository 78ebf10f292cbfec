"""The layouts against file names that others recorded: loaders, listings and READMEs of projects that read the data.

A record lists files of some cases. The layout fits when, with these files as the whole tree, it claims every one of
them (but those that the record names as not needed), finds a case whose images are all there, and gives every label
layer and annotation that it finds to such a case. `listings/README.md` explains the fields of a record.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from medshard.registry import Catalog
from medshard.registry.catalog import PUBLIC_CATALOG
from medshard.registry.layout import CaseFiles, Discovery, discover
from medshard.registry.schema import Entry

LISTINGS = Path(__file__).parent / "listings"
Record = dict[str, Any]
RECORDS: list[tuple[str, Record]] = [
    (f"{path.stem}-{number}-{record['entry']}", record)
    for path in sorted(LISTINGS.glob("*.yaml"))
    for number, record in enumerate(yaml.safe_load(path.read_text(encoding="utf8")))
]
FIELDS = {"entry", "evidence", "kind", "exact", "files", "note", "unclaimed", "lacks", "cases", "other"}
ONLY_ARCHIVES_OR_TABLES = {"3d-rad", "endomapper", "mimic-nle", "nafld", "pmc-oa", "rocov2"}
"""Entries of which no record holds a case: the README of the listings says what they hold instead."""


def holds_no_case(record: Record) -> bool:
    return record.get("cases") is False


def is_to_fit(record: Record) -> bool:
    return not holds_no_case(record) and "other" not in record


FITTING = [pytest.param(record, id=name) for name, record in RECORDS if is_to_fit(record)]
WITHOUT_CASES = [pytest.param(record, id=name) for name, record in RECORDS if holds_no_case(record)]
OF_ANOTHER_DISTRIBUTION = [pytest.param(record, id=name) for name, record in RECORDS if "other" in record]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load([PUBLIC_CATALOG])


def files_of(entry: Entry, case: CaseFiles) -> dict[str, tuple[str, ...]]:
    """Image, mesh, video, signal, table or text of a case -> its files."""
    found = {**case.others, **case.meshes, **case.images}
    return {name: found[name] for name in entry.cases[case.group].contents}


def is_whole(entry: Entry, case: CaseFiles, lacking: frozenset[str]) -> bool:
    contents = entry.cases[case.group].contents
    return all(files or contents[name].optional or name in lacking for name, files in files_of(entry, case).items())


def layers_of(case: CaseFiles) -> set[str]:
    """Label layers and annotations of a case that have a file."""
    annotations = {name for name, files in case.others.items() if name.startswith("annotation ") and files}
    return annotations | {name for name, masks in case.labels.items() if any(masks)}


def misfits(entry: Entry, record: Record) -> list[str]:
    """What speaks against the layout, or against the remarks of the record."""
    found = discover(entry, record["files"])
    lacking = frozenset(record.get("lacks", ()))
    whole = [case for case in found.cases if is_whole(entry, case, lacking)]
    return [
        *([] if whole else [f"no case has all its images; the cases found are {found.cases}"]),
        *_homeless_layers(found, whole),
        *_wrong_claims(found, set(record.get("unclaimed", {}))),
        *(
            f"the record says that it lacks {name}, but {case.case} has it"
            for case in found.cases
            for name, files in files_of(entry, case).items()
            if name in lacking and files
        ),
    ]


def _homeless_layers(found: Discovery, whole: list[CaseFiles]) -> list[str]:
    at_home = {(case.group, layer) for case in whole for layer in layers_of(case)}
    seen = {(case.group, layer) for case in found.cases for layer in layers_of(case)}
    return [f"{layer} of group {group} belongs to no case with all its images" for group, layer in seen - at_home]


def _wrong_claims(found: Discovery, needless: set[str]) -> list[str]:
    unmatched = set(found.unmatched)
    return [
        *(f"no case claims {path}" for path in sorted(unmatched - needless)),
        *(f"the record says that no case needs {path}, but one claims it" for path in sorted(needless - unmatched)),
    ]


@pytest.mark.parametrize("record", FITTING)
def test_a_layout_fits_a_tree_that_somebody_else_wrote_down(catalog: Catalog, record: Record) -> None:
    entry = catalog.entry(record["entry"])
    assert misfits(entry, record) == [], [group.anchor for group in entry.cases]


@pytest.mark.parametrize("record", WITHOUT_CASES)
def test_a_record_that_is_said_to_hold_no_case_holds_none(catalog: Catalog, record: Record) -> None:
    entry = catalog.entry(record["entry"])
    found = discover(entry, record["files"])
    assert [case.case for case in found.cases if is_whole(entry, case, frozenset())] == []
    assert record.get("note"), "the note says why"


@pytest.mark.parametrize("record", OF_ANOTHER_DISTRIBUTION)
def test_a_record_of_another_distribution_is_one(catalog: Catalog, record: Record) -> None:
    assert misfits(catalog.entry(record["entry"]), record) != [], "it fits: the remark `other` is out of date"


def test_every_entry_with_records_fits_one_of_them() -> None:
    fitted = {record["entry"] for _, record in RECORDS if is_to_fit(record)}
    assert {record["entry"] for _, record in RECORDS} - fitted == ONLY_ARCHIVES_OR_TABLES


def test_entries_without_a_fitting_record_stand_in_the_readme() -> None:
    readme = (LISTINGS / "README.md").read_text(encoding="utf8")
    assert [entry for entry in sorted(ONLY_ARCHIVES_OR_TABLES) if f"`{entry}`" not in readme] == []


def test_a_record_has_known_fields_and_gives_reasons(catalog: Catalog) -> None:
    for name, record in RECORDS:
        assert set(record) <= FIELDS, (name, sorted(set(record) - FIELDS))
        assert {"entry", "evidence", "kind", "exact", "files"} <= set(record), name
        assert not (holds_no_case(record) and {"other", "lacks", "unclaimed"} & set(record)), name
        assert all(reason.strip() for reason in record.get("unclaimed", {}).values()), name
        assert "other" not in record or record["other"].strip(), name
        images = {image for group in catalog.entry(record["entry"]).cases for image in group.contents}
        assert set(record.get("lacks", ())) <= images, name
