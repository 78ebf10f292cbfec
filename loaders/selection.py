"""Which samples a data set is made of, and why the others are left out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medshard.errors import CaseError, CatalogError, SplitError
from medshard.loaders.shard_reader import SampleIndex
from medshard.registry.splits import Split
from medshard.registry.store.objects import ObjectRef, Store

CaseName = tuple[str, str]  # (entry, case)
CULPRITS_SHOWN = 8


@dataclass(frozen=True)
class LeftOut:
    """A case that was asked for and is not in the data set."""

    entry: str
    case: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Selection:
    """rows: for each index, the numbers of the rows that are used, ascending."""

    rows: tuple[NDArray[np.int64], ...]
    left_out: tuple[LeftOut, ...]


def read_part(store: Store, split: ObjectRef | str | Path, part: str) -> set[CaseName]:
    """The (entry, case) pairs of one part of a split, which is named by its object or by the path of its table.

    Raises SplitError when the table cannot be read, or has no such part.
    """
    path = store.path(split) if isinstance(split, ObjectRef) else Path(split)
    try:
        rows = Split.from_bytes(path.read_bytes()).rows
    except (OSError, ValueError, TypeError) as error:
        raise SplitError(
            "split.unreadable",
            where=str(path),
            problem="this is not a split table",
            details={"expected": "one JSON object per line with entry, case, patient, component, part", "found": error},
        ) from error
    chosen = {(row.entry, row.case) for row in rows if row.part == part}
    if not chosen:
        raise SplitError(
            "split.part",
            where=str(path),
            problem=f"the split has no part {part!r}",
            details={"parts": ", ".join(sorted({row.part for row in rows}))},
        )
    return chosen


def select_samples(indices: Sequence[SampleIndex], wanted: Collection[CaseName] | None) -> Selection:
    """The samples with an image, of the wanted cases (all, if None), and why the other wanted ones are left out.

    Raises CaseError[dataset.channels] when their numbers of channels differ, and CatalogError[dataset.empty] when
    nothing remains.
    """
    wanted_of: dict[str, set[str]] = {index.entry: set() for index in indices}
    for entry, case in wanted or ():
        if entry in wanted_of:
            wanted_of[entry].add(case)
    rows: list[NDArray[np.int64]] = []
    left_out: list[LeftOut] = []
    channels_of: dict[int, list[str]] = {}
    for index in indices:
        kept = []
        channels = index.table["channels"].to_numpy()
        for number, case in enumerate(index.cases):
            if wanted is not None and case not in wanted_of[index.entry]:
                continue
            wanted_of[index.entry].discard(case)
            if channels[number] == 0:
                left_out.append(LeftOut(index.entry, case, "the sample has no image"))
                continue
            kept.append(number)
            channels_of.setdefault(int(channels[number]), []).append(f"{index.entry}/{case}")
        rows.append(np.asarray(kept, np.int64))
        missing = sorted(wanted_of[index.entry])
        left_out += [LeftOut(index.entry, case, f"plan {index.plan.name!r} has no sample of it") for case in missing]
    _check_channels(channels_of)
    if not channels_of:
        raise CatalogError(
            "dataset.empty",
            where=", ".join(index.entry for index in indices),
            problem="no sample is left to load",
            details={f"{case.entry}/{case.case}": case.reason for case in left_out[:CULPRITS_SHOWN]},
        )
    return Selection(rows=tuple(rows), left_out=tuple(left_out))


def _check_channels(channels_of: Mapping[int, list[str]]) -> None:
    if len(channels_of) <= 1:
        return
    most_common = max(channels_of, key=lambda channels: len(channels_of[channels]))
    culprits = {
        f"{channels} channels": _some(names)
        for channels, names in sorted(channels_of.items())
        if channels != most_common
    }
    raise CaseError(
        "dataset.channels",
        where=", ".join(sorted({name.split("/", 1)[0] for names in channels_of.values() for name in names})),
        problem="the images have different numbers of channels and cannot be in one batch",
        details={f"{most_common} channels": f"{len(channels_of[most_common])} samples", **culprits},
        action="Give `cases` or `entries` without these, or a plan whose channels all entries have.",
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - CULPRITS_SHOWN} more" if len(names) > CULPRITS_SHOWN else ""
    return ", ".join(names[:CULPRITS_SHOWN]) + more
