"""Pictures of a scored case: three slices with the contours of truth and prediction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from medshard.converters.volume import Affine, spacing_of

Mask = NDArray[np.bool_]

TRUTH_COLOUR = (80, 220, 100)
PREDICTION_COLOUR = (255, 120, 60)
PANEL_PIXELS = 320
CAPTION_PIXELS = 18
GREY_PERCENTILES = (0.5, 99.5)


def write_overlay(
    path: Path,
    image: NDArray[np.float32],
    truth: NDArray[np.int64],
    prediction: NDArray[np.int64],
    *,
    affine: Affine,
    caption: str,
) -> None:
    """PNG of three slices across z, whole above and enlarged around the foreground below.

    image: (z, y, x). truth, prediction: (z, y, x), 0 for the background; all classes are drawn as one.
    affine: (4, 4) index (z, y, x, 1) -> RAS+ mm. Panels are shown as in radiology: anterior on top, the patient's right
    on the left, pixels in proportion to millimetres.
    """
    seen, found = _facing_viewer(truth > 0, affine), _facing_viewer(prediction > 0, affine)
    grey = _to_grey(_facing_viewer(image, affine))
    spacing_mm = spacing_of(affine)[1:]
    wanted = seen if seen.any() else found
    box = _box_around(wanted)
    sheet = Image.new("RGB", (3 * PANEL_PIXELS, 2 * PANEL_PIXELS + CAPTION_PIXELS), "black")
    for column, number in enumerate(choose_slices(wanted)):
        for row, crop in enumerate((slice(None), box)):
            panel = _panel(grey[number][crop], seen[number][crop], found[number][crop], spacing_mm, f"slice {number}")
            sheet.paste(panel, (column * PANEL_PIXELS, CAPTION_PIXELS + row * PANEL_PIXELS))
    draw = ImageDraw.Draw(sheet)
    draw.text((4, 3), caption, fill="white")
    draw.text((sheet.width - 150, 3), "truth", fill=TRUTH_COLOUR)
    draw.text((sheet.width - 100, 3), "prediction", fill=PREDICTION_COLOUR)
    sheet.save(path, format="PNG")


def choose_slices(mask: Mask) -> list[int]:
    """Three z indices: a quarter, a half and three quarters of the way through the slices that hold foreground.

    Without any foreground the way goes through the whole volume.
    """
    held = np.flatnonzero(np.any(mask, axis=(1, 2)))
    slices = held if len(held) else np.arange(len(mask))
    return [int(slices[len(slices) * quarter // 4]) for quarter in (1, 2, 3)]


def _facing_viewer(array: NDArray[Any], affine: Affine) -> NDArray[Any]:
    """(z, y, x) flipped so that rows run to posterior and columns to the patient's left."""
    anterior_of_y, right_of_x = affine[1, 1], affine[0, 2]
    rows = slice(None, None, -1) if anterior_of_y > 0 else slice(None)
    columns = slice(None, None, -1) if right_of_x > 0 else slice(None)
    return array[:, rows, columns]


def _to_grey(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    low, high = np.percentile(image, GREY_PERCENTILES)
    share = (image - low) / max(float(high - low), 1e-6)
    return (np.clip(share, 0.0, 1.0) * 255).astype(np.uint8)


def _box_around(mask: Mask) -> tuple[slice, slice]:
    """Rows and columns that hold the foreground of all slices, with as much again around it; all when there is none."""
    flat = np.any(mask, axis=0)
    if not flat.any():
        return slice(None), slice(None)
    spans = []
    for axis in (0, 1):
        inside = np.flatnonzero(np.any(flat, axis=1 - axis))
        margin = max(12, int(inside[-1] - inside[0]) // 2)
        spans.append(slice(max(0, int(inside[0]) - margin), int(inside[-1]) + 1 + margin))
    return spans[0], spans[1]


def _panel(
    grey: NDArray[np.uint8], truth: Mask, prediction: Mask, spacing_mm: tuple[float, float], caption: str
) -> Image.Image:
    """A slice scaled into a square; contours are found after scaling, so that they are one pixel wide."""
    height_mm, width_mm = grey.shape[0] * spacing_mm[0], grey.shape[1] * spacing_mm[1]
    scale = PANEL_PIXELS / max(height_mm, width_mm)
    size = max(1, round(width_mm * scale)), max(1, round(height_mm * scale))
    pixels = np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BILINEAR).convert("RGB")).copy()
    for mask, colour in ((truth, TRUTH_COLOUR), (prediction, PREDICTION_COLOUR)):
        scaled = np.asarray(Image.fromarray(mask.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)) > 0
        pixels[scaled & ~ndimage.binary_erosion(scaled)] = colour
    panel = Image.new("RGB", (PANEL_PIXELS, PANEL_PIXELS), "black")
    panel.paste(Image.fromarray(pixels), ((PANEL_PIXELS - size[0]) // 2, (PANEL_PIXELS - size[1]) // 2))
    ImageDraw.Draw(panel).text((4, PANEL_PIXELS - 14), caption, fill="white")
    return panel
