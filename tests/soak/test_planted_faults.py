"""Planted geometry faults, many more of each kind than in the daily tests: 99 % are classed right, none passes."""

from __future__ import annotations

import numpy as np
import pytest
from made_grid_faults import FAULTS, FAULTS_OF_OBLIQUE_SCANS, Fault, clinical_grid, oblique_grid

from medshard.converters.grid_verdict import compare_grids

CASES = 2000

pytestmark = pytest.mark.soak


@pytest.mark.parametrize("fault", [*FAULTS, *FAULTS_OF_OBLIQUE_SCANS], ids=lambda fault: fault.name)
def test_a_fault_is_classed_right_and_never_passes_in_silence(fault: Fault) -> None:
    make = oblique_grid if fault in FAULTS_OF_OBLIQUE_SCANS else clinical_grid
    wrong = silent = 0
    for seed in range(10_000, 10_000 + CASES):
        random = np.random.default_rng(seed)
        image = make(random)
        mask = fault.plant(image, random)
        kind = compare_grids(image.shape, image.affine, mask.shape, mask.affine).kind
        wrong += kind != fault.kind
        silent += kind == "same" and fault.kind != "same"
    assert silent == 0
    assert wrong <= CASES // 100
