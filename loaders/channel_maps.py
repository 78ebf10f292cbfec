"""Which stored channel becomes which channel of an item, entry by entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from medshard.errors import CaseError, CatalogError
from medshard.loaders.shard_reader import SampleIndex

Asked = Sequence[str | int | None]
CULPRITS_SHOWN = 8


def map_channels(
    indices: Sequence[SampleIndex],
    rows: Sequence[NDArray[np.int64]],
    asked: Asked | Mapping[str, Asked],
) -> dict[str, tuple[int | None, ...]]:
    """entry -> number of the stored channel for each channel of an item; None for one that is missing.

    rows: of each index, the samples that are used. asked: for all entries, or for each; names are those of the plan.
    Raises CatalogError[dataset.channels] for what no plan has or for entries that get different numbers of channels,
    and CaseError[dataset.channels] for samples that lack a channel.
    """
    mapped = {}
    for index, numbers in zip(indices, rows, strict=True):
        if isinstance(asked, Mapping) and index.entry not in asked:
            raise _refused(index.entry, "`channels` says nothing of this entry", {"entries": ", ".join(asked)})
        wanted = asked[index.entry] if isinstance(asked, Mapping) else asked
        mapped[index.entry] = tuple(_number_of(index, channel) for channel in wanted)
        _check_samples(index, numbers, wanted, mapped[index.entry])
    if len({len(channels) for channels in mapped.values()}) > 1 or not all(mapped.values()):
        counts = {entry: len(channels) for entry, channels in mapped.items()}
        raise _refused(", ".join(mapped), "all items of a batch have equally many channels, at least one", counts)
    return mapped


def _number_of(index: SampleIndex, channel: str | int | None) -> int | None:
    if channel is None or isinstance(channel, int):
        return channel
    if channel not in index.plan.channels:
        names = ", ".join(index.plan.channels)
        raise _refused(index.entry, f"the plan {index.plan.name!r} has no channel {channel!r}", {"channels": names})
    return index.plan.channels.index(channel)


def _check_samples(index: SampleIndex, rows: NDArray[np.int64], wanted: Asked, numbers: Sequence[int | None]) -> None:
    stored = np.asarray(index.column("channels"), np.int64)[rows]
    found = [number for number in numbers if number is not None]
    fits = (stored > max(found, default=-1)) & (min(found, default=0) >= 0)
    if any(isinstance(channel, str) for channel in wanted):
        # An image may hold several channels; then the names of images do not say which is which.
        fits &= stored == len(index.plan.channels)
    if fits.all():
        return
    culprits = {
        index.row(int(row)).name: f"{count} channels"
        for row, count in zip(rows[~fits][:CULPRITS_SHOWN], stored[~fits].tolist(), strict=False)
    }
    raise CaseError(
        "dataset.channels",
        where=index.entry,
        problem=f"{int((~fits).sum())} samples do not have the channels that are asked for",
        details={"asked for": wanted, "plan": ", ".join(index.plan.channels), **culprits},
        action="Name channels by number, 0 the first, or leave these cases out.",
    )


def _refused(where: str, problem: str, details: Mapping[str, object]) -> CatalogError:
    return CatalogError("dataset.channels", where=where, problem=problem, details=dict(details))
