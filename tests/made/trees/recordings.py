"""Videos, signals and surfaces as their sources write them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]


def write_video(path: Path, frames: Array, *, rate: int = 25, codec: str = "mpeg4") -> Path:
    """(t, y, x, 3) uint8 with even sides, by PyAV; the container follows from the name."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            for packet in stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def write_edf(path: Path, signals: dict[str, Array], rate: float, *, unit: str = "uV") -> Path:
    """EDF of channels of one rate: label -> samples in `unit`. No person is named."""
    import edfio

    channels = [
        edfio.EdfSignal(np.asarray(samples, float), sampling_frequency=rate, label=label, physical_dimension=unit)
        for label, samples in signals.items()
    ]
    edfio.Edf(channels).write(path)
    return path


@contextmanager
def quiet_wfdb() -> Iterator[ModuleType]:
    """The package wfdb, whose use of pandas is warned of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import wfdb

        yield wfdb


def write_wfdb(path: Path, signals: dict[str, Array], rate: float, *, comments: Sequence[str] = ()) -> Path:
    """A record of PhysioNet, PATH.hea and PATH.dat, in mV."""
    with quiet_wfdb() as wfdb:
        wfdb.wrsamp(
            path.name,
            fs=rate,
            units=["mV"] * len(signals),
            sig_name=list(signals),
            p_signal=np.stack([np.asarray(samples, float) for samples in signals.values()], axis=1),
            fmt=["16"] * len(signals),
            comments=list(comments),
            write_dir=str(path.parent),
        )
    return path


def wave(seed: str, count: int, *, amplitude: float = 1.0) -> NDArray[np.float64]:
    """Something like a signal: two sines and noise, the same for the same seed."""
    random = np.random.default_rng(sum(seed.encode()))
    t = np.arange(count) / 50
    return amplitude * (np.sin(t) + 0.3 * np.sin(7 * t) + 0.05 * random.standard_normal(count))


def write_surface(path: Path, *, size_mm: float = 20.0, centre: Sequence[float] = (0.0, 0.0, 0.0)) -> tuple[int, int]:
    """A closed ball, by the end of the name obj, ply, stl, off (trimesh) or vtk. Returns vertices, faces."""
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=2, radius=size_mm / 2)
    ball.apply_translation(centre)
    if path.suffix == ".vtk":
        path.write_text(_vtk(ball.vertices, ball.faces), encoding="ascii")
    else:
        ball.export(path)
    return len(ball.vertices), len(ball.faces)


def _vtk(vertices: Array, faces: Array) -> str:
    """Legacy VTK polygons as text."""
    points = "\n".join(" ".join(f"{value:.6f}" for value in vertex) for vertex in vertices)
    polygons = "\n".join("3 " + " ".join(str(value) for value in face) for face in faces)
    return (
        "# vtk DataFile Version 3.0\nmade\nASCII\nDATASET POLYDATA\n"
        f"POINTS {len(vertices)} float\n{points}\nPOLYGONS {len(faces)} {4 * len(faces)}\n{polygons}\n"
    )
