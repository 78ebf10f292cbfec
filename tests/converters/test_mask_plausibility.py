"""Masks turned under an unchanged header, on the real average brain that nilearn brings and on noise."""

from __future__ import annotations

import tracemalloc
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medshard.converters.mask_plausibility import content_suspicion
from medshard.converters.volume import Rescale

TURNS = [turn for turn in product((False, True), repeat=3) if any(turn)]


@pytest.fixture(scope="module")
def brain() -> tuple[np.ndarray, np.ndarray]:
    """T1 and grey matter (1, z, y, x) of the ICBM 152 average, off the middle so that no flip is a symmetry."""
    found = find_spec("nilearn")
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent / "datasets" / "data"
    t1, grey = (
        np.asarray(nib.load(folder / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz").dataobj)
        for name in ("t1", "gm")
    )
    part = np.s_[10:90, 20:200, 30:120]
    return t1[part].T[None], (grey[part] > 127).astype(np.uint8).T[None]


def test_a_mask_as_it_was_drawn_is_not_suspected(brain: tuple[np.ndarray, np.ndarray]) -> None:
    image, mask = brain
    assert content_suspicion(image, Rescale(), mask) is None


@pytest.mark.parametrize("turn", TURNS)
def test_a_turned_mask_is_suspected_and_the_turn_is_named(
    brain: tuple[np.ndarray, np.ndarray], turn: tuple[bool, bool, bool]
) -> None:
    image, mask = brain
    turned = np.flip(mask[0], [axis for axis in range(3) if turn[axis]])[None]
    said = content_suspicion(image, Rescale(), turned)
    assert said is not None
    assert f"({' and '.join(axis for axis, flip in zip('zyx', turn, strict=True) if flip)} backwards)" in said


@pytest.mark.parametrize("seed", range(40))
def test_in_noise_nothing_is_suspected(seed: int) -> None:
    random = np.random.default_rng(seed)
    image = random.normal(100, 30, (1, 12, 40, 40))
    mask = np.zeros((1, 12, 40, 40), np.uint8)
    mask[0, 2:8, 5:22, 9:20] = 1
    assert content_suspicion(image, Rescale(), mask) is None


def test_slices_with_scales_of_their_own_are_compared_in_physical_numbers(
    brain: tuple[np.ndarray, np.ndarray],
) -> None:
    image, mask = brain
    slopes = np.where(np.arange(image.shape[1]) % 2, 1.0, 0.01)
    stored = image / slopes[None, :, None, None]
    said = content_suspicion(stored, Rescale(slope=tuple(slopes), intercept=(0.0,)), mask[:, :, ::-1])
    assert said is not None
    assert "(y backwards)" in said


def test_a_mask_of_noise_does_not_fill_the_memory_with_its_rim() -> None:
    mask = (np.random.default_rng(0).random((1, 40, 256, 256)) > 0.5).astype(np.uint8)
    tracemalloc.start()
    try:
        assert content_suspicion(np.zeros(mask.shape, np.int16), Rescale(), mask) is None
        assert tracemalloc.get_traced_memory()[1] < 48 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("shape", [(1, 1, 64, 64), (1, 3, 1, 1)])
def test_small_and_flat_images_are_no_trouble(shape: tuple[int, ...]) -> None:
    mask = np.zeros(shape, np.uint8)
    mask[..., : shape[-1] // 2] = 1
    assert content_suspicion(np.zeros(shape, np.int16), Rescale(), mask) is None
