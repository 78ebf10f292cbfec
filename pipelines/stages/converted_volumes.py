"""Volumes of many records, where those that share a stack are read with it once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from medshard.converters.canonical import read_volume
from medshard.converters.stacked import read_stacked
from medshard.converters.volume import Volume
from medshard.registry.store.objects import ObjectRef, Store
from medshard.registry.store.records import CaseRecord


@dataclass(frozen=True, kw_only=True)
class VolumePlace:
    """Where a volume lies. row: in its stack; None for one that has its object to itself."""

    output: ObjectRef
    row: int | None = None


def place_of(record: CaseRecord) -> VolumePlace:
    """Of a record of the stage `volumes` that has an output."""
    if record.output is None:
        raise ValueError(record.case)
    return VolumePlace(output=record.output, row=record.facts.get("row"))


def read_converted(store: Store, place: VolumePlace) -> Volume:
    """Raises StoreError as `read_volume` does."""
    return read_volume(store.path(place.output), place.row)


def read_all_converted(store: Store, places: Sequence[VolumePlace]) -> Iterator[Volume]:
    """One volume after the other, in the order of the places."""
    for (output, stacked), some in groupby(places, key=lambda place: (place.output, place.row is not None)):
        folder = store.path(output)
        if stacked:
            yield from read_stacked(folder, [place.row for place in some if place.row is not None])
        else:
            yield from (read_volume(folder) for _ in some)
