"""Label spaces united by concept: one numbering, what counts as examined, and what a loss may learn from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy_with_logits

from medshard.errors import CatalogError
from medshard.loaders.label_numbering import IGNORED, LabelNumbering, number_labels
from medshard.loaders.sample_row import StoredLabel
from medshard.loaders.shard_reader import SampleIndex
from medshard.registry.concepts import Concept, ConceptKind, Side, Vocabulary
from medshard.registry.store import Store
from medshard.training.objectives import segmentation_loss

KIDNEYS, _ = Vocabulary().extended(
    [
        Concept(name="kidney", kind=ConceptKind.ORGAN),
        Concept(name="left kidney", kind=ConceptKind.ORGAN, side=Side.LEFT, parent="kidney"),
        Concept(name="right kidney", kind=ConceptKind.ORGAN, side=Side.RIGHT, parent="kidney"),
        Concept(name="renal cortex", kind=ConceptKind.TISSUE, parent="left kidney"),
        Concept(name="liver", kind=ConceptKind.ORGAN),
    ]
)


def label_of(classes: Mapping[int, str], **changes: Any) -> StoredLabel:
    return StoredLabel(**{"kind": "semantic", "classes": classes, "examined": tuple(classes.values()), **changes})


class OneLabel:
    """An index of two samples that are labelled alike."""

    def __init__(self, entry: str, classes: Mapping[int, str]) -> None:
        self.entry = entry
        facts = {"kind": "semantic", "classes": classes, "examined": [*classes.values()], "also": {}, "ignore": []}
        self._text = json.dumps({"organs": facts})

    def distinct(self, name: str) -> tuple[np.ndarray, list[str]]:
        assert name == "labels"
        return np.zeros(2, np.int32), [self._text]


SIDED, WHOLE = {1: "right kidney", 2: "left kidney"}, {1: "liver", 7: "kidney"}


def numbered(*labels: Mapping[int, str], classes: list[str] | None = None, **options: Any) -> LabelNumbering:
    indices: Any = [OneLabel(f"entry-{number}", label) for number, label in enumerate(labels)]
    return number_labels(indices, None, classes, vocabulary=KIDNEYS, **options)


def test_entries_are_united_by_concept() -> None:
    numbering = numbered(WHOLE, {3: "kidney", 4: "spleen"})
    assert numbering.classes == ("liver", "kidney", "spleen")
    stored = np.array([0, 3, 4, 9], np.uint8)
    assert numbering.renumber(stored, label_of({3: "kidney", 4: "spleen"})).tolist() == [0, 2, 3, 0]
    assert numbering.examined(label_of(WHOLE)).tolist() == [True, True, False]
    assert numbering.examined(None).tolist() == [False] * 3


def test_a_finer_concept_is_of_the_wider_class_that_is_asked_for() -> None:
    numbering = numbered(SIDED, WHOLE, classes=["kidney", "liver"])
    assert numbering.renumber(np.array([0, 1, 2], np.uint8), label_of(SIDED)).tolist() == [0, 1, 1]
    assert numbering.values_of(label_of(SIDED), 1) == (1, 2)
    assert numbering.examined(label_of(SIDED)).tolist() == [True, False]
    # One kidney says nothing of the other.
    assert numbering.examined(label_of(SIDED, examined=("left kidney",))).tolist() == [False, False]


def test_the_nearest_wider_class_wins_and_a_class_keeps_its_own_voxels() -> None:
    cortex = {1: "renal cortex", 2: "right kidney"}
    numbering = numbered(cortex, classes=["kidney", "left kidney"])
    assert numbering.renumber(np.array([1, 2], np.uint8), label_of(cortex)).tolist() == [2, 1]
    # The left kidney's voxels are not the class "kidney" here, so nobody has marked all of it.
    assert numbering.examined(label_of(SIDED)).tolist() == [False, True]


def test_segments_make_up_an_organ_that_the_vocabulary_does_not_divide() -> None:
    segments = {value: f"liver segment {value}" for value in (1, 2, 3)}
    numbering = numbered(
        segments, WHOLE, classes=["liver"], unions={"liver": [f"liver segment {value}" for value in (1, 2, 3)]}
    )
    assert numbering.renumber(np.arange(5, dtype=np.uint16), label_of(segments)).tolist() == [0, 1, 1, 1, 0]
    assert numbering.examined(label_of(segments)).tolist() == [True]
    assert numbering.examined(label_of({1: "liver segment 1"})).tolist() == [False]
    with pytest.raises(CatalogError, match=r"dataset\.classes"):
        numbered(segments, classes=["liver"], unions={"spleen": ["liver segment 1"]})
    with pytest.raises(CatalogError, match=r"dataset\.classes"):
        numbered(segments, classes=["liver", "liver"])


def test_the_main_concept_of_a_value_comes_before_its_others() -> None:
    tumour = label_of({1: "liver", 2: "liver tumour"}, also={2: ("liver",)}, ignore=(255,))
    stored = np.array([0, 1, 2, 255, 3], np.uint8)
    both = LabelNumbering(classes=("liver", "liver tumour"), layers={})
    assert both.renumber(stored, tumour).tolist() == [0, 1, 2, IGNORED, 0]
    assert LabelNumbering(classes=("liver",), layers={}).renumber(stored, tumour).tolist() == [0, 1, 1, IGNORED, 0]
    assert both.values_of(tumour) == (1, 2)


dtypes = st.sampled_from(["bool", "uint8", "int8", "uint16", "int16", "uint32", "int64"])


@settings(deadline=None, max_examples=60)
@given(dtypes, st.data())
def test_renumbering_is_a_dictionary_look_up(dtype: str, data: st.DataObject) -> None:
    limits = (0, 1) if dtype == "bool" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    values = st.integers(*limits)
    classes = {value: f"concept {value % 7}" for value in data.draw(st.lists(values.filter(bool), max_size=8))}
    ignore = tuple(data.draw(st.lists(values.filter(lambda value: value and value not in classes), max_size=2)))
    stored = np.array(data.draw(st.lists(values | st.sampled_from([0, *classes, *ignore]), max_size=30)), dtype)
    label = label_of(classes, ignore=ignore)
    numbering = LabelNumbering(classes=("concept 3", "concept 1", "concept 6"), layers={})
    number_of = {"concept 3": 1, "concept 1": 2, "concept 6": 3}
    expected = [IGNORED if int(value) in ignore else number_of.get(classes.get(int(value), ""), 0) for value in stored]
    found = numbering.renumber(stored.reshape(1, -1), label)
    assert (found.dtype, found.shape) == (np.int64, (1, len(stored)))
    assert found[0].tolist() == expected
    table = numbering.lut_of(label, stored.dtype)
    assert (table is None) == (stored.dtype.itemsize > 2)
    if table is not None:
        assert table.dtype == np.int16
        assert table[stored.view(f"u{stored.dtype.itemsize}")].tolist() == expected


def test_a_look_up_is_not_mistaken_for_that_of_another_label() -> None:
    numbering = LabelNumbering(classes=("liver", "kidney"), layers={})
    one = label_of(WHOLE)
    assert numbering.examined(one).tolist() == [True, True]
    assert numbering.examined(replace(one, examined=("liver",))).tolist() == [True, False]
    assert numbering.renumber(np.array([7], np.uint8), replace(one, ignore=(7,), classes={1: "liver"})).tolist() == [
        -100
    ]
    numbering.examined(one)[:] = False
    assert numbering.examined(one).tolist() == [True, True]


def test_which_samples_show_which_class(shard_store: Store) -> None:
    brains = SampleIndex.open(shard_store, "brains")
    numbering = number_labels([brains], None, ["white matter", "grey matter"])
    samples, classes = numbering.present(brains, np.array([0, 2]))
    assert list(zip(samples.tolist(), classes.tolist(), strict=True)) == [(0, 1), (0, 2), (1, 1), (1, 2)]
    noises = SampleIndex.open(shard_store, "noises")
    numbering = number_labels([brains, noises], {"noises": "lesion"}, ["lesion"])
    rows = np.arange(len(noises))
    samples, classes = numbering.present(noises, rows)
    assert [noises.row(number).case for number in samples.tolist()] == ["one", "two"]
    assert set(classes.tolist()) == {1}
    assert [len(found) for found in numbering.present(brains, np.arange(3))] == [0, 0]


def step(examined: list[list[bool]], label: torch.Tensor, *, sigmoid: bool) -> torch.nn.Conv3d:
    """One training step of a small network; returns its head, with gradients of (background and) three classes."""
    torch.manual_seed(0)
    body = torch.nn.Conv3d(1, 6, 3, padding=1)
    head = torch.nn.Conv3d(6, 3 if sigmoid else 4, 1)
    optimiser = torch.optim.SGD([*body.parameters(), *head.parameters()], lr=0.1)
    logits = head(body(torch.randn(len(examined), 1, 6, 8, 8)).relu())
    looked_for = torch.tensor(examined)
    if sigmoid:
        target = torch.stack([label[:, 0] == number for number in (1, 2, 3)], dim=1).float()
        every_voxel = binary_cross_entropy_with_logits(logits, target, reduction="none")
        judged = looked_for[:, :, None, None, None] & (label >= 0)
        loss = (every_voxel * judged).sum() / judged.sum().clamp(min=1)
    else:
        loss = segmentation_loss(
            logits, label, examined=looked_for, has_label=torch.ones(len(examined), dtype=torch.bool)
        )
    loss.backward()
    optimiser.step()
    return head


@pytest.mark.parametrize("sigmoid", [False, True], ids=["softmax", "sigmoid"])
def test_a_class_that_nobody_looked_for_gets_no_gradient(sigmoid: bool) -> None:
    """Neither from background voxels, which may well show it, nor from voxels of the other classes."""
    numbering = LabelNumbering(classes=("liver", "kidney", "spleen"), layers={})
    stored = np.zeros((2, 1, 6, 8, 8), np.uint8)
    stored[:, :, 1:3, 2:6, 2:6], stored[:, :, 4, 4:, 4:], stored[:, :, 5, 0, 0] = 1, 7, 255
    label = label_of(WHOLE, ignore=(255,))
    targets = torch.from_numpy(numbering.renumber(stored, label))
    examined = numbering.examined(label)
    assert examined.tolist() == [True, True, False]
    head = step([examined.tolist()] * 2, targets, sigmoid=sigmoid)
    assert head.weight.grad is not None
    assert head.bias is not None
    assert head.bias.grad is not None
    first = 0 if sigmoid else 1
    assert torch.count_nonzero(head.weight.grad[first + 2]) == 0
    assert head.bias.grad[first + 2] == 0
    assert all(torch.count_nonzero(head.weight.grad[first + number]) > 0 for number in (0, 1))


@pytest.mark.parametrize("sigmoid", [False, True], ids=["softmax", "sigmoid"])
def test_it_gets_one_from_the_samples_of_a_batch_where_somebody_did(sigmoid: bool) -> None:
    targets = torch.zeros(2, 1, 6, 8, 8, dtype=torch.int64)
    targets[1, :, 2:4] = 3
    head = step([[True, True, False], [True, True, True]], targets, sigmoid=sigmoid)
    assert head.weight.grad is not None
    assert torch.count_nonzero(head.weight.grad[2 if sigmoid else 3]) > 0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_all_instances_of_the_one_concept_are_of_its_class(dtype: type) -> None:
    numbering = numbered(WHOLE, classes=["kidney", "liver"])
    stored = np.array([0, 1, 1, 2, 3, 9], dtype)
    livers = label_of({1: "liver"}, kind="instance", ignore=(9,))
    assert numbering.renumber(stored, livers).tolist() == [0, 2, 2, 2, 2, IGNORED]
    assert numbering.values_of(livers, 2) == (1,)  # as which draws list all of them
    assert numbering.renumber(stored, label_of({1: "liver"}, ignore=(9,))).tolist() == [0, 2, 2, 0, 0, IGNORED]
    both = label_of({1: "liver", 2: "kidney"}, kind="instance")
    assert numbering.renumber(stored, both).tolist() == [0, 2, 2, 1, 0, 0]
    nothing = label_of({1: "spleen"}, kind="instance")
    assert not numbering.renumber(stored, nothing).any()
