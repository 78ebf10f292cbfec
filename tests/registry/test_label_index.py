"""Which entries annotate a concept, which examine it, and under which value."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from made_entries import made_entry

from medshard.errors import CatalogError
from medshard.registry import Catalog, Entry
from medshard.registry.catalog import PUBLIC_CATALOG
from medshard.registry.concepts import Vocabulary, read_concepts
from medshard.registry.questions.label_index import LabelUse, uses_in, uses_of

VOCABULARY: Vocabulary = read_concepts(
    [
        {"name": "liver", "kind": "organ", "synonyms": ["hepar"]},
        {"name": "left lobe of liver", "kind": "organ", "side": "left", "parent": "liver"},
        {"name": "liver tumour", "kind": "lesion", "located_in": "liver"},
        {"name": "spleen", "kind": "organ"},
        {"name": "grey matter", "kind": "tissue"},
    ]
)[0]


def entry(entry_id: str, *cases: dict[str, Any]) -> Entry:
    images = {"image": {"path": "{split}/{case}.nii.gz"}}
    return made_entry(entry_id, cases=[{"modality": "CT", "images": images, **one} for one in cases])


def mask(classes: dict[int, str], **more: Any) -> dict[str, Any]:
    return {"path": "{split}/{case}_seg.nii.gz", "classes": classes, **more}


def rows(uses: tuple[LabelUse, ...]) -> list[tuple[str, str, str, bool]]:
    return [(use.layer, use.value, use.concept, use.examined) for use in uses]


def test_a_use_says_entry_layer_kind_value_concept_and_whether_it_was_examined() -> None:
    organs = mask({1: "liver", 2: "spleen"}, examined=["liver"], kind="instance")
    (liver, spleen) = uses_in(entry("organs", {"labels": {"organs": organs}}))
    assert liver.to_json() == {
        "entry": "organs",
        "layer": "organs",
        "kind": "instance",
        "value": "1",
        "concept": "liver",
        "examined": True,
    }
    assert (spleen.value, spleen.examined) == ("2", False)


def test_values_are_in_the_order_of_numbers_and_words_come_last() -> None:
    folders = {"kind": "class-folder", "field": "split", "values": {"b": "liver", "10": "spleen", "9": "liver"}}
    found = uses_in(entry("many", {"labels": {"a": mask({10: "spleen", 9: "liver"})}, "annotations": {"z": folders}}))
    assert [(use.layer, use.value) for use in found] == [("a", "9"), ("a", "10"), ("z", "9"), ("z", "10"), ("z", "b")]


def test_a_word_that_only_looks_like_a_number_is_a_word() -> None:
    folders = {"kind": "class-folder", "field": "split", "values": {"²": "liver", "2": "spleen"}}
    assert [use.value for use in uses_in(entry("odd", {"annotations": {"a": folders}}))] == ["2", "²"]


def test_a_value_that_means_several_concepts_at_once_is_a_use_of_each() -> None:
    layer = mask({1: "liver tumour"}, also={1: ["liver"]})
    assert rows(uses_in(entry("both", {"labels": {"mask": layer}}))) == [
        ("mask", "1", "liver", True),
        ("mask", "1", "liver tumour", True),
    ]


def test_soft_maps_count_from_one() -> None:
    layer = {"kind": "soft", "maps": [{"path": "{split}/{case}_gm.nii.gz", "concept": "grey matter"}]}
    assert rows(uses_in(entry("soft", {"labels": {"tissue": layer}}))) == [("tissue", "1", "grey matter", True)]


def test_values_without_a_concept_are_no_use() -> None:
    layer = mask({1: "liver"}, unmapped={2: "nobody knows"}, ignore=[3])
    assert [use.value for use in uses_in(entry("gaps", {"labels": {"mask": layer}}))] == ["1"]


def test_groups_that_agree_give_one_use_and_groups_that_differ_give_both_in_one_order() -> None:
    seen, unseen = mask({1: "liver"}), mask({1: "liver"}, examined=[])
    same = entry("same", {"labels": {"mask": seen}}, {"labels": {"mask": seen}})
    differ = entry("differ", {"labels": {"mask": seen}}, {"labels": {"mask": unseen}})
    assert rows(uses_in(same)) == [("mask", "1", "liver", True)]
    assert rows(uses_in(differ)) == [("mask", "1", "liver", False), ("mask", "1", "liver", True)]


def test_a_concept_finds_its_parts_by_any_spelling_and_not_what_sits_in_it() -> None:
    entries = [
        entry("a", {"labels": {"mask": mask({1: "liver", 2: "liver tumour"})}}),
        entry("b", {"labels": {"mask": mask({1: "left lobe of liver", 2: "spleen"})}}),
    ]
    for spelling in ("liver", "Livers", "hepar"):
        assert [(use.entry, use.concept) for use in uses_of(spelling, entries, VOCABULARY)] == [
            ("a", "liver"),
            ("b", "left lobe of liver"),
        ]
    assert uses_of("grey matter", entries, VOCABULARY) == ()


def test_an_unknown_concept_is_refused_with_near_ones() -> None:
    with pytest.raises(CatalogError, match="liver") as caught:
        uses_of("livr", [], VOCABULARY)
    assert caught.value.code == "concept.unknown"


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load([PUBLIC_CATALOG])


class TestThePublicCatalog:
    def test_an_entry_uses_exactly_the_concepts_that_it_names(self, catalog: Catalog) -> None:
        for one in catalog:
            assert {use.concept for use in uses_in(one)} == set(one.concepts), one.id

    def test_index_and_query_find_the_same_entries(self, catalog: Catalog) -> None:
        counts = Counter(concept for one in catalog for concept in one.concepts)
        for concept, _ in counts.most_common(12):
            uses = uses_of(concept, catalog, catalog.vocabulary)
            assert {use.entry for use in uses} == {one.id for one in catalog.where(concept=concept)}, concept
            examined = {use.entry for use in uses if use.examined}
            assert examined <= {one.id for one in catalog.where(examines=concept)}, concept
