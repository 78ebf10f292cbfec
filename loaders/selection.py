"""Which samples a data set is made of, and why the others are left out.

Everything is asked of whole columns of the index; nothing is kept for a case but a number.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from medshard.errors import CaseError, CatalogError, SplitError
from medshard.loaders.label_numbering import LabelNumbering
from medshard.loaders.needs import Need
from medshard.loaders.sample_row import parse_labels
from medshard.loaders.shard_reader import SampleIndex
from medshard.registry.splits import SplitRow, read_split
from medshard.registry.store import read_manifest
from medshard.registry.store.objects import ObjectRef, Store

CaseName = tuple[str, str]  # (entry, case)
Mask = NDArray[np.bool_]
CULPRITS_SHOWN = 8

_USED, _NOT_ASKED_FOR = -1, -2
_TOLD = pa.schema({"case": pa.string(), "patient": pa.string()})


@dataclass(frozen=True)
class LeftOut:
    """A case that was asked for and is not in the data set."""

    entry: str
    case: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """What a sample has to be; None asks for nothing.

    images: whether it needs an image; all images then have equally many channels.
    modalities, groups: names, of which it has one. labelled: whether it has the label layer that is read.
    synthetic: whether a program made it. held_out: the samples are to be scored on, so a synthetic one is an error.
    purpose: what its case has to be fit for, a `Purpose`.
    needs: what else it must have, such as `HasArray("signals/ecg")`.
    where: SampleIndex -> bool (samples,), for anything else: `lambda index: index.column("slope") == 1`.
    """

    images: bool = True
    modalities: Collection[str] | None = None
    groups: Collection[str] | None = None
    labelled: bool | None = None
    synthetic: bool | None = None
    held_out: bool = False
    purpose: str | None = None
    needs: tuple[Need, ...] = ()
    where: Callable[[SampleIndex], Mask] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """rows: for each index, the numbers of the rows that are used, ascending."""

    rows: tuple[NDArray[np.int64], ...]
    _indices: tuple[SampleIndex, ...]
    _reasons: tuple[tuple[NDArray[np.int8], tuple[str, ...]], ...]
    _missing: tuple[tuple[str, ...], ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(map(len, self.rows))

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """Made when it is asked for: entry by entry, those without a sample behind the others."""
        found: list[LeftOut] = []
        for index, (codes, reasons), missing in zip(self._indices, self._reasons, self._missing, strict=True):
            numbers = np.flatnonzero(codes >= 0)
            cases = index.table["case"].take(pa.array(numbers)).to_pylist()
            found += [
                LeftOut(index.entry, case, reasons[code])
                for case, code in zip(cases, codes[numbers].tolist(), strict=True)
            ]
            why = f"plan {index.plan.name!r} has no sample of it"
            found += [LeftOut(index.entry, case, why) for case in missing]
        return tuple(found)

    def column(self, name: str) -> list[NDArray[Any]]:
        """For each index a column of the used rows, such as `modality` for `mix(..., groups=...)`."""
        return [np.asarray(index.column(name))[rows] for index, rows in zip(self._indices, self.rows, strict=True)]


def read_part(
    store: Store,
    split: ObjectRef | str | Path,
    part: str,
    fold: int | None = None,
    *,
    indices: Sequence[SampleIndex] = (),
) -> set[CaseName]:
    """The (entry, case) pairs of one part of a split, in one fold of it where one is given.

    split: its name, its digest, its object or the path of its table. indices: of the shards that are read by it.
    Raises SplitError when it cannot be read, leaks, has no such part or fold, or, in whatever part, names another
    patient for a case than the shards do.
    """
    table = read_split(store, split)
    chosen = {row.name for row in table.rows_of(part, fold)}
    rows_of: dict[str, list[SplitRow]] = {index.entry: [] for index in indices}
    for row in table.rows:
        if row.entry in rows_of:
            rows_of[row.entry].append(row)
    for index in indices:
        _check_patients(index, rows_of[index.entry])
    return chosen


def select_samples(
    indices: Sequence[SampleIndex],
    wanted: Collection[CaseName] | None,
    criteria: Criteria | None = None,
    *,
    numbering: LabelNumbering | None = None,
) -> Selection:
    """The samples of the wanted cases (all, if None) that meet the criteria, and why the other wanted ones do not.

    numbering: which layer `criteria.labelled` means.
    Raises CaseError[dataset.channels] when the images have different numbers of channels, CatalogError[dataset.empty]
    when nothing remains, and SplitError[split.synthetic] for a synthetic sample that is held out.
    """
    criteria = criteria or Criteria()
    names_of: dict[str, list[str]] = {index.entry: [] for index in indices}
    for entry, case in wanted or ():
        if entry in names_of:
            names_of[entry].append(case)
    judged = [
        _judge(index, None if wanted is None else names_of[index.entry], criteria, numbering) for index in indices
    ]
    selection = Selection(
        rows=tuple(np.flatnonzero(codes == _USED) for codes, _, _ in judged),
        _indices=tuple(indices),
        _reasons=tuple((codes, reasons) for codes, reasons, _ in judged),
        _missing=tuple(missing for _, _, missing in judged),
    )
    if criteria.images:
        _check_channels(indices, selection)
    if not any(selection.sizes):
        raise CatalogError(
            "dataset.empty",
            where=", ".join(index.entry for index in indices),
            problem="no sample is left to load",
            details={f"{case.entry}/{case.case}": case.reason for case in selection.left_out[:CULPRITS_SHOWN]},
        )
    return selection


def _judge(
    index: SampleIndex, names: list[str] | None, criteria: Criteria, numbering: LabelNumbering | None
) -> tuple[NDArray[np.int8], tuple[str, ...], tuple[str, ...]]:
    """(code of each row: `_USED`, `_NOT_ASKED_FOR` or the number of a reason; the reasons; names without a row)."""
    cases = index.table["case"]
    codes = np.full(len(index), _USED, np.int8)
    missing: tuple[str, ...] = ()
    if names is not None:
        asked = pa.array(sorted(names), pa.string())
        codes[~_mask(pc.is_in(cases, value_set=asked))] = _NOT_ASKED_FOR
        missing = tuple(asked.filter(pc.invert(pc.is_in(asked, value_set=cases.combine_chunks()))).to_pylist())
    reasons: list[str] = []
    for reason, meets in _tests(index, criteria, numbering):
        codes[(codes == _USED) & ~meets()] = len(reasons)
        reasons.append(reason)
    if criteria.held_out:
        _check_real(index, codes)
    return codes, tuple(reasons), missing


def _tests(
    index: SampleIndex, criteria: Criteria, numbering: LabelNumbering | None
) -> list[tuple[str, Callable[[], Mask]]]:
    """(why a sample is left out, which samples meet it) of everything that is asked for."""
    tests: list[tuple[str, Callable[[], Mask]]] = []
    if criteria.images:
        tests.append(("the sample has no image", lambda: np.asarray(index.column("channels")) > 0))
    for name, words in (("modality", criteria.modalities), ("group", criteria.groups)):
        if words is not None:
            asked = f"its {name} is not {' or '.join(sorted(words))}"
            tests.append((asked, partial(_is_one_of, index, name, words)))
    if criteria.synthetic is not None:
        asked = "a program made it" if not criteria.synthetic else "no program made it"
        tests.append((asked, lambda: np.asarray(index.column("synthetic"), np.bool_) == criteria.synthetic))
    if criteria.labelled is not None:
        asked = "it has no label layer that is read" if criteria.labelled else "it is labelled"
        tests.append((asked, lambda: _has_label(index, numbering) == criteria.labelled))
    if criteria.purpose is not None:
        tests.append((f"not fit for the purpose {criteria.purpose}", lambda: _is_fit(index, str(criteria.purpose))))
    tests += [(f"it has no {need}", partial(need.in_index, index)) for need in criteria.needs]
    if criteria.where is not None:
        tests.append(("`where` says no", lambda: _answer(index, criteria.where)))
    return tests


def _is_one_of(index: SampleIndex, name: str, words: Collection[str]) -> Mask:
    codes, known = index.distinct(name)
    mask: Mask = np.array([word in words for word in known] + [False])[codes]
    return mask


def _has_label(index: SampleIndex, numbering: LabelNumbering | None) -> Mask:
    layer = numbering.layers.get(index.entry) if numbering is not None else None
    codes, texts = index.distinct("labels")
    has_layer = np.array(
        [layer in parse_labels(text) if layer else bool(parse_labels(text)) for text in texts] + [False]
    )
    answers: Mask = has_layer[codes]
    return answers


def _is_fit(index: SampleIndex, purpose: str) -> Mask:
    if not isinstance(index.store, Store):
        raise CatalogError(
            "dataset.purpose",
            where=index.entry,
            problem="verdicts on purposes are in the manifests of a local store only",
            action="Give the cases, or a split that was made of the fit ones.",
        )
    unfit = [
        record.case for record in read_manifest(index.store, index.head.manifest).records if not record.fit_for(purpose)
    ]
    return ~_mask(pc.is_in(index.table["case"], value_set=pa.array(unfit, pa.string())))


def _answer(index: SampleIndex, where: Callable[[SampleIndex], Mask] | None) -> Mask:
    answers = np.asarray(where(index)) if where is not None else np.ones(len(index), np.bool_)
    if answers.shape != (len(index),) or answers.dtype != np.bool_:
        raise CatalogError(
            "dataset.where",
            where=index.entry,
            problem="`where` does not give one truth value for each sample",
            details={"expected": f"bool ({len(index)},)", "found": f"{answers.dtype} {answers.shape}"},
        )
    return answers


def _check_real(index: SampleIndex, codes: NDArray[np.int8]) -> None:
    made = np.flatnonzero((codes == _USED) & np.asarray(index.column("synthetic"), np.bool_))
    if len(made):
        cases = index.table["case"].take(pa.array(made[:CULPRITS_SHOWN])).to_pylist()
        raise SplitError(
            "split.synthetic",
            where=index.entry,
            problem="cases that a program made are held out; scores on them say nothing of patients",
            details={"cases": _some(cases, len(made))},
            action="Make the split again with `medshard split make`; it keeps them in train.",
        )


def _check_patients(index: SampleIndex, rows: Sequence[SplitRow]) -> None:
    """Raise SplitError[split.other_patient] when a row names another patient than the sample of its case."""
    told = pa.table({"case": [row.case for row in rows], "patient": [row.patient for row in rows]}, _TOLD)
    places = pc.index_in(told["case"], value_set=index.table["case"].combine_chunks())
    sharded = pc.is_valid(places)
    told, found = told.filter(sharded), index.table["patient"].take(places.filter(sharded))
    wrong = np.flatnonzero(_mask(pc.not_equal(told["patient"], found)))
    if len(wrong):
        shown = pa.array(wrong[:CULPRITS_SHOWN])
        pairs = zip(told.take(shown).to_pylist(), found.take(shown).to_pylist(), strict=True)
        raise SplitError(
            "split.other_patient",
            where=index.entry,
            problem=f"the split and the shards name different patients for {len(wrong)} cases",
            details={row["case"]: f"{row['patient']} in the split, {patient} in the shards" for row, patient in pairs},
            action="Make the split again from the current cases; build the shards again where these are the older.",
        )


def _check_channels(indices: Sequence[SampleIndex], selection: Selection) -> None:
    channels = selection.column("channels")
    numbers, counts = np.unique(np.concatenate([column.astype(np.int64) for column in channels]), return_counts=True)
    if len(numbers) <= 1:
        return
    most_common = int(numbers[np.argmax(counts)])
    culprits: dict[int, list[str]] = {}
    for index, rows, column in zip(indices, selection.rows, channels, strict=True):
        for number in np.unique(column[column != most_common]).tolist():
            found = rows[column == number][:CULPRITS_SHOWN]
            cases = index.table["case"].take(pa.array(found)).to_pylist()
            culprits.setdefault(number, []).extend(f"{index.entry}/{case}" for case in cases)
    count_of = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
    raise CaseError(
        "dataset.channels",
        where=", ".join(sorted({name.split("/", 1)[0] for names in culprits.values() for name in names})),
        problem="the images have different numbers of channels and cannot be in one batch",
        details={
            f"{most_common} channels": f"{count_of[most_common]} samples",
            **{f"{number} channels": _some(names, count_of[number]) for number, names in sorted(culprits.items())},
        },
        action="Give `cases` or `entries` without these, or a plan whose channels all entries have.",
    )


def _some(names: Sequence[str], count: int) -> str:
    shown = names[:CULPRITS_SHOWN]
    return ", ".join(shown) + (f" and {count - len(shown)} more" if count > len(shown) else "")


def _mask(answers: Any) -> Mask:
    mask: Mask = np.asarray(
        answers.to_numpy(zero_copy_only=False) if isinstance(answers, pa.Array) else answers.to_numpy()
    )
    return mask
