"""Items as tensors, and transforms that are repeatable."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

Item = dict[str, Any]


def as_tensors(item: Item) -> Item:
    """The item with tensors for its arrays, which share their memory; rows and meshes, too."""
    return {key: _as_tensor(value) for key, value in item.items()}


def _as_tensor(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    if isinstance(value, np.bool_):
        return torch.tensor(bool(value))
    return as_tensors(value) if isinstance(value, dict) else value


def transformed(item: Item, transform: Callable[[Item], Item], seed: int) -> Item:
    """What the transform makes of the item, the same for every call with this seed, whatever ran before."""
    set_random_state = getattr(transform, "set_random_state", None)
    if set_random_state is not None:
        set_random_state(seed=seed)
        return transform(item)
    with _seeded(seed):
        return transform(item)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """torch's, numpy's and Python's own random numbers begin at the seed, and go on afterwards as if nothing was."""
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])
        random.setstate(before[2])
