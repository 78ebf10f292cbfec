"""One plane as a picture: pixels, outlines that stay crisp at any scale, strokes, letters, a bar of known length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw
from scipy import ndimage

from medshard.converters.array_types import Array
from medshard.pipelines.reporting.previews.colours import (
    BLACK,
    DIM,
    FONT_PIXELS,
    LINE,
    LINE_PIXELS,
    WHITE,
    fitting,
    font,
    text_width,
    wrapped,
)
from medshard.pipelines.reporting.previews.shown import Colour, Plane, Stroke

Mask = NDArray[np.bool_]
Size = tuple[int, int]
"""Width and height in pixels."""

SCALE_BARS_MM = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)
# More words than this, or in a picture smaller than that, would hide what they name; the legend names it too.
MOST_WORDS, LEAST_WORDY_PIXELS = 8, 120
CROSS_PIXELS = 4
FOOT_LINES, NARROW_PIXELS = 2, 130


def panel_of(plane: Plane, size: Size, colours: Mapping[str, Colour], *, scale_bar: float | None) -> Picture.Image:
    """A plane scaled to a size. Outlines are found after scaling, so that they are one pixel wide.

    scale_bar: pixels of the panel per mm, for a bar; None for no bar.
    """
    marked = _areas if plane.marks == "areas" else _tints if plane.marks == "tints" else _outlined
    panel = Picture.fromarray(marked(plane, size, colours))
    draw = ImageDraw.Draw(panel)
    _draw_strokes(draw, plane, size, colours)
    _draw_letters(draw, plane, size)
    if scale_bar is not None:
        _draw_scale_bar(draw, size, scale_bar)
    return _with_foot(panel, plane.foot)


def outline(marked: Array, size: Size) -> Mask:
    """The inner edge of a mask scaled to (width, height), as (rows, columns); nothing of it vanishes.

    marked: bool, or integers, of which every value above 0 gets an edge of its own.
    """
    scaled = _scaled(marked != 0, size)
    edge = scaled & ~ndimage.binary_erosion(scaled)
    if marked.dtype == bool:
        return cast(Mask, edge)
    values = _nearest(marked, size)
    for axis in (0, 1):
        edge |= np.diff(values, axis=axis, append=np.take(values, [-1], axis=axis)) != 0
    return cast(Mask, edge & scaled)


def _scaled(mask: Mask, size: Size) -> Mask:
    """Pixels that are at least half covered, and of a part of which no pixel is, those that it touches."""
    covered = np.asarray(Picture.fromarray(mask.astype(np.float32)).resize(size, Picture.Resampling.BOX))
    # A float32 mean of ones can be a little below 1, and of halves below a half.
    scaled = covered > 0.499
    near = ndimage.binary_dilation(scaled, structure=np.ones((3, 3)))
    return cast(Mask, scaled | ((covered > 0) & ~near))


def _nearest(array: Array, size: Size) -> Array:
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(int), old - 1)
        for new, old in zip(reversed(size), array.shape, strict=True)
    )
    return cast(Array, np.asarray(array, np.int64)[np.ix_(rows, columns)])


def _outlined(plane: Plane, size: Size, colours: Mapping[str, Colour]) -> NDArray[np.uint8]:
    # Pillow's bilinear filter widens with the step, so that what gets smaller is averaged and not picked.
    pixels = np.asarray(Picture.fromarray(plane.pixels).resize(size, Picture.Resampling.BILINEAR).convert("RGB")).copy()
    for concept, marked in plane.marked.items():
        pixels[outline(marked, size)] = colours[concept]
    return pixels


def _areas(plane: Plane, size: Size, colours: Mapping[str, Colour]) -> NDArray[np.uint8]:
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    for concept, marked in plane.marked.items():
        pixels[_scaled(marked != 0, size)] = colours[concept]
        if marked.dtype != bool:
            pixels[outline(marked, size)] = BLACK
    pixels[[0, -1]] = pixels[:, [0, -1]] = LINE
    return pixels


def tinted(plane: Plane, colours: Mapping[str, Colour]) -> NDArray[np.uint8]:
    """(rows, columns, 3): the pixels of a plane, those that are marked in the shades of their concept's colour."""
    pixels = np.array(Picture.fromarray(plane.pixels).convert("RGB"))
    for concept, marked in plane.marked.items():
        places = marked != 0
        pixels[places] = (pixels[places].astype(np.uint16) * colours[concept] // 255).astype(np.uint8)
    return pixels


def _tints(plane: Plane, size: Size, colours: Mapping[str, Colour]) -> NDArray[np.uint8]:
    return np.array(Picture.fromarray(tinted(plane, colours)).resize(size, Picture.Resampling.BILINEAR))


def _draw_strokes(draw: ImageDraw.ImageDraw, plane: Plane, size: Size, colours: Mapping[str, Colour]) -> None:
    rows, columns = plane.pixels.shape[:2]
    wordy = len(plane.strokes) <= MOST_WORDS and min(size) >= LEAST_WORDY_PIXELS
    for stroke in plane.strokes:
        places = (stroke.points + 0.5) * (size[1] / rows, size[0] / columns) - 0.5
        points = [(float(column), float(row)) for row, column in places]
        colour = colours[stroke.concept]
        if stroke.kind == "point":
            for x, y in points:
                draw.line((x - CROSS_PIXELS, y, x + CROSS_PIXELS, y), fill=colour)
                draw.line((x, y - CROSS_PIXELS, x, y + CROSS_PIXELS), fill=colour)
        elif len(points) > 1:
            draw.line([*points, *(points[:1] if stroke.kind == "outline" else [])], fill=colour)
        if wordy and stroke.word:
            _write_beside(draw, stroke, points, size, colour)


def _write_beside(
    draw: ImageDraw.ImageDraw, stroke: Stroke, points: list[tuple[float, float]], size: Size, colour: Colour
) -> None:
    left, top = min(x for x, _ in points), min(y for _, y in points)
    text = fitting(stroke.word, size[0] // 2)
    x = min(max(1.0, left), size[0] - text_width(text) - 1.0)
    y = top - LINE_PIXELS if top > LINE_PIXELS else top + 2
    draw.text((x, y), text, fill=colour, font=font(), stroke_width=1, stroke_fill=BLACK)


def _draw_letters(draw: ImageDraw.ImageDraw, plane: Plane, size: Size) -> None:
    middle = (size[1] - FONT_PIXELS) // 2
    centre = size[0] // 2
    places = [
        (plane.left, (2, middle)),
        (plane.right, (size[0] - 2 - text_width(plane.right), middle)),
        (plane.top, (centre - text_width(plane.top) // 2, 1)),
        (plane.bottom, (centre - text_width(plane.bottom) // 2, size[1] - LINE_PIXELS)),
    ]
    # Of a narrow strip the upper and lower letter would lie on the others.
    for text, place in places if min(size) >= 3 * LINE_PIXELS else places[:2]:
        if text:
            draw.text(place, text, fill=WHITE, font=font(), stroke_width=1, stroke_fill=BLACK)


def _draw_scale_bar(draw: ImageDraw.ImageDraw, size: Size, scale: float) -> None:
    fitting_bars = [length for length in SCALE_BARS_MM if length * scale <= 0.4 * size[0]]
    if not fitting_bars or size[1] < 3 * LINE_PIXELS:
        return
    # In a narrow panel the letter of the lower edge would lie on the bar's words.
    length, bottom = fitting_bars[-1], size[1] - (4 if size[0] >= NARROW_PIXELS else LINE_PIXELS + 2)
    draw.rectangle((3, bottom - 1, 5 + length * scale, bottom + 1), fill=WHITE, outline=BLACK)
    label = f"{length:g} mm" if length >= 1 else f"{length * 1000:g} um"
    draw.text((4, bottom - LINE_PIXELS - 1), label, fill=WHITE, font=font(), stroke_width=1, stroke_fill=BLACK)


def _with_foot(panel: Picture.Image, foot: str) -> Picture.Image:
    if not foot:
        return panel
    lines = wrapped(foot, panel.width, FOOT_LINES)
    whole = Picture.new("RGB", (panel.width, panel.height + LINE_PIXELS * len(lines)), BLACK)
    whole.paste(panel, (0, 0))
    draw = ImageDraw.Draw(whole)
    for number, line in enumerate(lines):
        draw.text((0, panel.height + number * LINE_PIXELS), line, fill=DIM, font=font())
    return whole
