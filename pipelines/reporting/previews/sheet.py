"""Contact sheets: things of many cases in one PNG of bounded size, with one legend. Equal things give equal bytes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from PIL import Image as Picture
from PIL import ImageDraw

from medshard.pipelines.reporting.previews.colours import (
    BLACK,
    CONCEPT_COLOURS,
    DIM,
    LINE,
    LINE_PIXELS,
    OTHER_COLOURS,
    colours_of,
    font,
    text_width,
)
from medshard.pipelines.reporting.previews.panels import Size, tinted
from medshard.pipelines.reporting.previews.shown import Colour, Pixels, Shown
from medshard.pipelines.reporting.previews.tiles import GAP, tile_of

CONVENTION = "Radiological view: the patient's right is on the left (R, L); sagittal slices face left (A, P)."
SHARED_COLOURS = "There are more classes than colours: some share one."
# Tried in this order until the picture is small enough: share of the tile's size, number of grey levels.
ECONOMIES = ((1.0, 64), (1.0, 32), (0.85, 32), (0.72, 28), (0.6, 24), (0.5, 24), (0.4, 16))
COLOURS_OF_PHOTOGRAPHS = 96
SAMPLED_PIXELS = 1 << 20
MOST_IN_LEGEND = 60


def sheet_png(shown: Sequence[Shown], *, tile: Size, most_bytes: int, note: str = "") -> bytes:
    """All of it in two columns, the legend below.

    tile: largest width and height of one thing in pixels; it shrinks, as does the number of greys, until the file has
    at most `most_bytes`, or cannot be made smaller. note: printed before the convention.
    """
    colours = colours_of(concept for each in shown for concept in each.concepts)
    png = b""
    for share, greys in ECONOMIES:
        size = round(tile[0] * share), round(tile[1] * share)
        png = encoded(_sheet(shown, size, colours, note), greys, photographs=_photographs(shown, colours))
        if len(png) <= most_bytes:
            break
    return png


def tile_png(shown: Shown, size: Size, colours: Mapping[str, Colour]) -> bytes:
    """One thing by itself."""
    return encoded(
        tile_of(shown, size, colours, tight=True), ECONOMIES[0][1], photographs=_photographs([shown], colours)
    )


def encoded(picture: Picture.Image, greys: int, *, photographs: Sequence[Pixels]) -> bytes:
    """PNG with a palette: evenly spaced greys, the colours of the legend, and the commonest ones of photographs."""
    palette = [int(level) for level in np.linspace(0, 255, greys).round() for _ in range(3)]
    palette += [part for colour in (*OTHER_COLOURS, *CONCEPT_COLOURS) for part in colour]
    if photographs:
        step = max(7, sum(photograph.size for photograph in photographs) // 3 // SAMPLED_PIXELS)
        pixels = np.concatenate([photograph.reshape(-1, 3)[::step] for photograph in photographs])
        common = Picture.fromarray(pixels[None]).quantize(COLOURS_OF_PHOTOGRAPHS, Picture.Quantize.MEDIANCUT)
        palette += common.getpalette() or []
    holder = Picture.new("P", (1, 1))
    holder.putpalette(palette)
    stream = io.BytesIO()
    picture.quantize(palette=holder, dither=Picture.Dither.NONE).save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def _photographs(shown: Sequence[Shown], colours: Mapping[str, Colour]) -> list[Pixels]:
    """Pixels whose colours are neither greys nor in the legend."""
    planes = [plane for each in shown for plane in each.planes if plane.marks != "areas"]
    coloured = [plane.pixels for plane in planes if plane.pixels.ndim == 3 and plane.marks == "outlines"]
    return coloured + [tinted(plane, colours) for plane in planes if plane.marks == "tints"]


def _sheet(shown: Sequence[Shown], size: Size, colours: Mapping[str, Colour], note: str) -> Picture.Image:
    columns = 1 if len(shown) < 2 and not any(each.wide for each in shown) else 2
    width = columns * (size[0] + GAP) + GAP
    lines = [
        [tile_of(each, (width - 2 * GAP, size[1] * 2) if each.wide else size, colours) for each in line]
        for line in _lines(shown, columns)
    ]
    heights = [max(tile.height for tile in line) + GAP for line in lines]
    legend = _legend(colours, remarks(shown, colours, note), width)
    sheet = Picture.new("RGB", (width, sum(heights) + legend.height + GAP), BLACK)
    draw = ImageDraw.Draw(sheet)
    top = GAP
    for line, height in zip(lines, heights, strict=True):
        for column, tile in enumerate(line):
            sheet.paste(tile, (GAP + column * (size[0] + GAP), top))
        top += height
        draw.line((GAP, top - GAP // 2, width - GAP, top - GAP // 2), fill=LINE)
    sheet.paste(legend, (0, top))
    return sheet


def _lines(shown: Sequence[Shown], columns: int) -> list[list[Shown]]:
    lines: list[list[Shown]] = []
    for each in shown:
        fresh = not lines or each.wide or each.first or lines[-1][0].wide or len(lines[-1]) == columns
        if fresh:
            lines.append([])
        lines[-1].append(each)
    return lines


def remarks(shown: Iterable[Shown], colours: Mapping[str, Colour], note: str = "") -> str:
    """What a reader has to know to read the pictures."""
    shared = f" {SHARED_COLOURS}" if len(colours) > len(CONCEPT_COLOURS) else ""
    convention = CONVENTION if any(plane.left for each in shown for plane in each.planes) else ""
    return note + convention + shared


def _legend(colours: Mapping[str, Colour], text: str, width: int) -> Picture.Image:
    """The classes in their colours, then the text, broken into lines that fit."""
    names = list(colours.items())
    words = [*names[:MOST_IN_LEGEND]]
    if len(names) > MOST_IN_LEGEND:
        words.append((f"and {len(names) - MOST_IN_LEGEND} more classes", DIM))
    lines: list[list[tuple[str, Colour]]] = [[]]
    left = GAP
    for word, colour in (*words, *((word, DIM) for word in text.split())):
        length = text_width(word) + 2 * GAP
        if left + length > width and lines[-1]:
            lines.append([])
            left = GAP
        lines[-1].append((word, colour))
        left += length
    legend = Picture.new("RGB", (width, len(lines) * LINE_PIXELS), BLACK)
    draw = ImageDraw.Draw(legend)
    for number, line in enumerate(lines):
        left = GAP
        for word, colour in line:
            draw.text((left, number * LINE_PIXELS), word, fill=colour, font=font())
            left += text_width(word) + (2 * GAP if colour != DIM else GAP // 2 + 1)
    return legend
