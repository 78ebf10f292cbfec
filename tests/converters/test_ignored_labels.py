"""Voxels that nobody judged, and values of several concepts, on their way into a shard and out of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medshard.converters.plan import Plan
from medshard.converters.samples import make_sample
from medshard.converters.shard_index import index_rows
from medshard.converters.shard_writer import encode_sample
from medshard.converters.shard_zip import pack_shard
from medshard.converters.volume import Image, LabelLayer, Volume
from medshard.loaders.label_numbering import IGNORED, LabelNumbering
from medshard.loaders.sample_row import parse_labels
from medshard.registry.store import RecordRef

LABELS = np.zeros((1, 4, 8, 8), np.int16)
LABELS[:, 1:3, 1:3, 1:3] = 1
LABELS[:, 1:3, 4:7, 4:7] = -1
LABELS[:, 3, :, :] = 7


def sample(spacing_mm: float = 1.0) -> Volume:
    affine = np.diag([1.0, 1.0, 1.0, 1.0])[:, [2, 1, 0, 3]] * spacing_mm
    affine[3, 3] = 1.0
    image = Image(array=np.arange(LABELS.size, dtype=np.int16).reshape(LABELS.shape), affine=affine, modality="MR")
    layer = LabelLayer(
        array=LABELS,
        affine=affine,
        classes={1: "liver tumour"},
        examined=("liver tumour",),
        also={1: ("liver",)},
        ignore=(-1, 7),
    )
    return Volume(entry="made", case="c", patient="p", images={"mr": image}, labels={"tumours": layer})


PLAN = Plan(name="default", entry="made", recipe_digest="0", channels=("mr",), spacing_mm=None)


def test_ignored_values_stay_apart_from_the_background() -> None:
    label = make_sample(sample(), PLAN).labels["tumours"]
    assert label.array.dtype.kind == "u"
    assert (label.array[LABELS == 0] == 0).all()
    assert (label.array[LABELS == 1] == 1).all()
    for value in (-1, 7):
        found = np.unique(label.array[value == LABELS])
        assert len(found) == 1
        assert int(found[0]) in label.ignore
    assert label.classes == {1: "liver tumour"}


def test_they_are_resampled_as_a_class_is() -> None:
    finer = Plan(name="default", entry="made", recipe_digest="0", channels=("mr",), spacing_mm=(0.5, 0.5, 0.5))
    label = make_sample(sample(), finer).labels["tumours"]
    share = np.isin(label.array, label.ignore).mean()
    assert abs(share - np.isin(LABELS, (-1, 7)).mean()) < 0.05


def test_the_index_tells_the_loader(tmp_path: Path) -> None:
    made = make_sample(sample(), PLAN)
    encode_sample(made, PLAN, tmp_path / "piece")
    pack_shard([("c", tmp_path / "piece")], {"medshard": {}}, tmp_path / "shard.zip")
    row = index_rows(tmp_path / "shard.zip", "shard.zip", {"c": RecordRef(key="0" * 64, digest="1" * 64)})[0]
    facts = parse_labels(row["labels"])["tumours"]
    assert facts.also == {1: ("liver",)}
    tumours = LabelNumbering(classes=("liver tumour",), layers={"made": "tumours"})
    numbers = tumours.renumber(made.labels["tumours"].array, facts)
    np.testing.assert_array_equal(numbers == IGNORED, np.isin(LABELS, (-1, 7)))
    np.testing.assert_array_equal(numbers == 1, LABELS == 1)
    assert set(np.unique(numbers)) == {IGNORED, 0, 1}


def test_a_further_concept_of_a_value_gets_its_voxels() -> None:
    facts = parse_labels(
        '{"l": {"kind": "semantic", "classes": {"1": "liver tumour"}, "examined": ["liver tumour", "liver"],'
        ' "also": {"1": ["liver"]}, "ignore": [], "foreground": {}}}'
    )["l"]
    stored = np.array([0, 1, 1])
    liver = LabelNumbering(classes=("liver",), layers={"made": "l"})
    both = LabelNumbering(classes=("liver", "liver tumour"), layers={"made": "l"})
    assert liver.renumber(stored, facts).tolist() == [0, 1, 1]
    assert both.renumber(stored, facts).tolist() == [0, 2, 2]
