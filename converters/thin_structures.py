"""Structures a few voxels wide on a coarser grid: the volume of a vessel is kept, and what was one piece stays one.

A vote of linear weights loses them: of a tube one voxel across, halved, it keeps a quarter of the volume, in pieces.
Here branches keep a line of voxels, pieces of what was one component are joined, and the voxels with the largest shares
are taken until the volume is reached (docs/resampling.md has figures).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import csgraph

from medshard.converters.axis_matrices import AxisMatrices, AxisMatrix, Floats, Shape, nearest_samples
from medshard.converters.volume import Affine
from medshard.registry.concepts import load_concepts

Marked = NDArray[np.bool_]
Numbers = NDArray[np.integer[Any]]

TOUCHING = np.ones((3, 3, 3), np.bool_)
# Rounding of float32 weights must not decide what is half.
HALF = 0.5 - 1e-5
# Half of the 26 neighbours: each pair of voxels is met once.
_NEIGHBOURS = [step for step in product((-1, 0, 1), repeat=3) if step > (0, 0, 0)]


@cache
def thin_concepts() -> frozenset[str]:
    """Names of the concepts of the public vocabulary that are a few voxels wide."""
    return frozenset(name for name, concept in load_concepts().concepts.items() if concept.thin)


def thin_voxels(share: Floats, owner: Numbers, volume: float) -> Marked:
    """Which voxels of a new grid a thin structure gets, `(z, y, x)`.

    share: of the structure in each voxel. owner: number of the component whose voxels lie in it, 0 where none does.
    volume: to be reached, in voxels of the new grid.

    1. Voxels that it fills by half or more, the fullest first, up to the volume.
    2. Where it touches voxels and none beside them is taken: of those the fullest, so that no branch is lost.
    3. What joins pieces of one component: a spanning tree of the touched voxels, the fuller the better.
    4. If the volume is not reached: the fullest of the rest. Where 2 and 3 exceed it, it is exceeded.
    """
    wanted = max(1, round(volume))
    taken = _fullest(share, share >= HALF, wanted)
    taken |= _branches(taken, owner, share)
    taken |= _bridges(taken, owner, share)
    missing = wanted - int(np.count_nonzero(taken))
    if missing > 0:
        taken |= _fullest(share, (share > 0.0) & ~taken, missing)
        taken |= _bridges(taken, owner, share)
    return taken


def _fullest(share: Floats, among: Marked, count: int) -> Marked:
    """The `count` largest shares; of equal ones the first."""
    places = np.flatnonzero(among)
    chosen = np.zeros(share.shape, np.bool_)
    chosen.ravel()[places[np.argsort(-share.ravel()[places], kind="stable")[:count]]] = True
    return chosen


def _branches(taken: Marked, owner: Numbers, share: Floats) -> Marked:
    """Voxels no two of which touch, such that every voxel with an owner is beside one of them or of the taken ones."""
    covered = taken
    for axis in range(3):
        covered = ndimage.maximum_filter1d(covered, 3, axis=axis, mode="constant")
    left = np.pad((owner > 0) & ~covered, 1)
    rank = np.zeros(left.shape, np.int64)
    places = np.flatnonzero(left)
    # Equal shares are taken in scrambled order: along a straight vessel the first would wait for one another.
    order = np.lexsort((places * 2654435761 % (1 << 32), np.pad(share, 1).ravel()[places]))
    flat = rank.ravel()
    flat[places[order]] = np.arange(1, len(places) + 1)
    plane, row = left.shape[1] * left.shape[2], left.shape[2]
    around = [z * plane + y * row + x for z, y, x in product((-1, 0, 1), repeat=3) if (z, y, x) != (0, 0, 0)]
    chosen = np.zeros(left.shape, np.bool_)
    while len(places):
        best = np.max([flat[places + step] for step in around], axis=0)
        won = places[flat[places] > best]
        chosen.ravel()[won] = True
        flat[won] = 0
        for step in around:
            flat[won + step] = 0
        places = places[flat[places] > 0]
    return chosen[1:-1, 1:-1, 1:-1]


def touched_by(components: Numbers, matrices: AxisMatrices) -> Numbers:
    """The number of a component `(z, y, x)` in every voxel of the new grid that one of its voxels lies in.

    Where several do it is the largest. Along axes that get finer each new voxel takes over the nearest.
    """
    found = components
    for axis, matrix in enumerate(matrices):
        if matrix is not None:
            found = _touched_along(found, matrix, axis)
    return found


def touched_by_turned(components: Numbers, index_map: Affine, shape_out: Shape) -> Numbers:
    """The same on a grid whose axes are turned: points as dense as the finer of the two grids go to their voxels."""
    places = np.argwhere(components)
    dense = max(1, math.ceil(1.0 / float(np.linalg.norm(index_map[:3, :3], axis=0).min())))
    parts = (np.arange(dense) + 0.5) / dense - 0.5
    to_grid = np.linalg.inv(index_map)
    out = np.zeros(shape_out, components.dtype)
    for shift in product(parts, repeat=3):
        found = np.floor((places + shift) @ to_grid[:3, :3].T + to_grid[:3, 3] + 0.5).astype(np.intp)
        inside = np.all((found >= 0) & (found < shape_out), axis=1)
        np.maximum.at(out, tuple(found[inside].T), components[tuple(places[inside].T)])
    return out


def _touched_along(numbers: Numbers, matrix: AxisMatrix, axis: int) -> Numbers:
    source = np.moveaxis(numbers, axis, 0)
    out = np.zeros((matrix.n_out, *source.shape[1:]), numbers.dtype)
    inside = np.flatnonzero(~matrix.outside)
    centres = matrix.centres[inside]
    nearest = nearest_samples(matrix.n_in, centres)
    out[inside] = source[nearest]
    if len(inside) > 1 and abs(centres[-1] - centres[0]) > len(inside) - 1:
        # Coarser: every sample goes into the voxel whose centre is nearest.
        first, step = centres[0], (centres[-1] - centres[0]) / (len(inside) - 1)
        into = np.floor((np.arange(matrix.n_in) - first) / step + 0.5).astype(np.intp)
        for sample in np.flatnonzero((into >= 0) & (into < len(inside))):
            np.maximum(out[inside[into[sample]]], source[sample], out=out[inside[into[sample]]])
    return np.moveaxis(out, 0, axis)


def _bridges(taken: Marked, owner: Numbers, share: Floats) -> Marked:
    """The touched voxels that join pieces of one component: what a spanning tree of largest shares needs for it."""
    pieces, count = ndimage.label(taken, TOUCHING)
    free = (owner > 0) & ~taken
    joined = np.zeros(taken.shape, np.bool_)
    if count <= 1 or not free.any():
        return joined
    nodes = pieces.astype(np.int64)
    nodes[free] = np.arange(count + 1, count + 1 + np.count_nonzero(free))
    edges = list(_edges(nodes, owner, share, free))
    tails, heads, costs = (np.concatenate(part) for part in zip(*edges, strict=True))
    size = int(nodes.max()) + 1
    tree = csgraph.minimum_spanning_tree(_cheapest(tails, heads, costs, size)).tocoo()
    needed = _without_dead_ends(tree.row, tree.col, size, count)
    joined[free] = needed[nodes[free]]
    return joined


def _edges(nodes: Numbers, owner: Numbers, share: Floats, free: Marked) -> Iterable[tuple[Numbers, Numbers, Floats]]:
    """Pairs of touching voxels of one component, not both taken, and what it costs to go there."""
    for step in _NEIGHBOURS:
        here = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(step, nodes.shape, strict=True))
        there = tuple(slice(max(0, s), n + min(0, s)) for s, n in zip(step, nodes.shape, strict=True))
        linked = (owner[here] == owner[there]) & (owner[here] > 0) & (nodes[here] != nodes[there])
        linked &= free[here] | free[there]
        length = 1.0 + 1e-3 * (abs(step[0]) + abs(step[1]) + abs(step[2]))
        cost = np.maximum(free[here] * (1.0 - share[here]), free[there] * (1.0 - share[there]))
        yield nodes[here][linked], nodes[there][linked], (length + cost[linked]).astype(np.float32)


def _cheapest(tails: Numbers, heads: Numbers, costs: Floats, size: int) -> Any:
    """The graph with the cheapest edge of every pair."""
    low, high = np.minimum(tails, heads), np.maximum(tails, heads)
    order = np.lexsort((costs, high, low))
    low, high, costs = low[order], high[order], costs[order]
    first = np.ones(len(low), np.bool_)
    first[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    return sparse.csr_array((costs[first], (low[first], high[first])), shape=(size, size))


def _without_dead_ends(tails: Numbers, heads: Numbers, size: int, pieces: int) -> Marked:
    """Which nodes of a forest lie between two of its first `pieces` nodes (numbered from 1)."""
    kept = np.ones(len(tails), np.bool_)
    while True:
        degree = np.bincount(tails[kept], minlength=size) + np.bincount(heads[kept], minlength=size)
        end = (degree == 1) & (np.arange(size) > pieces)
        dead = kept & (end[tails] | end[heads])
        if not dead.any():
            return degree > 0
        kept &= ~dead
