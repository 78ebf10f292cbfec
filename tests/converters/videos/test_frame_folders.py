"""Folders of frames: in the order of their numbers, at the stated rate; what is missing or mixed is said or refused."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_videos import pictures
from numpy.typing import NDArray
from PIL import Image

from medshard.converters.videos.frame_folder import in_order
from medshard.converters.videos.reading import (
    VideoRequest,
    is_video,
    picture_numbers,
    read_frames,
    read_video,
    video_decoders,
)
from medshard.errors import CaseError

WHERE = "entry/case"


def folder(path: Path, names: list[str], frames: NDArray[np.uint8] | None = None) -> list[Path]:
    """A picture for each name, in an order that says nothing."""
    frames = pictures(len(names)) if frames is None else frames
    path.mkdir(exist_ok=True)
    for name, frame in zip(names, frames, strict=True):
        Image.fromarray(frame).save(path / name)
    files = [path / name for name in names]
    random.Random(3).shuffle(files)
    return files


def every_frame(files: list[Path]) -> None:
    video = read_video(files, where=WHERE)
    read_frames(files, video, range(video.frames), where=WHERE)


def refusal(files: list[Path]) -> str:
    with pytest.raises(CaseError) as found:
        every_frame(files)
    assert found.value.where == WHERE
    return found.value.code


def test_frames_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    files = folder(tmp_path / "frames", [f"frame_{number}.png" for number in range(1, 13)])
    assert is_video(files)
    video = read_video(files, where=WHERE, request=VideoRequest(rate_hz=20))
    assert [file.path for file in video.files] == [f"frame_{number}.png" for number in range(1, 13)]
    assert video.codec == "pictures"
    assert video.shape == (3, 66, 98)
    assert video.key_frames.all()
    np.testing.assert_allclose(video.time_s, np.arange(12) / 20)
    found = read_frames(files, video, [11, 0, 9], where=WHERE)
    np.testing.assert_array_equal(found.transpose(0, 2, 3, 1), pictures(12)[[11, 0, 9]])
    assert video.warnings == ()
    assert "pillow" in video_decoders(files)


def test_without_a_rate_there_are_no_times(tmp_path: Path) -> None:
    video = read_video(folder(tmp_path / "frames", ["1.png", "2.png"]), where=WHERE)
    assert np.isnan(video.time_s).all()
    assert video.rate_hz is None


def test_a_missing_number_is_named_and_leaves_a_gap_in_time(tmp_path: Path) -> None:
    numbers = [3, 4, 5, 8, 9, 11]
    files = folder(tmp_path / "frames", [f"{number:04d}_color.png" for number in numbers])
    video = read_video(files, where=WHERE, request=VideoRequest(rate_hz=10))
    np.testing.assert_allclose(video.time_s, (np.array(numbers) - 3) / 10)
    assert any("3 numbers" in warning and "6 to 7, 10" in warning for warning in video.warnings)
    assert picture_numbers(files) == numbers


def test_numbers_that_rise_by_five_are_one_step_of_time(tmp_path: Path) -> None:
    files = folder(tmp_path / "frames", [f"{number}.png" for number in (0, 5, 10, 20)])
    video = read_video(files, where=WHERE, request=VideoRequest(rate_hz=2))
    np.testing.assert_allclose(video.time_s, [0, 0.5, 1, 2])
    assert any("rise by 5" in warning for warning in video.warnings)
    assert any("missing: 15" in warning for warning in video.warnings)


def test_two_ways_of_padding_are_said(tmp_path: Path) -> None:
    mixed = read_video(folder(tmp_path / "mixed", ["frame_1.png", "frame_002.png", "frame_3.png"]), where=WHERE)
    assert any("padded" in warning for warning in mixed.warnings)
    for name, names in {"wide": ["8.png", "9.png", "10.png"], "padded": ["098.png", "099.png", "100.png"]}.items():
        assert read_video(folder(tmp_path / name, names), where=WHERE).warnings == ()


def test_two_frames_of_one_number_are_refused(tmp_path: Path) -> None:
    assert refusal(folder(tmp_path / "a", ["f_1.png", "f_01.png"])) == "video.unclear_order"
    assert refusal(folder(tmp_path / "b", ["f_1.png", "f_1.jpg"])) == "video.unclear_order"


def test_several_numbers_that_change_are_ordered_by_name_and_said(tmp_path: Path) -> None:
    files = folder(tmp_path / "frames", ["a2_10.png", "a2_9.png", "a1_30.png"])
    video = read_video(files, where=WHERE)
    assert [file.path for file in video.files] == ["a1_30.png", "a2_9.png", "a2_10.png"]
    assert any("no single number" in warning for warning in video.warnings)


def test_frames_of_another_size_are_refused(tmp_path: Path) -> None:
    files = folder(tmp_path / "frames", ["1.png", "2.png"])
    Image.fromarray(pictures(1)[0, :50]).save(tmp_path / "frames" / "3.png")
    assert refusal([*files, tmp_path / "frames" / "3.png"]) == "video.mixed_sizes"


def test_sixteen_bits_and_colours_of_print_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8)).save(tmp_path / "1.png")
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8)).save(tmp_path / "2.png")
    assert refusal([tmp_path / "1.png", tmp_path / "2.png"]) == "read.unsupported"
    for number in (1, 2):
        Image.new("CMYK", (8, 8)).save(tmp_path / f"{number}.jpg")
    assert refusal([tmp_path / "1.jpg", tmp_path / "2.jpg"]) == "read.unsupported"


def test_alpha_is_left_aside_and_said(tmp_path: Path) -> None:
    picture = np.dstack([pictures(1)[0], np.full((66, 98), 7, np.uint8)])
    files = [tmp_path / f"{number}.png" for number in (1, 2)]
    for path in files:
        Image.fromarray(picture).save(path)
    video = read_video(files, where=WHERE)
    assert any("alpha" in warning for warning in video.warnings)
    np.testing.assert_array_equal(read_frames(files, video, [0], where=WHERE)[0].transpose(1, 2, 0), pictures(1)[0])


def test_grey_palettes_and_turned_pictures_become_rgb(tmp_path: Path) -> None:
    grey = Image.fromarray(pictures(1)[0]).convert("L")
    grey.save(tmp_path / "1.png")
    palette = Image.fromarray(pictures(1)[0]).quantize(16)
    palette.save(tmp_path / "2.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # the first row is the right side
    Image.fromarray(np.rot90(pictures(1)[0])).save(tmp_path / "3.png", exif=exif)
    files = [tmp_path / f"{number}.png" for number in (1, 2, 3)]
    video = read_video(files, where=WHERE)
    found = read_frames(files, video, [0, 1, 2], where=WHERE).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(found[0], np.asarray(grey.convert("RGB")))
    np.testing.assert_array_equal(found[1], np.asarray(palette.convert("RGB")))
    np.testing.assert_array_equal(found[2], pictures(1)[0])


def test_a_cut_frame_is_refused_when_it_is_read(tmp_path: Path) -> None:
    files = folder(tmp_path / "frames", ["1.png", "2.png"])
    content = (tmp_path / "frames" / "2.png").read_bytes()
    (tmp_path / "frames" / "2.png").write_bytes(content[: len(content) // 2])
    assert refusal(files) == "read.truncated"


def test_other_files_among_the_frames_are_refused(tmp_path: Path) -> None:
    files = folder(tmp_path / "frames", ["1.png", "2.png"])
    (tmp_path / "frames" / "poses.txt").write_text("0 0 0 1")
    assert not is_video([*files, tmp_path / "frames" / "poses.txt"])
    assert refusal([*files, tmp_path / "frames" / "poses.txt"]) == "read.unknown_format"


@given(st.sets(st.integers(0, 10**6), min_size=1, max_size=30), st.integers(0, 7), st.randoms())
def test_any_numbers_padded_or_not_come_out_sorted(numbers: set[int], width: int, rng: random.Random) -> None:
    files = [Path(f"/x/Frame_{number:0{width}d}_v2.jpg") for number in sorted(numbers)]
    shuffled = rng.sample(files, len(files))
    assert in_order(shuffled) == files
    if len(numbers) > 1:
        assert picture_numbers(shuffled) == sorted(numbers)
