"""Deliberate mistakes in real entries: each is found, in its line, with the field and what to do.

A mutation changes one field of an entry of the public catalog; the file around it is laid out anew, and the report has
to point into the lines of the field's section.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from medshard.registry import Catalog
from medshard.registry.catalog import PUBLIC_CATALOG
from medshard.registry.catalog.formatting import format_catalog

Path_ = tuple[Any, ...]


@dataclass(frozen=True)
class Mutation:
    """entry: which one. path: the field that is changed. value: what it becomes; DELETE takes it away.

    field: where the report has to point, the changed field when not given. says: a part of the message.
    """

    entry: str
    path: Path_
    value: Any
    says: str
    field: str | None = None


DELETE = object()
MUTATIONS = [
    Mutation("brats21", ("modalities", 0), "MRI", "did you mean `MR`"),
    Mutation("brats21", ("modalities", 0), "CT", "MR is not among", field="cases.0.modality"),
    Mutation("lits", ("modalities", 0), "MR", "is not among", field="cases.0.modality"),
    Mutation("brats21", ("paper", 0, "modality"), "CT", "has to say why"),
    Mutation("brats21", ("paper", 0, "modality"), "Magnetic", "no modality"),
    Mutation("brats21", ("paper", 0, "dimension"), "2D", "has to say why"),
    Mutation("brats21", ("paper", 0, "size"), "many", "no number", field="paper.0"),
    Mutation("brats21", ("paper", 0, "table"), 20, "Input should be"),
    Mutation("verse19", ("paper", 0, "size"), "161", "has to say why"),
    Mutation("kits19", ("regions", 0), "kindey", "did you mean `kidney`"),
    Mutation("verse19", ("regions", 0), "brain", "does not fit", field="regions"),
    Mutation("verse19", ("groups", 0), "brian", "did you mean `brain`"),
    Mutation("verse19", ("groups", 0), "abdomen", "puts the data set into `skeleton`", field="groups"),
    Mutation("verse19", ("tasks", 0), "segmantation", "did you mean `segmentation`"),
    Mutation("acdc", ("tasks", 0), "visual-question-answering", "nothing under `cases`"),
    Mutation("verse19", ("source", "classes"), 25, "classes are stated"),
    Mutation("verse19", ("source", "labelled"), 170, "more than there are", field="source"),
    Mutation("verse19", ("source", "cases"), -1, "greater than or equal to 0"),
    Mutation("verse19", ("splits", 0, "cases"), 100, "the parts have", field="splits"),
    Mutation("verse19", ("splits", 0, "name"), "trian", "did you mean `train`"),
    Mutation("verse19", ("splits", 0, "name"), "extra", "`splits` has no part called train", field="cases.0.split"),
    Mutation("verse20", ("id",), "acdc", "this id is taken"),
    Mutation("verse19", ("id",), "VerSe 19", "small letters"),
    Mutation("verse19", ("homepage",), "github.com/anjany/verse", "begins with https"),
    Mutation("verse19", ("year",), 19, "greater than or equal to 1980"),
    Mutation("verse19", ("citation", "doi"), "https://doi.org/10.1016/j.media.2021.102166", "begins with 10."),
    Mutation("verse19", ("licence", "id"), "CC-BY-SA-4", "no SPDX licence expression"),
    Mutation("verse19", ("licence", "id"), "custom terms", "LicenseRef-"),
    Mutation("autopet-2022", ("licence", "commercial_use"), "allowed", "promises more", field="licence"),
    Mutation("verse19", ("licence", "derivatives"), "yes", "Input should be"),
    Mutation("brats21", ("access", "instructions"), DELETE, "needs `instructions`", field="access"),
    Mutation("brats21", ("access", "kind"), "free", "Input should be"),
    Mutation("verse19", ("acquisition",), [], "`acquisition` is empty", field=""),
    Mutation("verse19", ("acquisition", 0, "kind"), "htpp", "did you mean `http`", field="acquisition.0"),
    Mutation("verse19", ("acquisition", 0, "files", 0, "checksum"), "md5:123", "should match pattern"),
    Mutation("verse19", ("acquisition", 0, "files", 0, "url"), "dataset.zip", "begins with https"),
    Mutation("msd-task08-hepaticvessel", ("acquisition", 0, "buckett"), "x", "did you mean `bucket`"),
    Mutation("verse19", ("cases", 0, "images", "ct", "path"), "rawdata/{patient/{scan}_ct.nii.gz", "unbalanced brace"),
    Mutation(
        "verse19", ("cases", 0, "images", "ct", "path"), "../{part}/{patient}/{scan}.nii.gz", "below the acquired"
    ),
    Mutation("verse19", ("cases", 0, "patient"), "{subject}", "do not occur", field="cases.0"),
    Mutation("verse19", ("cases", 0, "where", "part"), "training|(", "no regular expression", field="cases.0"),
    Mutation("verse19", ("cases", 0, "split", "field"), "fold", "do not occur", field="cases.0"),
    Mutation("verse19", ("cases", 0, "labels", "vertebrae", "classes", 5), "C5 vertabra", "did you mean `C5 vertebra`"),
    Mutation("lits", ("cases", 0, "labels"), DELETE, "nothing under `cases`", field="tasks.0"),
    Mutation("verse19", ("cases", 0, "labels", "vertebrae", "kind"), "semantics", "did you mean `semantic`"),
    Mutation(
        "verse19",
        ("cases", 0, "labels", "vertebrae", "examined"),
        ["liver"],
        "not among the classes",
        field="cases.0.labels.vertebrae",
    ),
    Mutation(
        "verse19",
        ("cases", 0, "labels", "vertebrae", "ignore"),
        [1],
        "are classes as well",
        field="cases.0.labels.vertebrae",
    ),
    Mutation(
        "verse19",
        ("cases", 0, "labels", "vertebrae", "names"),
        {99: "x"},
        "which `classes` does not have",
        field="cases.0.labels.vertebrae",
    ),
    Mutation(
        "totalsegmentator-v1",
        ("cases", 0, "labels", "structures", "names"),
        DELETE,
        "needs `names`",
        field="cases.0.labels.structures",
    ),
    Mutation(
        "verse19",
        ("cases", 0, "annotations", "centroids", "kind"),
        "landmark",
        "did you mean `landmarks`",
        field="cases.0.annotations.centroids",
    ),
    Mutation("verse19", ("cases", 0, "annotations", "centroids", "format"), "jsno", "did you mean `json`"),
    Mutation("verse19", ("cases", 0, "images", "ct", "sequence"), "T1", "only MR has a sequence"),
    Mutation("brats21", ("cases", 0, "images", "t1", "sequence"), "T1w", "did you mean `T1`"),
    Mutation("verse19", ("overlaps", 0, "entry"), "verse21", "did you mean `verse20`"),
    Mutation("verse19", ("overlaps", 0, "entry"), "verse19", "does not overlap itself"),
    Mutation("verse19", ("overlaps", 0, "kind"), "same", "Input should be"),
    Mutation("verse19", ("overlaps", 0, "evidence"), "", "at least 1 character"),
    Mutation("verse19", ("maturity",), "tested", "did you mean `layout-tested`"),
    Mutation("autopet-2022", ("doubts",), DELETE, "needs `doubts`", field="doubts"),
    Mutation("verse19", ("maturityy",), "described", "did you mean `maturity`"),
    Mutation("verse19", ("description",), DELETE, "Field required"),
    Mutation("verse19", ("expectations",), {"value_range": [300, -1000]}, "is empty", field="expectations"),
    Mutation(
        "verse19",
        ("known_defects",),
        [{"problem": "all bad", "action": "exclude"}],
        "name the `cases`",
        field="known_defects.0",
    ),
    Mutation("verse19", ("plans",), {"small": {}}, "a plan called `default`", field=""),
]


@pytest.fixture(scope="module")
def public() -> dict[str, Any]:
    return yaml.load(PUBLIC_CATALOG.read_text(encoding="utf8"), Loader=yaml.CSafeLoader)


@pytest.fixture(scope="module")
def context_of(public) -> Callable[[str], list[dict[str, Any]]]:
    """An entry, those that it overlaps with, and one more, as a catalog of their own; overlaps with others left out."""

    def chosen(entry: str) -> list[dict[str, Any]]:
        near = {
            overlap["entry"] for raw in public["entries"] if raw["id"] == entry for overlap in raw.get("overlaps", ())
        }
        wanted = {entry, "acdc", *near}
        entries = copy.deepcopy([raw for raw in public["entries"] if raw["id"] in wanted])
        for raw in entries:
            raw["overlaps"] = [overlap for overlap in raw.get("overlaps", ()) if overlap["entry"] in wanted]
        return entries

    return chosen


def test_there_are_at_least_fifty():
    assert len(MUTATIONS) >= 50


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: f"{m.entry}-{'.'.join(map(str, m.path))}-{m.value!s:.12}")
def test_a_mistake_is_found_in_its_line(mutation: Mutation, context_of, tmp_path: Path):
    entries = context_of(mutation.entry)
    file = tmp_path / "catalog.yaml"
    before = write(file, entries)
    assert Catalog.load([file]).problems == ()

    raw = next(entry for entry in entries if entry["id"] == mutation.entry)
    change(raw, mutation.path, mutation.value)
    after = write(file, entries)
    problems = Catalog.load([file]).problems

    field = ".".join(map(str, mutation.path)) if mutation.field is None else mutation.field
    found = [problem for problem in problems if problem.field == field and mutation.says in problem.message]
    assert found, [str(problem) for problem in problems]
    assert found[0].entry == (raw["id"] if isinstance(raw["id"], str) else None)
    lines = lines_of(after, str(raw["id"]), mutation)
    assert found[0].line in lines, (found[0].line, lines)
    assert before != after


def write(file: Path, entries: list[dict[str, Any]]) -> str:
    text = yaml.safe_dump({"format_version": 1, "entries": entries}, sort_keys=False, allow_unicode=True, width=10**6)
    file.write_text(format_catalog(text, file=str(file)), encoding="utf8")
    return file.read_text(encoding="utf8")


def change(raw: dict[str, Any], path: Path_, value: Any) -> None:
    *way, last = path
    target: Any = raw
    for part in way:
        target = target[part]
    if value is DELETE:
        target.pop(last, None)
    else:
        target[last] = value


def lines_of(text: str, entry: str, mutation: Mutation) -> range:
    """The lines from the entry's first to its last: narrower ones are asserted for fields of the top level."""
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines, start=1) if line.startswith("  - id: ")]
    start = max((number for number in starts if lines[number - 1].split("id: ", 1)[1].strip("'\"") == entry), default=1)
    end = min((number for number in starts if number > start), default=len(lines) + 1)
    top = (mutation.field.split(".")[0] if mutation.field is not None else str(mutation.path[0])) or "id"
    at = [number for number in range(start, end) if lines[number - 1].startswith((f"    {top}:", f"  - {top}:"))]
    if not at:
        return range(start, start + 1)  # a field that is missing is reported where its entry begins
    following = [number for number in range(at[0] + 1, end) if lines[number - 1][:5].strip()]
    return range(at[0], min(following, default=end))
