"""Whole slides made from one real tile of H&E: as several scanners and programs write it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from medshard.converters.slide import Slide
from medshard.converters.slides.reading import open_regions

NAME = "Doe^Jane"
Pixels = NDArray[Any]


def real_tile() -> NDArray[np.uint8]:
    """(240, 240, 3): a stained section, from the package wsidicom-data (Apache-2.0)."""
    with files("wsidicom_data").joinpath("data/test_tile.png").open("rb") as stream:
        return np.array(Image.open(stream).convert("RGB"))


def slide_picture(height: int, width: int, *, glass: int = 240) -> NDArray[np.uint8]:
    """(height, width, 3): tissue in the middle half of each side, on glass; no two places alike."""
    tile = real_tile()
    picture = np.full((height, width, 3), glass, np.uint8)
    top, left = height // 4, width // 4
    tissue = np.tile(tile, (height // 480 + 1, width // 480 + 1, 1))[: height // 2, : width // 2].astype(np.int16)
    tissue += np.random.default_rng(7).integers(-6, 7, tissue.shape[:2], np.int16)[..., None]
    picture[top : top + height // 2, left : left + width // 2] = tissue.clip(0, 255)
    return picture


def reduced(picture: Pixels, factor: int) -> Pixels:
    """Means of squares; incomplete ones are dropped, as Aperio's scanners do."""
    height, width = picture.shape[0] // factor, picture.shape[1] // factor
    blocks = picture[: height * factor, : width * factor].reshape(height, factor, width, factor, *picture.shape[2:])
    return np.rint(blocks.mean((1, 3))).astype(picture.dtype)


@dataclass(frozen=True, kw_only=True)
class MadeSlide:
    """files of a slide, and what a reader should find at each level: (y, x, c) or (y, x)."""

    files: tuple[Path, ...]
    levels: tuple[Pixels, ...]


def aperio(
    path: Path,
    picture: Pixels,
    *,
    compression: str = "deflate",
    microns: str = "0.4990",
    power: str = "20",
    factors: tuple[int, ...] = (4, 16),
) -> MadeSlide:
    """An SVS as its scanner lays it out: level 0, thumbnail, smaller levels, label and macro, and a person's name."""
    words = (
        f"Aperio Image Library v11.2.1 \r\n{picture.shape[1]}x{picture.shape[0]} (240x240)"
        f"|AppMag = {power}|MPP = {microns}|User = {NAME}|Date = 01/02/2003|Filename = {NAME}"
    )
    levels = (picture, *(reduced(picture, factor) for factor in factors))
    tiled: dict[str, Any] = {"tile": (240, 240), "compression": compression, "photometric": "rgb", "metadata": None}
    plain: dict[str, Any] = {"photometric": "rgb", "metadata": None}
    with tifffile.TiffWriter(path) as writer:
        writer.write(levels[0], description=words, **tiled)
        writer.write(reduced(picture, 8), description=words, **plain)
        for level in levels[1:]:
            writer.write(level, description=words, **tiled)
        for kind, number in (("label", 1), ("macro", 9)):
            words = f"Aperio Image Library v11.2.1 \r\n{kind} 90x120"
            writer.write(np.full((120, 90, 3), 200, np.uint8), description=words, subfiletype=number, **plain)
    return MadeSlide(files=(path,), levels=levels)


def pyramid(
    path: Path,
    picture: Pixels,
    *,
    factors: tuple[int, ...] = (2, 4),
    sub_directories: bool = False,
    resolution: tuple[float, float] = (40000, 40000),
    unit: int = 3,
    tile: int = 256,
    bigtiff: bool = False,
    **options: Any,
) -> MadeSlide:
    """A pyramid of no particular program: reduced pages after each other, or in SubIFDs of the first."""
    colour = picture.ndim == 3
    levels = (picture, *(reduced(picture, factor) for factor in factors))
    common: dict[str, Any] = {
        "tile": (tile, tile),
        "photometric": "rgb" if colour else "minisblack",
        "metadata": None,
        "resolutionunit": unit,
        **options,
    }
    with tifffile.TiffWriter(path, bigtiff=bigtiff) as writer:
        for number, level in enumerate(levels):
            factor = picture.shape[0] / level.shape[0]
            place: dict[str, Any] = {"subfiletype": 1} if number else {}
            if sub_directories and number == 0:
                place = {"subifds": len(factors)}
            writer.write(level, resolution=(resolution[0] / factor, resolution[1] / factor), **place, **common)
    return MadeSlide(files=(path,), levels=levels)


def ome(path: Path, channels: Pixels, *, microns: float = 0.325, unit: str = "\u00b5m") -> MadeSlide:
    """An OME-TIFF of several channels (c, y, x), a page each, with one smaller level in SubIFDs."""
    smaller = np.stack([reduced(channel, 2) for channel in channels])
    metadata = {
        "axes": "CYX",
        "PhysicalSizeX": microns,
        "PhysicalSizeXUnit": unit,
        "PhysicalSizeY": microns,
        "PhysicalSizeYUnit": unit,
    }
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(channels, subifds=1, tile=(128, 128), photometric="minisblack", metadata=metadata)
        writer.write(smaller, subfiletype=1, tile=(128, 128), photometric="minisblack")
    return MadeSlide(files=(path,), levels=(np.moveaxis(channels, 0, -1), np.moveaxis(smaller, 0, -1)))


def philips(path: Path, picture: Pixels, *, microns: float = 0.25, factors: tuple[int, ...] = (2, 4)) -> MadeSlide:
    """A TIFF as Philips writes it, which CAMELYON has: its XML holds the pixel size of every level, and much else."""
    levels = (picture, *(reduced(picture, factor) for factor in factors))
    spacing = [f"{microns * factor / 1000:.9f}" for factor in (1, *factors)]
    representations = "".join(
        '<DataObject ObjectType="PixelDataRepresentation">'
        f'<Attribute Name="DICOM_PIXEL_SPACING">&quot;{side}&quot; &quot;{side}&quot;</Attribute></DataObject>'
        for side in spacing
    )
    words = (
        '<?xml version="1.0" encoding="UTF-8" ?><DataObject ObjectType="DPUfsImport">'
        f'<Attribute Name="PIM_DP_UFS_BARCODE">{NAME}</Attribute>'
        '<Attribute Name="PIM_DP_SCANNED_IMAGES"><Array><DataObject ObjectType="DPScannedImage">'
        '<Attribute Name="PIM_DP_IMAGE_TYPE">WSI</Attribute>'
        f'<Attribute Name="DICOM_PIXEL_SPACING">&quot;{spacing[0]}&quot; &quot;{spacing[0]}&quot;</Attribute>'
        f'<Attribute Name="PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE"><Array>{representations}</Array></Attribute>'
        "</DataObject></Array></Attribute></DataObject>"
    )
    with tifffile.TiffWriter(path) as writer:
        for number, level in enumerate(levels):
            first: dict[str, Any] = (
                {"subfiletype": 1} if number else {"description": words, "software": "Philips DP v1.0"}
            )
            writer.write(level, tile=(256, 256), compression="jpeg", photometric="rgb", metadata=None, **first)
    return MadeSlide(files=(path,), levels=levels)


def hamamatsu_vms(folder: Path, picture: Pixels, *, microns: float, offset: tuple[int, int]) -> MadeSlide:
    """A VMS: settings beside JPEG files. offset: (y, x) nanometres from the slide's centre to the picture's."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {"whole.jpg": picture, "map.jpg": reduced(picture, 8), "macro.jpg": np.full((64, 96, 3), 90, np.uint8)}
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(folder / name, "JPEG", quality=95, subsampling=0, restart_marker_blocks=8)
    height, width = picture.shape[:2]
    lines = {
        "NoLayers": 1, "NoJpegColumns": 1, "NoJpegRows": 1, "ImageFile": "whole.jpg", "MapFile": "map.jpg",
        "MacroImage": "macro.jpg", "PhysicalWidth": round(width * microns * 1000),
        "PhysicalHeight": round(height * microns * 1000), "XOffsetFromSlideCentre": offset[1],
        "YOffsetFromSlideCentre": offset[0], "SourceLens": 20, "Reference": NAME,
    }  # fmt: skip
    text = "[Virtual Microscope Specimen]\n" + "".join(f"{name}={value}\n" for name, value in lines.items())
    (folder / "slide.vms").write_text(text, encoding="ascii")
    return MadeSlide(files=tuple(sorted(folder.iterdir())), levels=(picture,))


def sum_of_region(paths: Sequence[Path], slide: Slide) -> int:
    """Of a region of level 0; stands here so that a spawned process finds it."""
    with open_regions(paths, slide, where="made/case") as region:
        return int(region(0, 100, 100, 300, 300).sum())
