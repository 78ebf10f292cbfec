"""The device kernel: the products of the CPU, up to the order of sums."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medshard.converters.resampling import resample_array
from medshard.converters.resampling_torch import resample_on_device
from medshard.errors import CaseError

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")),
]


def scan() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 2000, (2, 40, 50, 60)).astype(np.int16)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("shape", [(60, 60, 60), (20, 30, 70), (40, 50, 20), (40, 50, 60), (80, 50, 60)])
def test_it_is_within_a_thousandth_of_the_range_of_the_cpu(shape, antialias, device):
    image = scan()
    made = resample_on_device(image, shape, antialias=antialias, device=device)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, resample_array(image, shape, antialias=antialias), atol=1e-3 * np.ptp(image))


@pytest.mark.parametrize("budget", [1, 3_000_000])
def test_a_small_budget_means_more_slabs_and_the_same_image(budget):
    image = scan()
    made = resample_on_device(image, (60, 45, 61), device="cpu", budget_bytes=budget)
    np.testing.assert_allclose(made, resample_on_device(image, (60, 45, 61), device="cpu"), atol=1e-3 * np.ptp(image))


def test_a_voxel_without_a_number_is_refused_by_name():
    with pytest.raises(CaseError) as caught:
        resample_on_device(np.full((1, 2, 3, 4), np.nan), (4, 4, 4), device="cpu", where="entry/case")
    assert (caught.value.code, caught.value.where) == ("image.not_finite", "entry/case")
