"""The vocabulary of labels: no two concepts are one, every code is true, every fault has a line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydicom.sr._concepts_dict import concepts as dicom_concepts

import medshard
from medshard.errors import CatalogError
from medshard.registry.concepts import (
    CONCEPTS_FILE,
    Concept,
    ConceptKind,
    Side,
    Vocabulary,
    concept_problems,
    load_concepts,
    located,
    normalised,
    read_concepts,
)
from medshard.registry.yaml_lines import parse_yaml

ROOT = Path(medshard.__file__).parent
PUBLIC = load_concepts()
SIDES = {side.value for side in Side}

GOOD = """\
- {name: kidney, kind: organ, code: 'SCT:64033007'}
- {name: kidney tumour, kind: lesion, located_in: kidney, synonyms: [renal tumour]}
- {name: left kidney, kind: organ, side: left, parent: kidney}
"""


def faults_of(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "concepts.yaml"
    file.write_text(text)
    return [f"{problem.line} {problem.field}: {problem.message}" for problem in concept_problems(file)]


def mirrored(name: str) -> str:
    swapped = {"left": "right", "right": "left"}
    return " ".join(swapped.get(word, word) for word in name.split())


# The public vocabulary


def test_the_file_is_valid_and_sorted_by_name() -> None:
    assert concept_problems(CONCEPTS_FILE) == ()
    names = [item["name"] for item in yaml.safe_load(CONCEPTS_FILE.read_text())]
    assert names == sorted(names, key=lambda name: (name.casefold(), name))


def test_no_name_or_synonym_is_said_twice() -> None:
    words = [word for concept in PUBLIC.concepts.values() for word in (concept.name, *concept.synonyms)]
    keys = [normalised(word) for word in words]
    assert sorted({key for key in keys if keys.count(key) > 1}) == []
    assert len(keys) == len(PUBLIC.words)


def test_every_parent_and_place_exists_and_no_path_up_goes_round() -> None:
    for concept in PUBLIC.concepts.values():
        assert concept.parent is None or concept.parent in PUBLIC
        assert concept.located_in is None or concept.located_in in PUBLIC
        assert concept.name not in PUBLIC.ancestors(concept.name)
        assert len(PUBLIC.ancestors(concept.name)) < 8


def test_only_findings_and_grades_are_located_in_something() -> None:
    placed = {concept.kind for concept in PUBLIC.concepts.values() if concept.located_in}
    assert placed <= {
        ConceptKind.LESION, ConceptKind.DIAGNOSIS, ConceptKind.SCORE, ConceptKind.CELL, ConceptKind.WAVEFORM,
        ConceptKind.IMAGE_CLASS, ConceptKind.OTHER,
    }  # fmt: skip


def test_the_left_and_the_right_of_a_pair_are_alike_in_all_but_the_side() -> None:
    pairs = 0
    for concept in PUBLIC.concepts.values():
        first, _, rest = concept.name.partition(" ")
        if first not in SIDES:
            continue
        assert concept.side == first
        other = PUBLIC.concepts.get(f"{'right' if first == 'left' else 'left'} {rest}")
        if other is None:
            continue
        pairs += 1
        assert other.parent in {concept.parent, mirrored(concept.parent or "") or None}
        assert (concept.kind, concept.thin) == (other.kind, other.thin)
    assert pairs > 80


def test_a_sided_concept_stands_below_its_plain_one() -> None:
    for concept in PUBLIC.concepts.values():
        first, _, rest = concept.name.partition(" ")
        if first in SIDES and rest in PUBLIC:
            assert concept.parent == rest


def test_vessels_nerves_and_airways_are_thin_and_solid_organs_are_not() -> None:
    for concept in PUBLIC.concepts.values():
        if concept.kind in {ConceptKind.VESSEL, ConceptKind.NERVE}:
            assert concept.thin, concept.name
    for name in ("airway", "trachea", "bronchus", "cystic duct", "mitral valve", "inferior alveolar canal"):
        assert PUBLIC.get(name).thin, name
    for name in ("liver", "left kidney", "brain", "femur", "tumour"):
        assert not PUBLIC.get(name).thin, name


# Codes


def meanings() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    scheme: Any = dicom_concepts["SCT"]
    for codes in scheme.values():
        for code, (meaning, _) in codes.items():
            found.setdefault(f"SCT:{code}", set()).add(meaning)
    return found


MEANINGS = meanings()


def bare(text: str) -> str:
    """The words of a name or meaning, without sides and without what SNOMED adds to every body structure."""
    text = re.sub(r"\([^)]*\)\s*$", "", text)
    text = re.sub(r"\b(bone structure|structure|permanent)\b", "", text, flags=re.IGNORECASE)
    return " ".join(word for word in normalised(text).split() if word not in SIDES)


def fits(concept: Concept) -> bool:
    """Whether pydicom's meaning of the code is the name or a synonym, and says no other side."""
    assert concept.code is not None
    said = {bare(meaning) for meaning in MEANINGS.get(concept.code, ())}
    sides = {side for meaning in MEANINGS.get(concept.code, ()) for side in SIDES & set(normalised(meaning).split())}
    return bool(said & {bare(word) for word in (concept.name, *concept.synonyms)}) and sides <= {concept.side}


def test_every_code_stands_in_pydicom_and_means_the_concept() -> None:
    coded = [concept for concept in PUBLIC.concepts.values() if concept.code]
    assert [concept.name for concept in coded if not fits(concept)] == []
    assert len(coded) > 300


def test_code_and_side_together_name_one_concept() -> None:
    coded = [(concept.code, concept.side) for concept in PUBLIC.concepts.values() if concept.code]
    assert len(coded) == len(set(coded))


@pytest.mark.parametrize(
    "wrong",
    [
        Concept(name="liver", kind=ConceptKind.ORGAN, code="SCT:64033007"),
        Concept(name="liver", kind=ConceptKind.ORGAN, code="SCT:123456789"),
        Concept(name="right atrium", kind=ConceptKind.ORGAN, side=Side.RIGHT, code="SCT:82471001"),
    ],
    ids=["the kidney's", "nobody's", "the other side's"],
)
def test_a_wrong_code_would_be_noticed(wrong: Concept) -> None:
    assert not fits(wrong)


# What the rest of the repository says


def labels_in(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from labels_in(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "concept":
                yield value
            elif key == "classes":
                yield from value.values() if isinstance(value, dict) else value
            elif key == "examined":
                yield from value
            else:
                yield from labels_in(value)


@pytest.mark.parametrize("file", sorted((ROOT / "training" / "recipes").glob("*.yaml")), ids=lambda file: file.name)
def test_every_label_of_a_recipe_is_a_concept(file: Path) -> None:
    labels = set(labels_in(yaml.safe_load(file.read_text())))
    assert sorted(label for label in labels if label not in PUBLIC) == []


# Spellings


@pytest.mark.parametrize(
    "text",
    [
        "left kidney",
        "Left Kidneys",
        "kidney_left",
        "KidneyLeft",
        "Kidney (left)",
        "kidney-L",
        "Kidney_L",
        "LEFT KIDNEY",
    ],
)
def test_spellings_of_one_thing_find_one_concept(text: str) -> None:
    found = PUBLIC.find(text)
    assert found is not None
    assert found.name == "left kidney"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("oesophagus", "Esophagus"),
        ("grey matter", "gray_matter"),
        ("kidney tumour", "Tumors of the kidney"),
        ("peritumoural oedema", "peritumoral edema (ED)"),
        ("caecum", "Cecum"),
        ("intracranial haemorrhage", "intracranial hemorrhages"),
        ("lumbar vertebra", "lumbar vertebrae"),
        ("left rib 4", "rib_left_4"),
        ("L5 vertebra", "vertebrae_L5"),
        ("portal vein and splenic vein", "portal_vein_and_splenic_vein"),
        ("prostate or uterus", "prostate/uterus"),
    ],
)
def test_the_sources_spellings_are_understood(one: str, other: str) -> None:
    assert PUBLIC.find(one) == PUBLIC.find(other) == PUBLIC.get(one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("left kidney", "right kidney"),
        ("kidney", "left kidney"),
        ("tooth 11", "tooth 12"),
        ("non-enhancing tumour core", "enhancing tumour"),
        ("oesophagus", "cervical oesophagus"),
        ("left atrium", "left ventricle"),
    ],
)
def test_different_things_stay_different(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)
    assert PUBLIC.find(one) != PUBLIC.find(other)


def test_a_word_that_nothing_means_is_not_found() -> None:
    assert PUBLIC.find("flux capacitor") is None


# Walks


def test_a_wider_concept_finds_the_narrower_ones() -> None:
    assert PUBLIC.descendants("kidney") == {"kidney", "left kidney", "right kidney"}
    assert "L5 vertebra" in PUBLIC.descendants("spine")
    assert PUBLIC.descendants("spleen") == {"spleen"}


def test_ancestors_come_nearest_first() -> None:
    assert PUBLIC.ancestors("L5 vertebra") == ("lumbar vertebra", "vertebra", "spine", "bone")


def test_findings_are_not_parts_of_the_organ_but_are_found_in_it() -> None:
    assert "liver tumour" not in PUBLIC.descendants("liver")
    assert {"liver tumour", "hepatocellular carcinoma", "liver cyst"} <= PUBLIC.findings_in("liver")
    assert "left kidney cyst" in PUBLIC.findings_in("kidney")
    assert "lung nodule" not in PUBLIC.findings_in("liver")


def test_an_unknown_name_is_answered_with_near_ones() -> None:
    with pytest.raises(CatalogError) as raised:
        PUBLIC.get("livr tumor")
    assert raised.value.code == "concept.unknown"
    assert raised.value.details["did you mean"].startswith("liver tumour")


def test_a_synonym_is_no_name_but_leads_to_it() -> None:
    with pytest.raises(CatalogError) as raised:
        PUBLIC.get("kidney_left")
    assert raised.value.details["did you mean"].startswith("left kidney")


# Faults


def test_a_good_file_has_no_faults(tmp_path: Path) -> None:
    assert faults_of(tmp_path, GOOD) == []


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{name: Kidneys left, kind: organ, side: left}", "4 name: 'Kidneys left' means 'left kidney', which exists"),
        ("{name: cyst, kind: lesion, synonyms: [tumor of kidney]}", "already means 'kidney tumour'"),
        ("{name: cyst, kind: lesion, synonyms: [Cysts]}", "4 synonyms.0: 'Cysts' is understood without being listed"),
        ("{name: cyst, kind: leson}", "4 kind: Input should be 'organ'"),
        (
            "{name: cyst, kind: lesion, located_in: kidny}",
            "located_in: no concept is called 'kidny'; did you mean k",
        ),
        ("{name: cyst, kind: lesion, parent: leson}", "4 parent: no concept is called 'leson'"),
        ("{name: cyst, kind: lesion, parent: cyst}", "4 parent: parents go round: cyst -> cyst"),
        ("{name: cyst, kind: lesion, code: 367643001}", "4 code: "),
        ("{name: cyst, kind: lesion, colour: red}", "4 colour: Extra inputs are not permitted"),
        ("{name: right kidney, kind: organ, parent: kidney}", "the name says right: expected `side: right`"),
        ("{name: right kidney, kind: organ, side: left}", "the name says right: expected `side: right`"),
        ("{kind: organ}", "4 name: Field required"),
        ("{name: cyst, kind: lesion, kind: organ}", "this key stands here twice"),
        ("cyst", "4 : Input should be a valid dictionary"),
    ],
)
def test_a_fault_is_named_with_its_line_and_field(tmp_path: Path, line: str, fault: str) -> None:
    (found,) = faults_of(tmp_path, f"{GOOD}- {line}\n")
    assert fault in found


def test_all_faults_are_reported_at_once_and_raised_by_the_loader(tmp_path: Path) -> None:
    text = (
        GOOD
        + "- {name: cyst, kind: leson}\n- {name: KIDNEY, kind: organ}\n- {name: liver, kind: organ, parent: abdmen}\n"
    )
    assert [fault.split()[0] for fault in faults_of(tmp_path, text)] == ["4", "5", "6"]
    with pytest.raises(CatalogError) as raised:
        load_concepts(tmp_path / "concepts.yaml")
    assert raised.value.code == "concepts.invalid"
    assert len(raised.value.details) == 3
    assert "concepts.yaml:6: liver parent:" in str(raised.value)


def test_a_circle_of_parents_is_a_fault_of_each_of_them(tmp_path: Path) -> None:
    text = "- {name: one, kind: organ, parent: two}\n- {name: two, kind: organ, parent: one}\n"
    assert len(faults_of(tmp_path, text)) == 2


def test_a_parent_that_could_not_be_read_is_reported_once(tmp_path: Path) -> None:
    text = "- {name: organ, kind: orgn}\n- {name: part, kind: organ, parent: organ}\n"
    (found,) = faults_of(tmp_path, text)
    assert found.startswith("1 kind")


def test_a_file_that_is_no_yaml_or_no_list_is_said_to_be(tmp_path: Path) -> None:
    (found,) = faults_of(tmp_path, "- {name: liver\n")
    assert "not YAML" in found
    (found,) = faults_of(tmp_path, "concepts: []\n")
    assert "expected a list of concepts" in found
    with pytest.raises(CatalogError, match="concepts.unreadable"):
        load_concepts(tmp_path / "missing.yaml")


# Overlays


def test_an_overlay_adds_concepts_below_public_ones() -> None:
    kidney_stone = Concept(name="kidney stone", kind=ConceptKind.LESION, parent="stone", located_in="kidney")
    extended, faults = PUBLIC.extended([kidney_stone])
    assert faults == ()
    assert "kidney stone" in extended.findings_in("kidney")
    assert "kidney stone" not in PUBLIC


def test_an_overlay_cannot_say_again_what_is_public() -> None:
    extended, faults = PUBLIC.extended([Concept(name="kidney left", kind=ConceptKind.ORGAN, side=Side.LEFT)])
    assert [fault.message for fault in faults] == ["'kidney left' means 'left kidney', which exists"]
    assert extended.concepts == PUBLIC.concepts
    assert extended.words == PUBLIC.words


def test_a_clash_in_an_overlay_hides_no_other_concept_and_has_its_line() -> None:
    document = parse_yaml(
        "format_version: 1\nentries: []\nconcepts:\n"
        "  - {name: liver, kind: organ}\n  - {name: third kidney, kind: organ, parent: kidney}\n",
        file="mine.yaml",
    )
    extended, faults = read_concepts(document.data["concepts"], PUBLIC)
    (problem,) = located(faults, document, under=("concepts",))
    assert str(problem) == "mine.yaml:4: liver name: 'liver' means 'liver', which exists"
    assert "third kidney" in extended.descendants("kidney")
    assert extended.get("liver") == PUBLIC.get("liver")


def test_an_empty_vocabulary_knows_nothing() -> None:
    assert len(Vocabulary()) == 0
    assert Vocabulary().find("liver") is None
