"""The pages on the catalog are true: each tree of docs/layout-language.md gives the cases that stand below it.

Its layouts are excerpts of the catalog's own, and docs/catalog.md has every field and every word of the schema.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from medshard.errors import CatalogError
from medshard.pipelines.stages.layout_support import refuse_unread_layout
from medshard.registry import Catalog
from medshard.registry.catalog import PUBLIC_CATALOG
from medshard.registry.catalog.entry_checks import check_entry
from medshard.registry.catalog.formatting import format_catalog
from medshard.registry.catalog.json_schema import CatalogDocument
from medshard.registry.concepts import load_concepts
from medshard.registry.layout import CaseFiles, Discovery, discover
from medshard.registry.questions.case_sizes import TYPICAL_PICTURES, TYPICAL_VOLUMES, TypicalImage
from medshard.registry.schema import CaseGroup, Entry, PatientColumn
from medshard.registry.schema.entry import Adapter
from medshard.registry.vocabulary import (
    Access,
    Confidence,
    Group,
    Maturity,
    Modality,
    OverlapKind,
    PaperField,
    PatientBasis,
    Permission,
    Region,
    Sequence,
    SplitName,
    Task,
)

DOCS = Path(__file__).parents[2] / "docs"
LISTINGS = Path(__file__).parent / "listings"
TEN_EXAMPLES = 10
PAGES = ("layout-language.md", "catalog.md", "contributing-a-data-set.md", "../CONTRIBUTING.md")
CLOSED = (
    Group,
    Modality,
    Sequence,
    Region,
    Task,
    Access,
    Permission,
    Maturity,
    Confidence,
    PatientBasis,
    OverlapKind,
    PaperField,
    SplitName,
)


@dataclass(frozen=True, kw_only=True)
class Example:
    """One section of the page: the entry in its heading, the tree, the layout, and what comes out."""

    entry: str
    tree: tuple[str, ...]
    cases: list[dict[str, Any]]
    found: dict[str, Any]


def examples() -> list[Example]:
    page = (DOCS / "layout-language.md").read_text(encoding="utf8")
    sections = re.findall(r"^### \d+\. [^\n]*: `([a-z0-9-]+)`\n(.*?)(?=^##|\Z)", page, flags=re.MULTILINE | re.DOTALL)
    return [
        Example(
            entry=entry,
            tree=paths_of(block(text, "text tree")),
            cases=yaml.safe_load(block(text, "yaml cases")),
            found=yaml.safe_load(block(text, "yaml found")),
        )
        for entry, text in sections
    ]


def block(section: str, name: str) -> str:
    (found,) = re.findall(rf"^```{name}\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)
    return str(found)


def paths_of(tree: str) -> tuple[str, ...]:
    """The files of an indented tree; folders end with a slash."""
    folders: list[str] = []
    files = []
    for line in tree.splitlines():
        name = line.strip()
        depth = (len(line) - len(line.lstrip())) // 2
        del folders[depth:]
        if name.endswith("/"):
            folders.append(name)
        else:
            files.append("".join((*folders, name)))
    return tuple(files)


def as_entry(example: Example) -> Entry:
    modalities = sorted({group["modality"] for group in example.cases})
    return Entry.model_validate(
        {
            "id": example.entry, "title": "X", "description": "x", "version": "1", "groups": ["mixed"],
            "modalities": modalities, "tasks": ["self-supervised"], "dimensions": [3], "licence": {"id": "CC0-1.0"},
            "access": {"kind": "open"}, "maturity": "described", "acquisition": [{"kind": "folder", "path": "."}],
            "cases": example.cases,
        }
    )  # fmt: skip


def as_documented(entry: Entry, found: Discovery) -> dict[str, Any]:
    """What `discover` gives, in the words of the page."""
    cases = {case.case: documented_case(entry.cases[case.group], case) for case in found.cases}
    assert len(cases) == len(found.cases), "two cases have one name"
    return {**cases, "unclaimed": list(found.unmatched)}


def documented_case(group: CaseGroup, case: CaseFiles) -> dict[str, Any]:
    told: dict[str, Any] = {} if isinstance(group.patient, PatientColumn) else {"patient": case.patient}
    if case.split is not None:
        told["split"] = case.split
    told |= {name: shortened(files) for name, files in (*case.images.items(), *case.meshes.items())}
    for name, per_file in case.labels.items():
        spec = group.labels[name]
        if spec.per_class:
            told[name] = {value: shortened(files) for value, files in zip(spec.classes, per_file, strict=True)}
        else:
            told[name] = shortened(per_file[0])
    return told | {name: shortened(files) for name, files in case.others.items()}


def shortened(files: tuple[str, ...]) -> str | list[str]:
    return files[0] if len(files) == 1 else list(files)


def is_excerpt(part: Any, whole: Any) -> bool:
    """All that the part says, the whole says too; of mappings the part may leave keys out."""
    if isinstance(part, Mapping) and isinstance(whole, Mapping):
        return all(key in whole and is_excerpt(value, whole[key]) for key, value in part.items())
    return bool(part == whole)


def stated(group: CaseGroup) -> dict[str, Any]:
    return group.model_dump(exclude_unset=True)


EXAMPLES = examples()
by_entry = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.entry)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load([PUBLIC_CATALOG])


@pytest.fixture(scope="module")
def listed() -> dict[str, set[str]]:
    """Entry -> the file names that somebody recorded of it."""
    found: dict[str, set[str]] = defaultdict(set)
    for file in LISTINGS.glob("*.yaml"):
        for record in yaml.load(file.read_text(encoding="utf8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            found[record["entry"]] |= set(record["files"])
    return found


def models_below(shape: Any) -> set[type[BaseModel]]:
    """The models that a type mentions, and those of their fields."""
    found: set[type[BaseModel]] = set()
    if isinstance(shape, type) and issubclass(shape, BaseModel):
        found.add(shape)
        parts: tuple[Any, ...] = tuple(field.annotation for field in shape.model_fields.values())
    else:
        parts = get_args(shape)
    return found.union(*(models_below(part) for part in parts))


MODELS = sorted(models_below(CatalogDocument), key=lambda model: model.__name__)


def test_the_page_has_its_ten_examples_and_more() -> None:
    assert len(EXAMPLES) >= TEN_EXAMPLES
    assert len({example.entry for example in EXAMPLES}) == len(EXAMPLES)


@by_entry
def test_a_documented_tree_gives_the_documented_cases(example: Example) -> None:
    entry = as_entry(example)
    assert as_documented(entry, discover(entry, example.tree)) == example.found


@by_entry
def test_a_documented_layout_passes_the_checks_of_an_entry(example: Example) -> None:
    assert [fault.message for fault in check_entry(as_entry(example), load_concepts())] == []


@by_entry
def test_a_documented_layout_is_an_excerpt_of_the_catalogs_entry(catalog: Catalog, example: Example) -> None:
    groups = [stated(group) for group in catalog.entry(example.entry).cases]
    for shown in as_entry(example).cases:
        assert any(is_excerpt(stated(shown), group) for group in groups), shown.anchor


@by_entry
def test_a_documented_tree_has_file_names_that_others_recorded(listed: dict[str, set[str]], example: Example) -> None:
    """At least one, in trees whose entry has a listing; the other numbers of a tree are examples."""
    if not listed[example.entry]:
        pytest.skip("nobody's listing of this entry is known")
    assert listed[example.entry] & set(example.tree)


@pytest.mark.parametrize("page", ["contributing-a-data-set.md"])
def test_every_whole_catalog_on_the_page_is_valid_and_in_its_form(page: str, tmp_path: Path) -> None:
    text = (DOCS / page).read_text(encoding="utf8")
    blocks = re.findall(r"^```yaml\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    documents = [found for found in blocks if "format_version: 1" in found]
    assert documents
    for document in documents:
        file = tmp_path / "my.yaml"
        file.write_text(document, encoding="utf8")
        assert [str(problem) for problem in Catalog.load([PUBLIC_CATALOG, file]).problems] == []
        assert format_catalog(document, file="my.yaml") == document


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_of_the_schema_is_on_the_reference_page(model: type[BaseModel]) -> None:
    page = (DOCS / "catalog.md").read_text(encoding="utf8")
    assert [name for name in model.model_fields if f"`{name}`" not in page] == []


@pytest.mark.parametrize("words", CLOSED, ids=lambda words: words.__name__)
def test_every_word_of_a_closed_vocabulary_is_on_the_reference_page(words: type[StrEnum]) -> None:
    page = (DOCS / "catalog.md").read_text(encoding="utf8")
    assert [str(word) for word in words if f"`{word}`" not in page] == []


@pytest.mark.parametrize(("dimension", "sizes"), [("3-D", TYPICAL_VOLUMES), ("2-D", TYPICAL_PICTURES)])
def test_every_assumed_size_is_on_the_reference_page(dimension: str, sizes: Mapping[Modality, TypicalImage]) -> None:
    page = (DOCS / "catalog.md").read_text(encoding="utf8")
    rows = re.findall(rf"^\| `([^`]+)` \| {dimension} \| ([^|]+) \| (\d+) \| ([\d.]+) \|$", page, flags=re.MULTILINE)
    assert rows == [
        (str(modality), " x ".join(map(str, size.shape)), str(size.bytes_per_voxel), f"{size.packed:g}")
        for modality, size in sizes.items()
    ]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("colours", {"#ff0000": 1}),
        ("threshold", 128),
        ("background", 255),
        ("key", "mask"),
        ("ignore", [2]),
        ("unmapped", {2: "the rest"}),
        ("also", {1: ["spleen"]}),
    ],
)
def test_no_option_of_a_label_is_refused(option: str, value: object) -> None:
    refuse_unread_layout(entry_with_mask({"path": "{case}_seg.png", "classes": {1: "liver"}, option: value}))


def test_an_adapter_is_refused_as_the_page_says() -> None:
    entry = entry_with_mask({"path": "{case}_seg.png", "classes": {1: "liver"}})
    asking = entry.model_copy(update={"adapter": Adapter(function="lab.reader:read", reason="odd files")})
    with pytest.raises(CatalogError, match="adapters in Python") as refused:
        refuse_unread_layout(asking)
    assert refused.value.code in (DOCS / "layout-language.md").read_text(encoding="utf8")


def entry_with_mask(mask: dict[str, Any]) -> Entry:
    group = {"modality": "CT", "images": {"image": {"path": "{case}.png"}}, "labels": {"mask": mask}}
    return as_entry(Example(entry="one-mask", tree=(), cases=[group], found={}))


def words_of(shape: Any) -> list[str]:
    """The words of a `Literal`, also of one that may be left out."""
    return [shape] if isinstance(shape, str) else [word for part in get_args(shape) for word in words_of(part)]


def test_every_kind_of_source_and_annotation_is_on_the_reference_page() -> None:
    page = (DOCS / "catalog.md").read_text(encoding="utf8")
    told_apart = [model.model_fields["kind"] for model in models_below(Entry) if "kind" in model.model_fields]
    kinds = [word for field in told_apart for word in words_of(field.annotation)]
    assert [word for word in kinds if f"`{word}`" not in page] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_between_the_pages_lead_somewhere(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        name, _, anchor = target.partition("#")
        file = (DOCS / page).parent / name if name else DOCS / page
        assert file.is_file(), target
        assert not anchor or anchor in anchors_of(file), target


def anchors_of(file: Path) -> set[str]:
    """The headings of a page as links name them: lower case, blanks as hyphens, no punctuation."""
    headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
