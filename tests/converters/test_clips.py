"""Clips: runs of frames of videos, and of images with a time axis."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from medshard.converters.plan import ClipRule, Plan
from medshard.converters.resampling import resample_array
from medshard.converters.samples import make_sample
from medshard.converters.sources import SourceFile
from medshard.converters.videos.reading import VideoRequest, read_video
from medshard.converters.volume import Image, LabelLayer, LeadingAxis, Rescale, Volume
from medshard.errors import CaseError

PLAN = Plan(
    name="p", entry="e", recipe_digest="", channels=("cine",), spacing_mm=None, kind="clips", clips=ClipRule(length=4),
    slice_axis=0, patch_size=(4, 128, 128), inner_chunk=(4, 64, 64),
)  # fmt: skip


def cine(frames=5, slices=3, values=(0.0, 0.1, 0.2, 0.3, 0.4)):
    array = np.random.default_rng(0).integers(0, 900, (frames, 1, slices, 20, 24)).astype(np.int16)
    affine = np.eye(4)[:, [2, 1, 0, 3]] @ np.diag([8.0, 1.0, 1.0, 1.0])
    leading = LeadingAxis(kind="time", values=values)
    return Image(array=array, affine=affine, rescale=Rescale(), modality="MR", leading=leading)


def sample_of(image, plan=PLAN, labels=None):
    return make_sample(Volume(entry="e", case="c", patient="p", images={"cine": image}, labels=labels or {}), plan)


def test_every_slice_of_a_moving_image_is_one_clip_of_all_its_frames():
    image = cine()
    sample = sample_of(image)
    assert sample.image.shape == (1, 15, 20, 24)
    rows = sample.places.to_pylist()
    for z, row in enumerate(rows):
        stored = sample.image[0, z] * sample.slope
        assert np.array_equal(stored, image.array[row["frame"], 0, row["slice"]])
    assert [row["clip"] for row in rows] == [0] * 5 + [1] * 5 + [2] * 5
    assert [row["time_s"] for row in rows[:5]] == [0.0, 0.1, 0.2, 0.3, 0.4]


def test_only_the_plane_of_a_moving_image_is_resampled():
    image = cine()
    sample = sample_of(image, replace(PLAN, spacing_mm=(8.0, 2.0, 2.0)))
    assert sample.image.shape == (1, 15, 10, 12)
    expected = resample_array(image.array[3], (3, 10, 12))
    assert np.abs(sample.image[0, 3::5] * sample.slope - expected[0]).max() <= sample.quantisation_error + 1e-3


def test_frames_without_times_have_none():
    assert set(sample_of(cine(values=None)).places["time_s"].to_pylist()) == {None}


def test_a_label_has_no_time_axis_and_is_left_out_with_a_word():
    image = cine()
    labels = np.ones((1, 3, 20, 24), np.uint8)
    layer = LabelLayer(array=labels, affine=image.affine, classes={1: "heart"}, examined=("heart",))
    sample = sample_of(image, labels={"heart": layer})
    assert sample.labels == {}
    assert any("heart" in warning for warning in sample.warnings)


def test_an_image_that_stands_still_has_no_clips():
    still = replace(cine(), array=cine().array[0], leading=None)
    with pytest.raises(CaseError) as caught:
        sample_of(still)
    assert caught.value.code == "plan.no_time_axis"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("video")
    paths = [folder / f"{number:03d}.png" for number in range(30)]
    for number, path in enumerate(paths):
        Picture.fromarray(np.full((8, 10, 3), number * 8, np.uint8)).save(path)
    return paths


def frames_of(pictures: list[Path], rule: ClipRule) -> tuple[list[int], list[int]]:
    """(number of each frame as its grey says, clip of each frame)."""
    index = read_video(pictures, where="e/c", request=VideoRequest(rate_hz=10.0))
    sources = tuple(SourceFile(path=path.name, sha256="0" * 64, size=1) for path in pictures)
    volume = Volume(entry="e", case="c", patient="p", videos={"cine": replace(index, files=sources)})
    sample = make_sample(volume, replace(PLAN, clips=rule), files={path.name: path for path in pictures})
    assert sample.image is not None
    assert sample.places is not None
    shown = (sample.image[0, :, 0, 0] // 8).tolist()
    assert shown == sample.places["frame"].to_pylist()
    return shown, sample.places["clip"].to_pylist()


@pytest.mark.parametrize(
    ("rule", "frames", "clips"),
    [
        (ClipRule(length=10), list(range(30)), [0] * 10 + [1] * 10 + [2] * 10),
        (ClipRule(length=8), list(range(24)), [0] * 8 + [1] * 8 + [2] * 8),
        (ClipRule(length=5, most=2), [*range(5, 10), *range(20, 25)], [0] * 5 + [1] * 5),
        (ClipRule(length=5, rate_hz=5.0), [*range(0, 30, 2)], [0] * 5 + [1] * 5 + [2] * 5),
        (ClipRule(length=99), list(range(30)), [0] * 30),
    ],
    ids=["all", "the rest is left out", "evenly spread", "slower", "shorter than a clip"],
)  # fmt: skip
def test_clips_of_a_video_are_frames_that_follow_each_other(pictures, rule, frames, clips):
    assert frames_of(pictures, rule) == (frames, clips)
