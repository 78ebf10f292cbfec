"""Quantisation: small integers where they lose nothing that was measured, float32 elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medshard.converters.quantisation import noise_std, quantise, source_step
from medshard.converters.volume import Image, Rescale


def source(dtype, unit="arbitrary", slope=(1.0,), intercept=(0.0,)):
    return Image(
        array=np.zeros((1, 2, 8, 8), dtype),
        affine=np.eye(4),
        rescale=Rescale(slope=slope, intercept=intercept, unit=unit),
    )


def noise(scale, shape=(1, 4, 64, 64)):
    return (np.random.default_rng(0).normal(size=shape) * scale).astype(np.float32)


def test_ct_is_stored_in_steps_of_one_hounsfield_unit():
    stored = quantise(np.float32([[[[-1024.4, 0.0, 0.6, 3071.0]]]]), sources=[source(np.int16, "HU")], resampled=True)
    assert stored.array.dtype == np.int16
    assert stored.array.ravel().tolist() == [-1024, 0, 1, 3071]
    assert (stored.slope, stored.error) == (1.0, 0.5)


def test_ct_on_its_own_grid_is_exact():
    values = np.float32([[[[-1024, 0, 7, 3071]]]])
    stored = quantise(values, sources=[source(np.uint16, "HU", intercept=(-1024.0,))], resampled=False)
    assert np.array_equal(stored.array, values)
    assert stored.error == 0.0


def test_eight_bit_images_on_their_own_grid_stay_eight_bit():
    values = np.arange(256, dtype=np.float32).reshape(1, 1, 16, 16)
    stored = quantise(values, sources=[source(np.uint8)], resampled=False)
    assert stored.array.dtype == np.uint8
    assert np.array_equal(stored.array, values)
    assert stored.error == 0.0


@pytest.mark.parametrize(
    ("peak", "step", "slope"),
    [(4000, 1.0, 0.125), (6000, 1.0, 0.25), (10_000, 1.0, 0.5), (30_000, 1.0, 1.0), (4000, 2.5, 2.5 / 8)],
)
def test_resampled_integers_get_the_finest_part_of_their_step_that_fits(peak, step, slope):
    values = np.linspace(-peak, peak, 64, dtype=np.float32).reshape(1, 1, 8, 8)
    stored = quantise(values, sources=[source(np.int16, slope=(step,))], resampled=True)
    assert stored.slope == slope
    assert stored.error == slope / 2
    assert np.abs(stored.array * stored.slope - values).max() <= stored.error


def test_integers_on_their_own_grid_keep_their_step():
    values = np.float32([[[[0, 2.5, 5000]]]])
    stored = quantise(values, sources=[source(np.int16, slope=(2.5,))], resampled=False)
    assert stored.array.ravel().tolist() == [0, 1, 2000]
    assert (stored.slope, stored.error) == (2.5, 0.0)


def test_noisy_float_images_are_stored_in_steps_well_below_their_noise():
    values = noise(10.0) + 500
    stored = quantise(values, sources=[source(np.float32)], resampled=True)
    assert stored.array.dtype == np.int16
    assert stored.slope <= noise_std(values[0]) / 16
    assert np.abs(stored.array * stored.slope - values).max() <= stored.error * 1.001


def test_float_images_with_less_noise_than_sixteen_steps_stay_float_and_say_so():
    values = noise(0.1) + 500
    stored = quantise(values, sources=[source(np.float32)], resampled=True)
    assert stored.array.dtype == np.float32
    assert np.array_equal(stored.array, values)
    assert (stored.slope, stored.error) == (1.0, 0.0)
    assert "kept as float32" in stored.warnings[0]


def test_the_quietest_channel_decides():
    values = np.concatenate([noise(10.0) + 500, noise(0.1) + 500])
    assert quantise(values, sources=[source(np.float32)] * 2, resampled=True).array.dtype == np.float32


def test_numbers_beyond_int16_fall_back_to_the_rule_for_floats():
    values = noise(300.0) + 60_000
    stored = quantise(values, sources=[source(np.uint16)], resampled=False)
    assert stored.array.dtype == np.int16
    assert stored.slope == pytest.approx(float(values.max()) / 32_000)


def test_an_image_of_nothing_but_zero_is_stored_exactly():
    stored = quantise(np.zeros((1, 2, 8, 8), np.float32), sources=[source(np.float32)], resampled=True)
    assert stored.array.dtype == np.int16
    assert stored.error == 0.0


@settings(max_examples=50, deadline=None)
@given(st.floats(1e-3, 1e6), st.floats(0.0, 1.0), st.sampled_from(["f4", "i2", "u1"]), st.booleans())
def test_zero_stays_zero_and_the_stated_error_holds(scale, offset, dtype, resampled):
    whole = dtype != "f4" and not resampled
    values = (noise(scale, (1, 2, 16, 16)) + np.float32(offset * scale)).clip(-30_000, 30_000)
    values = np.rint(np.abs(values).clip(0, 255 if dtype == "u1" else None)) if whole else values
    values[0, 0, :4] = 0.0
    stored = quantise(values, sources=[source(dtype)], resampled=resampled)
    assert np.all(stored.array[values == 0] == 0)
    assert np.abs(stored.array.astype(np.float64) * stored.slope - values).max() <= stored.error * (1 + 1e-9)


@pytest.mark.parametrize(
    ("image", "step"),
    [
        (source(np.int16), 1.0),
        (source(np.uint16, slope=(2.0,), intercept=(-1024.0,)), 2.0),
        (source(np.uint16, slope=(-1.0,), intercept=(4095.0,)), 1.0),
        (source(np.uint16, slope=(2.0,), intercept=(5.0,)), None),
        (source(np.uint16, slope=(1.0, 2.0)), None),
        (source(np.float32), None),
    ],
)
def test_the_step_of_a_source_is_known_where_its_values_and_zero_share_a_raster(image, step):
    assert source_step(image) == step


@pytest.mark.parametrize("std", [2.0, 15.0])
def test_noise_is_measured_through_slopes_edges_and_background(std):
    values = noise(std)[0] + np.linspace(100, 900, 64)[None, None, :]
    values[:, 20:, :] += 700
    values[:, :, 40:] = 0.0
    assert noise_std(values.astype(np.float32)) == pytest.approx(std, rel=0.1)
