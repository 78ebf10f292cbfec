"""Measures of one case: what each is of a known image, that they are small, and that odd input does no harm."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_suspects import brain, patient, written
from numpy.typing import NDArray

from medshard.converters.signal import Signal
from medshard.converters.suspicion import frame_facts, suspicion_facts
from medshard.converters.volume import Image, LabelLayer, Rescale, Volume

AXES = np.array([[0.0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])


def _volume(array: NDArray[np.generic], labels: NDArray[np.uint8] | None = None, unit: str = "arbitrary") -> Volume:
    layer = None if labels is None else LabelLayer(array=labels[None], affine=AXES, classes={1: "liver", 2: "spleen"},
                                                   examined=("liver", "spleen"))  # fmt: skip
    return Volume(
        entry="e",
        case="c",
        patient="p",
        images={"scan": Image(array=array, affine=AXES, rescale=Rescale(unit=unit))},
        labels={} if layer is None else {"organs": layer},
    )


def _ball(shape: tuple[int, int, int], centre: tuple[int, int, int], radius: float) -> NDArray[np.bool_]:
    grid = np.indices(shape) - np.array(centre)[:, None, None, None]
    return np.asarray((grid**2).sum(axis=0) <= radius**2)


def test_a_class_is_measured_where_it_lies_and_on_what() -> None:
    mask = _ball((20, 40, 60), (10, 10, 45), 6)
    image = np.where(mask, 300, 100).astype(np.int16)[None]
    facts = suspicion_facts(_volume(image, mask.astype(np.uint8)))
    liver = facts["labels"]["organs"]["classes"]["liver"]
    assert liver["voxels"] == mask.sum()
    assert liver["ml"] == pytest.approx(mask.sum() / 1000, rel=1e-3)
    assert liver["centre"] == pytest.approx([0.525, 0.2625, 0.758], abs=0.01)
    assert liver["x_mm"] == pytest.approx(45)
    assert (liver["parts"], liver["inside"], liver["ring"]) == (1, 300, 200)
    assert liver["drawn"] > 5
    assert all(turned < 1.5 for turned in liver["turned"][1:])


def test_an_examined_class_that_is_not_there_is_said() -> None:
    mask = _ball((20, 40, 60), (10, 10, 45), 6)
    facts = suspicion_facts(_volume(mask.astype(np.int16)[None], mask.astype(np.uint8)))
    assert facts["labels"]["organs"]["classes"]["spleen"] == {"voxels": 0}


def test_one_voxel_in_a_million_is_not_overlooked() -> None:
    image = np.zeros((1, 100, 130, 130), np.int16)
    image[0, 50, 60, 70:90] = 100
    image[0, 51, 61, 71] = 32767
    view = suspicion_facts(_volume(image))["images"]["scan"]["views"][0]
    assert (view["low"], view["high"]) == (0, pytest.approx(32767, rel=1e-3))


def test_words_are_counted_and_a_brain_has_none() -> None:
    random = np.random.default_rng(5)
    volume = patient(brain(3), "p", random)
    text = [suspicion_facts(one)["images"]["scan"]["views"][0]["text"] for one in (volume, written(volume, random))]
    assert text[0] < 4
    assert text[1] >= 5


def test_noise_is_no_writing() -> None:
    image = np.random.default_rng(0).integers(0, 4096, (1, 4, 200, 200)).astype(np.int16)
    assert suspicion_facts(_volume(image))["images"]["scan"]["views"][0]["text"] < 4


def test_a_ruler_is_no_writing() -> None:
    image = np.zeros((1, 1, 200, 200), np.uint8)
    image[..., 20:180, 190:193] = 255
    image[..., 20:180:10, 180:190] = 255
    assert suspicion_facts(_volume(image))["images"]["scan"]["views"][0]["text"] < 4


def test_facts_are_small_plain_and_the_same_again() -> None:
    volume = patient(brain(4), "p", np.random.default_rng(1))
    first, again = (json.dumps(suspicion_facts(volume), allow_nan=False) for _ in range(2))
    assert first == again
    assert len(first) < 4000


@settings(deadline=None, max_examples=40)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 30), st.integers(1, 30)),
    dtype=st.sampled_from(["uint8", "int16", "uint16", "float32", "float64", "bool"]),
    fill=st.sampled_from(["noise", "constant", "nan", "infinite", "huge"]),
    unit=st.sampled_from(["HU", "arbitrary"]),
)
def test_any_image_has_facts_that_are_json(shape: tuple[int, int, int, int], dtype: str, fill: str, unit: str) -> None:
    random = np.random.default_rng(sum(shape))
    array = (random.random(shape) * 200).astype(dtype)
    if fill == "constant":
        array[:] = 1
    if array.dtype.kind == "f" and fill in ("nan", "infinite", "huge"):
        array[:, ::2] = {"nan": np.nan, "infinite": np.inf, "huge": 1e38}[fill]
    labels = random.integers(0, 3, shape[1:]).astype(np.uint8)
    with np.errstate(all="ignore"):
        json.dumps(suspicion_facts(_volume(array, labels, unit)), allow_nan=False)


def test_channels_of_a_recording_are_measured() -> None:
    time = np.arange(4000) / 500
    good = np.sin(2 * np.pi * 7 * time)
    stuck = np.where(time < 1, good, 0.0)
    humming = good + 5 * np.sin(2 * np.pi * 50 * time)
    lost = np.where(time < 2, np.nan, good)
    signal = Signal(
        array=np.stack([good, stuck, humming, lost]),
        rate_hz=500.0,
        channels=("I", "II", "III", "V1"),
        units=("mV",) * 4,
        slope=(1.0,) * 4,
        intercept=(0.0,) * 4,
    )
    volume = Volume(entry="e", case="c", patient="p", signals={"ecg": signal})
    first, second, third, fourth = suspicion_facts(volume)["signals"]["ecg"]["measures"]
    assert first["flat"] < 0.01
    assert second["flat"] > 0.8
    assert first["mains"] < 0.05
    assert third["mains"] > 0.8
    assert fourth["not_finite"] == pytest.approx(0.25)


def test_black_and_frozen_frames_are_counted() -> None:
    bright = np.full((3, 4, 5), 120, np.uint8)
    black = np.zeros((3, 4, 5), np.uint8)
    assert frame_facts([bright, bright, black, black]) == {"frames": 4, "black": 0.5, "frozen": 0.6667}
