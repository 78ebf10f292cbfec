"""Planted geometry faults: every kind on fifty clinical grids, each classed right and none passed in silence."""

from __future__ import annotations

import numpy as np
import pytest
from made_grid_faults import FAULTS, FAULTS_OF_OBLIQUE_SCANS, Fault, clinical_grid, oblique_grid

from medshard.converters.grid_verdict import compare_grids

CASES = 50


@pytest.mark.parametrize("fault", [*FAULTS, *FAULTS_OF_OBLIQUE_SCANS], ids=lambda fault: fault.name)
def test_every_case_of_a_fault_has_the_verdict_that_it_deserves(fault: Fault) -> None:
    make = oblique_grid if fault in FAULTS_OF_OBLIQUE_SCANS else clinical_grid
    wrong = []
    for seed in range(CASES):
        random = np.random.default_rng(seed)
        image = make(random)
        mask = fault.plant(image, random)
        verdict = compare_grids(image.shape, image.affine, mask.shape, mask.affine)
        if verdict.kind != fault.kind or verdict.provable != fault.repaired or not verdict.evidence:
            wrong.append((seed, verdict.kind, verdict.evidence))
    assert wrong == []


@pytest.mark.parametrize("seed", range(CASES))
def test_what_a_float32_header_keeps_raises_no_alarm(seed: int) -> None:
    image = clinical_grid(np.random.default_rng(seed))
    stored = image.affine.astype(np.float32).astype(np.float64)
    assert compare_grids(image.shape, image.affine, image.shape, stored).kind in {"same", "rounding"}


@pytest.mark.parametrize("seed", range(CASES))
@pytest.mark.parametrize("decimals", [3, 4, 6])
def test_an_affine_written_with_few_decimals_is_rounding(seed: int, decimals: int) -> None:
    image = oblique_grid(np.random.default_rng(seed))
    rounded = np.round(image.affine, decimals)
    verdict = compare_grids(image.shape, image.affine, image.shape, rounded)
    corner = np.abs(np.linalg.solve(image.affine[:3, :3], (rounded - image.affine)[:3, :3])) @ np.array(image.shape)
    if corner.max() < 0.45:
        assert verdict.kind in {"same", "rounding"}, verdict.evidence
