"""Which samples are used, and what is said of the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medshard.converters.plan import Plan
from medshard.converters.samples import Sample
from medshard.errors import CaseError, CatalogError, SplitError
from medshard.loaders.label_numbering import number_labels
from medshard.loaders.mixture import MixtureRule, mix
from medshard.loaders.selection import Criteria, LeftOut, read_part, select_samples
from medshard.loaders.shard_reader import SampleIndex
from medshard.registry.splits import Making, Split, SplitRow, save_split
from medshard.registry.store import CaseRecord, Head, Manifest, Store, publish_manifest, swap_head

Publish = Callable[[Store, Plan, Sequence[Sequence[Sample]]], Head]


@pytest.fixture(scope="module")
def indices(shard_store: Store) -> list[SampleIndex]:
    return [SampleIndex.open(shard_store, entry) for entry in ("brains", "slices", "noises")]


def chosen(indices: list[SampleIndex], criteria: Criteria | None = None, **options: Any) -> list[str]:
    selection = select_samples(indices, options.pop("wanted", None), criteria, **options)
    return [index.row(int(number)).case for index, rows in zip(indices, selection.rows, strict=True) for number in rows]


def test_by_default_everything_with_an_image_is_used(indices: list[SampleIndex]) -> None:
    selection = select_samples(indices, None)
    assert selection.sizes == (3, 1, 2)
    assert selection.left_out == (LeftOut("noises", "tooth", "the sample has no image"),)
    assert "tooth" in chosen(indices, Criteria(images=False))


def test_named_cases_are_used_or_said_to_be_missing(indices: list[SampleIndex]) -> None:
    wanted = [("brains", "case/b"), ("noises", "tooth"), ("slices", "none"), ("elsewhere", "x")]
    selection = select_samples(indices, wanted)
    assert [rows.tolist() for rows in selection.rows] == [[1], [], []]
    assert selection.left_out == (
        LeftOut("slices", "none", "plan 'default' has no sample of it"),
        LeftOut("noises", "tooth", "the sample has no image"),
    )


def test_criteria_are_asked_of_whole_columns(indices: list[SampleIndex]) -> None:
    assert chosen(indices, Criteria(modalities=["MR"])) == ["case/a", "case/b", "case/c"]
    assert chosen(indices, Criteria(modalities=["CT"])) == ["small", "one", "two"]
    numbering = number_labels(indices, None, None)
    assert chosen(indices, Criteria(labelled=False), numbering=numbering) == ["small"]
    assert "small" not in chosen(indices, Criteria(labelled=True), numbering=numbering)
    assert chosen(indices, Criteria(synthetic=False)) == chosen(indices)
    large = Criteria(where=lambda index: np.asarray(index.column("shape"))[:, 0] > 35)
    assert chosen(indices, large) == ["case/b", "case/c", "one", "two"]
    left_out = select_samples(indices, None, Criteria(modalities=["MR"])).left_out
    assert LeftOut("slices", "small", "its modality is not MR") in left_out


def test_nothing_left_is_an_error_that_says_why(indices: list[SampleIndex]) -> None:
    with pytest.raises(CatalogError, match=r"dataset\.empty(.|\n)*its modality is not US"):
        select_samples(indices, None, Criteria(modalities=["US"]))
    with pytest.raises(CatalogError, match=r"dataset\.where"):
        select_samples(indices, None, Criteria(where=lambda index: np.ones(len(index))))  # type: ignore[arg-type, return-value]


def test_columns_of_the_used_samples_make_the_groups_of_a_mixture(indices: list[SampleIndex]) -> None:
    selection = select_samples(indices, None)
    entries = [index.entry for index in indices]
    mixture = mix(
        entries, selection.sizes, MixtureRule(weights={"CT": 3, "MR": 1}), groups=selection.column("modality")
    )
    assert mixture.entry_shares() == pytest.approx({"brains": 0.25, "slices": 0.25, "noises": 0.5})


@pytest.fixture
def few(tmp_path: Path, publish: Publish, make_plan: Any, sample_makers: Any) -> Store:
    """Three cases of one entry, of which one is made by a program, and one of two channels in another."""
    store = Store.open(tmp_path / "store")
    noise = sample_makers["noise"]
    samples = [noise("real"), replace(noise("made"), synthetic=True), noise("third")]
    publish(store, make_plan("noises"), [samples])
    publish(store, make_plan("doubles"), [[replace(noise("double", channels=2), entry="doubles")]])
    return store


def test_a_synthetic_sample_is_never_held_out(few: Store) -> None:
    index = SampleIndex.open(few, "noises")
    assert chosen([index], Criteria(synthetic=True)) == ["made"]
    assert chosen([index], Criteria(synthetic=False)) == ["real", "third"]
    assert chosen([index], Criteria(held_out=True, synthetic=False)) == ["real", "third"]
    with pytest.raises(SplitError, match=r"split\.synthetic(.|\n)*made"):
        select_samples([index], None, Criteria(held_out=True))


def test_different_numbers_of_channels_are_no_batch(few: Store) -> None:
    both = [SampleIndex.open(few, entry) for entry in ("noises", "doubles")]
    with pytest.raises(CaseError, match=r"dataset\.channels(.|\n)*2 channels +doubles/double"):
        select_samples(both, None)
    assert chosen(both, Criteria(images=False)) == ["made", "real", "third", "double"]


def test_cases_may_have_to_be_fit_for_a_purpose(few: Store) -> None:
    head = SampleIndex.open(few, "noises").head
    records = tuple(
        CaseRecord(stage="shards", entry="noises", case=case, key=case, code_version="1", verdicts=verdicts)
        for case, verdicts in (("real", {"evaluation": ["label.rater"]}), ("third", {"evaluation": []}))
    )
    manifest = Manifest(stage="shards", entry="noises", code_version="1", records=records)
    swap_head(few, "noises", "shards", replace(head, manifest=publish_manifest(few, manifest)), "default")
    index = SampleIndex.open(few, "noises")
    assert chosen([index], Criteria(purpose="evaluation")) == ["made", "third"]
    assert chosen([index], Criteria(purpose="pretraining")) == ["made", "real", "third"]


def split_of(parts: dict[str, tuple[str, int | None]]) -> Split:
    rows = [
        SplitRow(entry="brains", case=case, patient=case, component=case, part=part, fold=fold)  # type: ignore[arg-type]
        for case, (part, fold) in parts.items()
    ]
    return Split(tuple(rows), making=Making(folds=2))


def test_parts_and_folds_are_read_by_name_digest_and_path(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    split = split_of({"case/a": ("train", 0), "case/b": ("train", 1), "case/c": ("test", None)})
    save_split(store, "mine", split, {})
    table = tmp_path / "table.jsonl"
    table.write_bytes(split.to_bytes())
    for named in ("mine", split.digest, split.digest[:12], table, str(table)):
        assert read_part(store, named, "test") == {("brains", "case/c")}
        assert read_part(store, named, "train", fold=1) == {("brains", "case/a")}
        assert read_part(store, named, "val", fold=1) == {("brains", "case/b")}
    with pytest.raises(SplitError, match=r"split\.part"):
        read_part(store, "mine", "val")
    with pytest.raises(SplitError, match=r"split\.fold"):
        read_part(store, "mine", "val", fold=2)
    with pytest.raises(SplitError, match=r"split\.unknown"):
        read_part(store, "another", "val")
