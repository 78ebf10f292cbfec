"""Croissant documents: what every one of them holds to, and what mlcroissant makes of them."""

from __future__ import annotations

import copy
import json
import re
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from medshard.registry import Catalog
from medshard.registry.croissant.document import croissant
from medshard.registry.croissant.paths import glob_of, path_regex
from medshard.registry.templates import match_template, template_fields

LISTINGS = Path(__file__).parent / "listings"

# What mlcroissant recommends and an entry may not know, and versions that are no three numbers.
FORGIVEN = {"citeAs": "citeAs", "datePublished": "datePublished", "Version doesn't follow": "version"}


@lru_cache(maxsize=1)
def catalog() -> Catalog:
    return Catalog.load()


def entry_ids() -> list[str]:
    return sorted(catalog().entries)


@lru_cache(maxsize=256)
def document(entry_id: str) -> dict[str, Any]:
    return croissant(catalog().entry(entry_id), catalog())


def mlcroissant_dataset(jsonld: dict[str, Any] | str) -> Any:
    """Checks a document as `mlcroissant validate` does. The library changes what it is given, so it gets a copy."""
    mlcroissant = pytest.importorskip("mlcroissant")
    return mlcroissant.Dataset(jsonld=copy.deepcopy(jsonld))


def nodes_of(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from nodes_of(part)


def made_catalog(folder: Path, changes: str = "", cases: str = "") -> Catalog:
    """A catalog of the entry `two-scans`, with other top-level fields and cases."""
    document = yaml.safe_load(
        """
        {id: two-scans, title: Two scans, description: Two., version: "1", groups: [brain], modalities: [CT],
         tasks: [segmentation], dimensions: [3], licence: {id: CC-BY-4.0}, access: {kind: open}, maturity: described,
         acquisition: [{kind: folder, path: scans}]}
        """
    )
    document |= yaml.safe_load(changes) or {}
    document["cases"] = yaml.safe_load(cases) or [
        {
            "modality": "CT",
            "images": {"image": {"path": "{case}.nii.gz"}},
            "labels": {"mask": {"path": "{case}_seg.nii.gz", "classes": {1: "liver", 2: "spleen"}}},
        }
    ]
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump({"format_version": 1, "entries": [document]}))
    made = Catalog.load([file])
    assert made.problems == ()
    return made


def made_document(folder: Path, changes: str = "", cases: str = "") -> dict[str, Any]:
    made = made_catalog(folder, changes, cases)
    return croissant(made.entry("two-scans"), made)


def file_objects(jsonld: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {node["name"]: node for node in jsonld["distribution"] if node["@type"] == "cr:FileObject"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("entry_id", entry_ids())
def test_the_validator_accepts_every_entry(entry_id: str) -> None:
    issues = mlcroissant_dataset(document(entry_id)).metadata.ctx.issues
    assert issues.errors == set()
    for warning in issues.warnings:
        field = next((field for text, field in FORGIVEN.items() if text in warning), None)
        assert field is not None, warning
        stated = document(entry_id).get(field)
        assert stated is None or (field == "version" and not re.fullmatch(r"\d+(\.\d+){0,2}", stated)), warning


def test_no_checksum_is_stated_that_the_entry_does_not_know() -> None:
    for entry in catalog():
        known = set(re.findall(r"\b(?:[0-9a-f]{64}|[0-9a-f]{32})\b", json.dumps(entry.model_dump(mode="json"))))
        for node in nodes_of(document(entry.id)):
            for algorithm in ("md5", "sha256"):
                # The context says what `md5` means; it is no checksum.
                if algorithm in node and "@vocab" not in node:
                    assert node[algorithm] in known, (entry.id, node)


def test_a_file_without_a_known_checksum_is_contained_in_its_source(tmp_path: Path) -> None:
    acquisition = """
    acquisition:
      - kind: http
        files:
          - {name: known.zip, url: "https://host.example/known.zip", size: 12, checksum: "md5:{md5}"}
          - {name: unknown.zip, url: "https://host.example/unknown.zip"}
          - {name: sha1.zip, url: "https://host.example/sha1.zip", checksum: "sha1:{sha1}"}
    """
    md5, sha1_digest = "0" * 31 + "1", "0" * 39 + "1"
    jsonld = made_document(tmp_path, acquisition.replace("{md5}", md5).replace("{sha1}", sha1_digest))
    known, unknown, sha1 = (file_objects(jsonld)[name] for name in ("known.zip", "unknown.zip", "sha1.zip"))
    assert known["contentUrl"] == "https://host.example/known.zip"
    assert (known["md5"], known["contentSize"]) == (md5, "12 B")
    assert "containedIn" not in known
    assert unknown["containedIn"] == {"@id": "source-1-http"}
    assert (unknown["contentUrl"], unknown["url"]) == ("unknown.zip", "https://host.example/unknown.zip")
    assert not {"md5", "sha256"} & set(unknown)
    assert not {"md5", "sha256"} & set(sha1)
    assert sha1_digest in sha1["description"]


def test_every_label_value_is_named_with_its_concept() -> None:
    for entry in catalog():
        listed = [
            {name.rpartition("/")[2]: value for name, value in row.items()}
            for node in document(entry.id).get("recordSet", [])
            if node.get("dataType") == "sc:Enumeration"
            for row in node["data"]
        ]
        named = {(row["value"], row["name"]) for row in listed}
        values = {row["value"] for row in listed}
        for group in entry.cases:
            for label in group.labels.values():
                assert set(label.concepts.items()) <= named, entry.id
                assert {*label.unmapped, *label.ignore} <= values, entry.id
            for annotation in group.annotations.values():
                assert set(annotation.values.items()) <= named, entry.id
                assert set(annotation.unmapped) <= values, entry.id


def test_a_concept_with_a_code_has_its_address(tmp_path: Path) -> None:
    jsonld = made_document(tmp_path)
    code = catalog().vocabulary.get("liver").code
    assert code is not None
    rows = next(node["data"] for node in jsonld["recordSet"] if node["@id"] == "cases.mask.classes")
    assert rows[0]["cases.mask.classes/url"] == f"http://snomed.info/id/{code.removeprefix('SCT:')}"


def test_classes_that_were_not_examined_are_marked(tmp_path: Path) -> None:
    cases = """
    - modality: CT
      images: {image: {path: "{case}.nii.gz"}}
      labels: {mask: {path: "{case}_seg.nii.gz", classes: {1: liver, 2: spleen}, examined: [liver]}}
    """
    jsonld = made_document(tmp_path, cases=cases)
    rows = next(node["data"] for node in jsonld["recordSet"] if node["@id"] == "cases.mask.classes")
    assert [row["cases.mask.classes/examined"] for row in rows] == [True, False]
    assert "only these were looked for in every case: liver" in jsonld["rai:dataAnnotationProtocol"][0]


def test_layers_that_mean_the_same_share_an_enumeration(tmp_path: Path) -> None:
    group = """
    - modality: CT
      where: {{case: "{part}_.*"}}
      images: {{image: {{path: "{{case}}.nii.gz"}}}}
      labels: {{mask: {{path: "{{case}}_seg.nii.gz", classes: {{1: liver}}}}}}
    """
    jsonld = made_document(tmp_path, cases=group.format(part="a") + group.format(part="b"))
    listed = [node["@id"] for node in jsonld["recordSet"] if node.get("dataType") == "sc:Enumeration"]
    assert listed == ["cases-1.mask.classes"]


def test_licences_are_addresses_and_own_terms_are_named(tmp_path: Path) -> None:
    terms = 'licence: {id: "CC-BY-4.0 AND LicenseRef-House", url: "https://house.example/terms", note: Read by nobody.}'
    assert made_document(tmp_path, terms)["license"] == [
        "https://spdx.org/licenses/CC-BY-4.0.html",
        {
            "@type": "sc:CreativeWork",
            "name": "LicenseRef-House",
            "description": "Read by nobody.",
            "url": "https://house.example/terms",
        },
    ]


def test_an_unknown_licence_is_said_to_be_unknown(tmp_path: Path) -> None:
    jsonld = made_document(tmp_path, "licence: {id: LicenseRef-unknown}")
    assert jsonld["license"][0]["description"] == "Nobody states a licence."
    assert "odrl:permission" not in jsonld["usageInfo"]
    assert "commercial use: unknown" in jsonld["usageInfo"]["description"]


@pytest.mark.parametrize(
    ("licence", "told"),
    [
        ("{id: CC-BY-4.0, confidence: memory, note: Unread.}", "How sure the licence is: from memory. Unread."),
        ("{id: CC-BY-4.0, confidence: verified}", "How sure the licence is: verified."),
        ("{id: CC-BY-4.0}", "How sure the licence is: confidence not stated."),
    ],
)
def test_the_terms_say_how_sure_they_are(tmp_path: Path, licence: str, told: str) -> None:
    assert told in made_document(tmp_path, f"licence: {licence}")["usageInfo"]["description"]


def test_the_terms_name_the_other_licence_of_the_same_scans() -> None:
    told = document("lits")["usageInfo"]["description"]
    other = catalog().entry("msd-liver").licence
    assert f"msd-liver gives the same scans out under {other.id} (" in told


def test_permissions_are_rules_and_conditions_are_only_told(tmp_path: Path) -> None:
    usage = made_document(tmp_path, "licence: {id: CC-BY-NC-4.0}")["usageInfo"]
    assert usage["odrl:prohibition"] == [{"@type": "odrl:Prohibition", "odrl:action": {"@id": "cc:CommercialUse"}}]
    assert "odrl:permission" not in usage
    assert "redistribution: conditional" in usage["description"]


def test_what_an_account_costs_is_not_claimed(tmp_path: Path) -> None:
    jsonld = made_document(tmp_path, "access: {kind: account, instructions: Register there.}")
    assert "isAccessibleForFree" not in jsonld
    assert jsonld["conditionsOfAccess"] == "account: Register there."
    assert made_document(tmp_path)["isAccessibleForFree"] is True


def test_data_that_cannot_be_had_have_no_files(tmp_path: Path) -> None:
    unavailable = "{access: {kind: unavailable, instructions: Withdrawn by its makers.}, acquisition: []}"
    jsonld = made_document(tmp_path, unavailable)
    assert jsonld["isAccessibleForFree"] is False
    assert file_objects(jsonld) == {}


def test_derivation_is_stated_only_where_the_years_tell_who_came_first(tmp_path: Path) -> None:
    base: dict[str, Any] = {"description": "x", "version": "1", "groups": ["brain"], "modalities": ["CT"]}
    base |= {
        "tasks": ["self-supervised"],
        "dimensions": [3],
        "licence": {"id": "CC-BY-4.0"},
        "access": {"kind": "open"},
        "maturity": "described",
    }
    base |= {"acquisition": [{"kind": "folder", "path": "x"}]}
    years = {"older": 2017, "newer": 2019, "undated": None}
    entries = [{**base, "id": name, "title": name, **({"year": year} if year else {})} for name, year in years.items()]
    entries[1]["overlaps"] = [
        {"entry": "older", "kind": "superset-of", "evidence": "Its paper says so."},
        {"entry": "undated", "kind": "superset-of", "evidence": "Its paper says so."},
    ]
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"format_version": 1, "entries": entries}))
    made = Catalog.load([file])
    newer, older = (croissant(made.entry(name), made) for name in ("newer", "older"))
    assert [node["@id"] for node in newer["prov:wasDerivedFrom"]] == ["urn:medshard:entry:older"]
    assert {node["@id"] for node in newer["hasPart"]} == {"urn:medshard:entry:older", "urn:medshard:entry:undated"}
    assert "prov:wasDerivedFrom" not in older
    assert [node["@id"] for node in older["isPartOf"]] == ["urn:medshard:entry:newer"]


def test_a_private_folder_is_not_given_away(tmp_path: Path) -> None:
    secret = "acquisition: [{kind: folder, path: /home/somebody/scans, files: {a.nii.gz: '" + "0" * 64 + "'}}]"
    jsonld = made_document(tmp_path, secret)
    assert "somebody" not in json.dumps(jsonld)
    assert file_objects(jsonld)["a.nii.gz"]["sha256"] == "0" * 64


def test_doubts_and_defects_are_limitations(tmp_path: Path) -> None:
    doubts = """
    doubts: [The number of patients is from memory.]
    known_defects: [{cases: [a], problem: The mask is empty, action: exclude}]
    """
    assert made_document(tmp_path, doubts)["rai:dataLimitations"] == [
        "The number of patients is from memory.",
        "a: The mask is empty (exclude)",
    ]


def test_the_export_needs_no_validator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlcroissant", None)
    assert made_document(tmp_path)["@type"] == "sc:Dataset"


def test_no_document_names_a_path_of_a_machine_or_holds_marks_of_a_card() -> None:
    for entry in catalog():
        text = json.dumps(document(entry.id), ensure_ascii=False)
        assert not re.search(r"(?<![\w.}*])/(home|work|tmp|root|Users)/", text), entry.id
        assert not re.search(r"\\u00[01]", text), entry.id


def test_a_document_is_made_the_same_twice() -> None:
    for entry in catalog():
        assert json.dumps(croissant(entry, catalog())) == json.dumps(document(entry.id))


@pytest.mark.parametrize(
    ("template", "where", "expected"),
    [
        ("imagesTr/{case}_0000.nii.gz", {}, ["imagesTr/*_0000.nii.gz"]),
        ("{part}/{case}.png", {"part": "train|test"}, ["train/*.png", "test/*.png"]),
        ("{case}.png", {"case": r"la_\d{3}"}, ["la_[0-9][0-9][0-9].png"]),
        ("{case}.png", {"case": r"P\d+"}, ["P[0-9]*.png"]),
        ("{case}.png", {"case": r"(?!mean).+"}, ["*.png"]),
        ("{case}.png", {"case": r"case_00[0-2]\d"}, ["*.png"]),
        ("{case}.png", {"case": "ab+"}, ["*.png"]),
        ("**/{case}.png", {}, ["**/*.png", "*.png"]),
        ("a[1]/{case}.png", {}, ["a[[]1]/*.png"]),
    ],
)
def test_templates_become_glob_patterns(template: str, where: dict[str, str], expected: list[str]) -> None:
    assert glob_of(template, where) == expected


def listed_paths() -> Iterator[tuple[str, str]]:
    """Entry and path, of every listing of an entry that the catalog has."""
    for file in sorted(LISTINGS.glob("*.yaml")):
        for record in yaml.load(file.read_text(), Loader=yaml.CSafeLoader) or []:
            if record["entry"] in catalog().entries:
                yield from ((record["entry"], path) for path in record["files"])


def test_patterns_fit_the_files_that_independent_sources_list() -> None:
    checked = 0
    for entry_id, path in listed_paths():
        for group in catalog().entry(entry_id).cases:
            fields = match_template(group.anchor, path, tuple(sorted(group.where.items())))
            if fields is None:
                continue
            checked += 1
            assert any(fnmatchcase(path, glob) for glob in glob_of(group.anchor, group.where)), (entry_id, path)
            for part in template_fields(group.anchor):
                found = re.match(path_regex([group.anchor], part, group.where), path)
                assert found is not None, (entry_id, path, part)
                assert next(text for text in found.groups() if text is not None) == fields[part], (entry_id, path)
    assert checked > 100


FOLDERS = """
- modality: CT
  case: "{patient}_{n}"
  patient: "{patient}"
  where: {part: train|test}
  images: {image: {path: "{part}/{class}/{patient}_{n}.png"}}
  split: {field: part, values: {train: train, test: test}}
  annotations: {organ: {kind: class-folder, field: class, values: {a: liver, b: spleen}}}
"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_mlcroissant_reads_the_cases_that_the_layout_means(tmp_path: Path) -> None:
    from PIL import Image

    for path in ("train/a/p1_1.png", "train/b/p1_2.png", "test/b/p2_1.png", "other/b/p3_1.png"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / path)
    classes = "{tasks: [classification], acquisition: [{kind: folder, path: .}]}"
    jsonld = tmp_path / "croissant.json"
    jsonld.write_text(json.dumps(made_document(tmp_path, classes, FOLDERS)))
    dataset = mlcroissant_dataset(str(jsonld))
    read = [
        {name: value.decode() for name, value in record.items() if isinstance(value, bytes)}
        for record in dataset.records("cases")
    ]
    expected = [
        {"cases/part": part, "cases/class": word, "cases/patient": patient, "cases/n": n, "cases/modality": "CT"}
        for part, word, patient, n in (("test", "b", "p2", "1"), ("train", "a", "p1", "1"), ("train", "b", "p1", "2"))
    ]
    assert read == expected
