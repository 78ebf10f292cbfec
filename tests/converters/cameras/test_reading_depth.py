"""Depth: the stored numbers with their scale; a channel of a colour picture only where the entry names it."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_videos import write_exr
from numpy.typing import NDArray
from PIL import Image as Pictures

from medshard.converters.cameras.reading import read_depth
from medshard.errors import CaseError

WHERE = "entry/case"


@cache
def exr_of_ffmpeg(compression: str, kind: str, size: tuple[int, int]) -> tuple[bytes, NDArray[np.float32]]:
    """An EXR picture that FFmpeg wrote, and its red channel."""
    import av

    encoder = av.CodecContext.create("exr", "w")
    encoder.height, encoder.width = size
    encoder.pix_fmt, encoder.time_base = "gbrpf32le", Fraction(1, 1)
    encoder.options = {"compression": compression, "format": kind}
    rng = np.random.default_rng(1)
    smooth = np.repeat(rng.integers(0, 100, (3, size[0], (size[1] + 4) // 5)), 5, axis=2)[:, :, : size[1]] / 8
    frame = av.VideoFrame(size[1], size[0], "gbrpf32le")
    for plane, values in zip(frame.planes, smooth, strict=True):
        stored = np.frombuffer(plane, np.float32).reshape(size[0], -1)
        stored[:, : size[1]] = values
    packets = encoder.encode(frame) + encoder.encode(None)
    return b"".join(bytes(packet) for packet in packets), smooth[2].astype(np.float32)


DEPTH = np.linspace(0, 65535, 20 * 30).reshape(20, 30).astype(np.uint16)


def code_of(path: Path, **asked: object) -> str:
    with pytest.raises(CaseError) as found:
        read_depth([path], where=WHERE, **asked)  # type: ignore[arg-type]
    assert found.value.where == WHERE
    return found.value.code


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_c3vds_depth_is_a_hundred_millimetres_over_sixteen_bits(suffix: str, tmp_path: Path) -> None:
    Pictures.fromarray(DEPTH).save(tmp_path / f"0000_depth.{suffix}")
    image = read_depth([tmp_path / f"0000_depth.{suffix}"], where=WHERE, slope=100 / 65535, unit="mm")
    np.testing.assert_array_equal(image.array[0, 0], DEPTH)
    assert image.rescale.unit == "mm"
    assert image.rescale.apply(image.array).max() == pytest.approx(100)
    assert not image.trusted_geometry


def test_arrays_of_numpy(tmp_path: Path) -> None:
    np.save(tmp_path / "depth.npy", DEPTH.astype(np.float32) / 7)
    image = read_depth([tmp_path / "depth.npy"], where=WHERE, unit="mm")
    np.testing.assert_allclose(image.array.reshape(20, 30), DEPTH.astype(np.float32) / 7)


def test_the_red_channel_is_taken_where_it_is_named(tmp_path: Path) -> None:
    red = (DEPTH // 257).astype(np.uint8)
    colour = np.dstack([red, 255 - red, red // 2, np.full_like(red, 255)])
    Pictures.fromarray(colour).save(tmp_path / "aov_image_0001.png")
    image = read_depth([tmp_path / "aov_image_0001.png"], where=WHERE, channel="red", slope=0.1, unit="cm")
    np.testing.assert_array_equal(image.array[0, 0], red)
    assert code_of(tmp_path / "aov_image_0001.png") == "depth.coloured"


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_exr_of_full_and_half_floats(dtype: type, tmp_path: Path) -> None:
    red = (DEPTH / 65535 * 3.7).astype(dtype)
    path = write_exr(tmp_path / "aov_image_0001.exr", {"R": red, "G": red * 0, "B": red * 0 + 1})
    image = read_depth([path], where=WHERE, channel="red", unit="dm")
    assert image.array.shape == (1, 1, 20, 30)
    np.testing.assert_array_equal(image.array[0, 0], red.astype(np.float32))
    assert code_of(path) == "depth.coloured"
    grey = write_exr(tmp_path / "grey.exr", dict.fromkeys("RGBA", red))
    np.testing.assert_array_equal(read_depth([grey], where=WHERE).array[0, 0], red.astype(np.float32))


def test_a_reversed_depth_buffer_becomes_distances(tmp_path: Path) -> None:
    """As the authors of EndoMapper state it for their simulated sequences: near 0.01, far 4."""
    near, far = 0.01, 4.0
    distance = np.linspace(near, far, 600).reshape(20, 30)
    buffer = ((1 / distance - 1 / far) / (1 / near - 1 / far)).astype(np.float32)
    path = write_exr(tmp_path / "depth.exr", dict.fromkeys("RGB", buffer))
    image = read_depth([path], where=WHERE, near_far=(near, far), unit="dm")
    np.testing.assert_allclose(image.array[0, 0], distance, rtol=1e-3)
    # The other way to write it: 1 / (z (1 - v) + w), z = (1 - far / near) / far, w = 1 / near.
    other = 1 / ((1 - far / near) / far * (1 - buffer) + far / near / far)
    np.testing.assert_allclose(image.array[0, 0], other, rtol=1e-3)
    with pytest.raises(ValueError, match="planes"):
        read_depth([path], where=WHERE, near_far=(4.0, 0.01))


def test_a_broken_exr_is_refused(tmp_path: Path) -> None:
    whole = write_exr(tmp_path / "whole.exr", dict.fromkeys("RGB", DEPTH.astype(np.float32)))
    content = whole.read_bytes()
    for share in (0.02, 0.5, 0.9):
        (tmp_path / "cut.exr").write_bytes(content[: int(len(content) * share)])
        assert code_of(tmp_path / "cut.exr").startswith("read.")
    huge = bytearray(content)
    place = huge.index(b"box2i") + 10 + 8
    huge[place : place + 8] = (2**30).to_bytes(4, "little") * 2
    (tmp_path / "huge.exr").write_bytes(huge)
    assert code_of(tmp_path / "huge.exr").startswith("read.")


@pytest.mark.parametrize("compression", ["none", "rle", "zip1", "zip16"])
@pytest.mark.parametrize("kind", ["half", "float"])
@pytest.mark.parametrize("size", [(16, 16), (37, 21)])
def test_exr_as_ffmpeg_writes_it(compression: str, kind: str, size: tuple[int, int], tmp_path: Path) -> None:
    content, red = exr_of_ffmpeg(compression, kind, size)
    (tmp_path / "depth.exr").write_bytes(content)
    found = read_depth([tmp_path / "depth.exr"], where=WHERE, channel="red").array[0, 0]
    np.testing.assert_array_equal(found, red)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(compression=st.sampled_from(["none", "rle", "zip1", "zip16"]), data=st.data())
def test_a_damaged_exr_is_read_or_refused(compression: str, data: st.DataObject, tmp_path: Path) -> None:
    content, _ = exr_of_ffmpeg(compression, "half", (16, 16))
    hurt = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        hurt[data.draw(st.integers(4, len(hurt) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "hurt.exr").write_bytes(bytes(hurt[: data.draw(st.integers(5, len(hurt)))]))
    with suppress(CaseError):
        read_depth([tmp_path / "hurt.exr"], where=WHERE, channel="red")
