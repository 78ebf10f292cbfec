"""Training that gives the same bytes twice on the same kind of machine."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def deterministic(seed: int, *, threads: int) -> Iterator[None]:
    """Seed every generator, allow deterministic algorithms only and fix the number of threads, for the block alone.

    The number of threads is fixed because sums over voxels are split by threads: another number gives other last bits.
    The generators and settings of the caller are put back afterwards.
    """
    state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    settings = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(settings[1])
        torch.use_deterministic_algorithms(settings[0])
        random.setstate(state[0])
        np.random.set_state(state[1])
        torch.set_rng_state(state[2])
