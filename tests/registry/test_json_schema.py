"""The published JSON Schema: what an editor underlines and what it offers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from medshard.registry.catalog import PUBLIC_CATALOG
from medshard.registry.catalog.json_schema import catalog_schema
from medshard.registry.concepts import load_concepts

GOOD = """\
format_version: 1
entries:
  - id: two-scans
    title: Two scans
    description: Two.
    version: "1"
    groups: [brain]
    modalities: [CT]
    tasks: [segmentation]
    dimensions: [3]
    licence: {id: CC-BY-4.0, commercial_use: allowed}
    access: {kind: open}
    maturity: described
    acquisition: [{kind: zenodo, record: "123"}]
    cases:
      - modality: CT
        patient: "{case}"
        split: train
        images: {image: {path: "{case}.nii.gz"}}
        labels: {mask: {path: "{case}_seg.nii.gz", classes: {1: liver}, also: {1: [abdomen]}}}
        annotations: {grade: {kind: class-table, path: t.csv, values: {a: liver}}}
"""


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return catalog_schema()


@pytest.fixture(scope="module")
def validator(schema: dict[str, Any]) -> Draft202012Validator:
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def document(text: str) -> Any:
    """As an editor sees it: keys are texts, as in JSON."""
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return json.loads(json.dumps(yaml.load(text, Loader=loader), default=str))


def faults(validator: Draft202012Validator, text: str) -> list[str]:
    return [f"{fault.json_path}: {fault.message}" for fault in validator.iter_errors(document(text))]


def test_the_public_catalog_meets_it(validator: Draft202012Validator) -> None:
    assert faults(validator, PUBLIC_CATALOG.read_text(encoding="utf8"))[:5] == []


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("title: Two scans", "tilte: Two scans", "$.entries[0]"),
        ("modalities: [CT]", "modalities: [CTT]", "$.entries[0].modalities[0]"),
        ("tasks: [segmentation]", "tasks: []", "$.entries[0].tasks"),
        ("dimensions: [3]", "dimensions: [4]", "$.entries[0].dimensions[0]"),
        ("commercial_use: allowed", "commercial_use: yes", "$.entries[0].licence.commercial_use"),
        ("commercial_use: allowed", "comercial_use: allowed", "$.entries[0].licence"),
        ("maturity: described", "maturity: perfect", "$.entries[0].maturity"),
        ("kind: zenodo", "kind: zendoo", "$.entries[0].acquisition[0]"),
        ('record: "123"', 'recrod: "123"', "$.entries[0].acquisition[0]"),
        ("split: train", "split: trian", "$.entries[0].cases[0].split"),
        ("images: {image:", "images: {image 1:", "$.entries[0].cases[0].images"),
        ("classes: {1: liver}", "clases: {1: liver}", "$.entries[0].cases[0].labels.mask"),
        ("kind: class-table", "kind: class-tabel", "$.entries[0].cases[0].annotations.grade"),
        ("id: two-scans", "id: Two Scans", "$.entries[0].id"),
        ("entries:", "colour: red\nentries:", "$"),
        ("format_version: 1", "format_version: 2", "$.format_version"),
        ("format_version: 1\n", "", "$"),
    ],
)
def test_a_mistake_is_underlined_where_it_stands(
    validator: Draft202012Validator, old: str, new: str, where: str
) -> None:
    assert faults(validator, GOOD) == []
    assert old in GOOD
    found = faults(validator, GOOD.replace(old, new, 1))
    assert [fault for fault in found if fault.startswith(f"{where}: ")], found


def test_concepts_are_offered_by_name_wherever_one_may_stand(schema: dict[str, Any]) -> None:
    offered, other = schema["$defs"]["ConceptName"]["anyOf"]
    assert offered["enum"] == sorted(load_concepts().concepts)
    assert other == {"type": "string"}, "an overlay may name concepts of its own"
    reference = {"$ref": "#/$defs/ConceptName"}
    layer, table, soft = (schema["$defs"][name]["properties"] for name in ("LabelSpec", "ClassTable", "SoftMap"))
    assert layer["classes"]["additionalProperties"] == reference
    assert table["values"]["additionalProperties"] == reference
    assert soft["concept"] == reference
    for fields in (layer, table):
        assert fields["also"]["additionalProperties"]["items"] == reference
        assert fields["examined"]["anyOf"][0]["items"] == reference


def test_fields_of_the_same_name_that_hold_no_concepts_offer_none(schema: dict[str, Any]) -> None:
    assert "additionalProperties" not in schema["$defs"]["SourceFacts"]["properties"]["classes"]
    assert schema["$defs"]["SplitField"]["properties"]["values"]["additionalProperties"] == {
        "$ref": "#/$defs/SplitName"
    }


def test_an_overlays_own_concept_is_accepted(validator: Draft202012Validator) -> None:
    assert faults(validator, GOOD.replace("classes: {1: liver}", "classes: {1: stent strut of ours}")) == []


def test_it_says_which_version_of_json_schema_it_is_in(schema: dict[str, Any]) -> None:
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_every_file_is_named_as_the_editor_comment_of_the_catalog_says() -> None:
    """The comment that makes editors find the schema names a file that stands next to the catalog."""
    comment = next(line for line in PUBLIC_CATALOG.read_text(encoding="utf8").splitlines() if "$schema=" in line)
    assert Path(PUBLIC_CATALOG.parent, comment.partition("$schema=")[2].strip()).is_file()
