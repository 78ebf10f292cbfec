"""Whether a mask looks turned over its image: a suspicion from the voxels, for what no header can show.

The rim of a drawn structure lies where the image changes. An array that was flipped under an unchanged header loses
that, and turned back it finds it again. That is evidence, not proof: the result is a warning and never a repair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from medshard.converters.spooling import release_pages
from medshard.converters.volume import Array, Rescale

# Pairs of voxels across the rim that are looked at, and the fewest that say anything.
MOST_PAIRS = 60_000
FEWEST_PAIRS = 400
# Voxels to either side of the rim with which the step across it is compared.
ASIDE = (-4, -3, 3, 4)
# The step across the rim over the steps beside it: about 1 for a mask placed at random. Turned in one way the mask has
# to look drawn; as it lies it may have a fifth of what this is above 1, and turned in any other way a half.
DRAWN = 1.5


@dataclass(frozen=True, kw_only=True)
class _Rim:
    """Pairs of neighbours of which one is in the mask. first: (n, 3) index (z, y, x). axis: towards the second."""

    first: NDArray[np.int64]
    axis: int


def content_suspicion(image: Array, rescale: Rescale, mask: Array) -> str | None:
    """A sentence when a mask lies on its image as if at random, and turned in one way as if drawn on it.

    image: (c, z, y, x) or (t, c, z, y, x), of which the first channel is looked at; mask: (1, z, y, x) on its grid,
    everything above 0. Flips of the three axes are tried, and where rows and columns are as many, their exchange. Sees
    nothing in structures without contrast, in symmetrical ones, and in fewer than FEWEST_PAIRS voxels of rim.
    """
    volume = image.reshape(-1, *image.shape[-3:])[0]
    rims = _rims(mask[0])
    if sum(len(rim.first) for rim in rims) < FEWEST_PAIRS:
        return None
    as_it_lies = _contrast(volume, rescale, rims, _AS_IT_LIES)
    turns = [turn for turn in _turns(volume.shape) if turn != _AS_IT_LIES]
    # Most masks end here: what looks drawn as it lies need not be turned to see how it would look.
    if as_it_lies >= DRAWN or len(turns) < 2:
        return None
    scores = {turn: _contrast(volume, rescale, rims, turn) for turn in turns}
    best, second = sorted(scores, key=lambda turn: -scores[turn])[:2]
    above = scores[best] - 1
    if scores[best] < DRAWN or as_it_lies > 1 + above / 5 or scores[second] > 1 + above / 2:
        return None
    return (
        f"the mask looks turned over the image ({_named(best)}): across its rim the image changes "
        f"{as_it_lies:.2f} times as much as beside it, turned back {scores[best]:.2f} times; look at the case"
    )


Turn = tuple[tuple[bool, bool, bool], bool]
"""Which of (z, y, x) run backwards, and whether y and x are exchanged before that."""

_AS_IT_LIES: Turn = ((False, False, False), False)


def _turns(shape: Sequence[int]) -> list[Turn]:
    exchanges = (False, True) if shape[1] == shape[2] else (False,)
    backwards = ((False, True) if n > 1 else (False,) for n in shape)
    return [((z, y, x), exchange) for (z, y, x), exchange in product(product(*backwards), exchanges)]


def _rims(mask: Array) -> list[_Rim]:
    """The rim in the planes, evenly thinned out. Planes count by themselves: slices may be far apart."""
    counts = np.zeros((2, mask.shape[0]), np.int64)
    for z, plane in _marked_planes(mask):
        counts[:, z] = [np.count_nonzero(np.diff(plane, axis=axis)) for axis in range(2)]
    ends = counts.cumsum(axis=1)
    kept = np.minimum(ends[:, -1], MOST_PAIRS // 2)
    # A mask of noise has as many pairs as voxels: only those that are kept are ever listed.
    chosen = [np.arange(kept[axis]) * ends[axis, -1] // max(kept[axis], 1) for axis in range(2)]
    found: tuple[list[NDArray[np.int64]], ...] = ([np.empty((0, 3), np.int64)], [np.empty((0, 3), np.int64)])
    for z, plane in _marked_planes(mask):
        for axis, pairs in enumerate(found):
            here = chosen[axis] - (ends[axis, z] - counts[axis, z])
            here = here[(here >= 0) & (here < counts[axis, z])]
            places = np.argwhere(np.diff(plane, axis=axis))[here]
            pairs.append(np.column_stack([np.full(len(places), z), places]))
    return [_Rim(first=np.concatenate(pairs), axis=axis + 1) for axis, pairs in enumerate(found)]


def _marked_planes(mask: Array) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Those of (z, y, x) in which anything is marked."""
    for z in range(mask.shape[0]):
        plane = np.asarray(mask[z]) > 0
        if plane.any():
            yield z, plane
        release_pages(mask)


def _contrast(volume: Array, rescale: Rescale, rims: Sequence[_Rim], turn: Turn) -> float:
    """Mean step across the rim over the mean step beside it; steps are cut off where a twentieth of them are larger."""
    across, beside = [], []
    for rim in rims:
        across.append(_steps(volume, rescale, rim, 0, turn))
        beside += [_steps(volume, rescale, rim, aside, turn) for aside in ASIDE]
    steps, others = np.concatenate(across), np.concatenate(beside)
    known = np.concatenate([steps, others])
    known = known[np.isfinite(known)]
    if not known.size:
        return 1.0
    largest = np.quantile(known, 0.95)
    mean = float(np.nanmean(np.minimum(others, largest)))
    return float(np.nanmean(np.minimum(steps, largest))) / mean if mean > 0 else 1.0


def _steps(volume: Array, rescale: Rescale, rim: _Rim, aside: int, turn: Turn) -> NDArray[np.float64]:
    """How much the image changes between the voxels of each pair, moved aside along the pair; NaN outside of it."""
    flipped, exchanged = turn
    values = []
    for move in (aside, aside + 1):
        places = rim.first.copy()
        places[:, rim.axis] += move
        if exchanged:
            places = places[:, [0, 2, 1]]
        inside = np.asarray(((places >= 0) & (places < volume.shape)).all(axis=1))
        z, y, x = np.where(inside[:, None], places, 0).T
        z, y, x = (n - 1 - i if flip else i for n, i, flip in zip(volume.shape, (z, y, x), flipped, strict=True))
        found = np.asarray(volume[z, y, x], np.float64)
        if rescale.per_slice:
            found = found * _of_slices(rescale.slope, z) + _of_slices(rescale.intercept, z)
        values.append(np.where(inside, found, np.nan))
    return np.abs(values[1] - values[0])


def _of_slices(numbers: tuple[float, ...], z: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(numbers, np.float64)[z if len(numbers) > 1 else np.zeros_like(z)]


def _named(turn: Turn) -> str:
    flipped, exchanged = turn
    backwards = " and ".join(axis for axis, flip in zip("zyx", flipped, strict=True) if flip)
    words = (["rows and columns exchanged"] if exchanged else []) + ([f"{backwards} backwards"] if backwards else [])
    return ", ".join(words)
