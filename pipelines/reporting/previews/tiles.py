"""One thing of a case as a picture: its caption, and below it planes, a strip, text or rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from PIL import Image as Picture
from PIL import ImageDraw

from medshard.pipelines.reporting.previews.colours import (
    BLACK,
    DIM,
    JUDGED,
    LINE,
    LINE_PIXELS,
    WHITE,
    fitting,
    font,
    text_width,
    wrapped,
)
from medshard.pipelines.reporting.previews.panels import Size, panel_of
from medshard.pipelines.reporting.previews.shown import Colour, Passage, Plane, Rows, Shown

GAP = 6
CAPTION_LINES, WORD_LINES, PASSAGE_LINES = 2, 3, 9
LEAST_COLUMN_PIXELS, MOST_COLUMN_PIXELS = 60, 220

Line = tuple[str, Colour]


def tile_of(shown: Shown, size: Size, colours: Mapping[str, Colour], *, tight: bool = False) -> Picture.Image:
    """size: its width, and the height that planes may have; captions and text come on top of that. tight: no wider than
    what is on it.
    """
    parts = [*_captions(shown, size[0])]
    if shown.columns is not None and shown.planes:
        parts.append(_grid(shown.planes, shown.columns, size, colours))
    elif shown.planes:
        parts.append(_side_by_side(shown.planes, size, colours))
    if shown.drawing is not None:
        parts.append(Picture.fromarray(shown.drawing(size[0], colours)))
    parts += [_passage(passage, size[0]) for passage in shown.passages]
    if shown.rows is not None:
        parts.append(_rows(shown.rows, size[0]))
    width = max((part.width for part in parts), default=1) if tight else size[0]
    tile = Picture.new("RGB", (width, max(1, sum(part.height for part in parts))), BLACK)
    top = 0
    for part in parts:
        tile.paste(part, (0, top))
        top += part.height
    return tile


def _captions(shown: Shown, width: int) -> Iterator[Picture.Image]:
    lines: list[Line] = []
    for number, text in enumerate(shown.caption):
        lines += [(line, DIM if number else WHITE) for line in wrapped(text, width, CAPTION_LINES) if line]
    for text in shown.words:
        lines += [(line, JUDGED) for line in wrapped(text, width, WORD_LINES)]
    if lines:
        yield _written(lines, width)


def _written(lines: Sequence[Line], width: int) -> Picture.Image:
    picture = Picture.new("RGB", (width, LINE_PIXELS * len(lines)), BLACK)
    draw = ImageDraw.Draw(picture)
    for number, (text, colour) in enumerate(lines):
        draw.text((0, number * LINE_PIXELS), text, fill=colour, font=font())
    return picture


def _side_by_side(planes: Sequence[Plane], size: Size, colours: Mapping[str, Colour]) -> Picture.Image:
    """All planes have the same number of pixels per mm."""
    width, height = size
    gaps = GAP * (len(planes) - 1)
    scale = min(
        (width - gaps) / max(sum(plane.size_mm[1] for plane in planes), 1e-9),
        height / max(1e-9, *(plane.size_mm[0] for plane in planes)),
    )
    panels = [
        panel_of(plane, _scaled(plane, scale), colours, scale_bar=scale if number == 0 and plane.in_mm else None)
        for number, plane in enumerate(planes)
    ]
    tallest = max(panel.height for panel in panels)
    whole = Picture.new("RGB", (sum(panel.width for panel in panels) + gaps, tallest), BLACK)
    left = 0
    for panel in panels:
        whole.paste(panel, (left, (tallest - panel.height) // 2))
        left += panel.width + GAP
    return whole


def _grid(planes: Sequence[Plane], columns: int, size: Size, colours: Mapping[str, Colour]) -> Picture.Image:
    rows = math.ceil(len(planes) / columns)
    cell = (size[0] - GAP * (columns - 1)) // columns, max(8, (size[1] - GAP * (rows - 1)) // rows)
    panels = []
    for plane in planes:
        scale = min(cell[0] / max(plane.size_mm[1], 1e-9), cell[1] / max(plane.size_mm[0], 1e-9))
        panels.append(panel_of(plane, _scaled(plane, scale), colours, scale_bar=None))
    heights = [
        max(panel.height for panel in panels[start : start + columns]) for start in range(0, len(panels), columns)
    ]
    widest = max(panel.width for panel in panels)
    across = min(columns, len(planes))
    whole = Picture.new("RGB", (across * (widest + GAP) - GAP, sum(heights) + GAP * (rows - 1)), BLACK)
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        whole.paste(panel, (column * (widest + GAP), sum(heights[:row]) + GAP * row))
    return whole


def _scaled(plane: Plane, scale: float) -> Size:
    return max(1, round(plane.size_mm[1] * scale)), max(1, round(plane.size_mm[0] * scale))


def _passage(passage: Passage, width: int) -> Picture.Image:
    lines: list[Line] = [(fitting(passage.heading, width), JUDGED)] if passage.heading else []
    lines += [(line, WHITE) for line in wrapped(passage.text, width, PASSAGE_LINES) if line]
    return _written(lines, width)


def _rows(rows: Rows, width: int) -> Picture.Image:
    """As many columns as fit, each as wide as its longest cell up to a limit; the rest is said to be there."""
    widths = _column_widths(rows)
    shown = _columns_that_fit(widths, width - text_width("and 0000 more columns"))
    lines = 2 + len(rows.cells)
    picture = Picture.new("RGB", (width, LINE_PIXELS * lines + GAP), BLACK)
    draw = ImageDraw.Draw(picture)
    draw.line((0, 2 * LINE_PIXELS + 1, width, 2 * LINE_PIXELS + 1), fill=LINE)
    left = 0
    for number in range(shown):
        name, kind = rows.header[number]
        column = [(name, WHITE), (kind, DIM), *((cells[number], WHITE) for cells in rows.cells)]
        for row, (text, colour) in enumerate(column):
            top = row * LINE_PIXELS + (GAP if row > 1 else 0)
            draw.text((left, top), fitting(text, widths[number]), fill=colour, font=font())
        left += widths[number] + 2 * GAP
    hidden = rows.left_out + len(rows.header) - shown
    if hidden:
        draw.text((left, 0), f"and {hidden} more columns", fill=DIM, font=font())
    return picture


def _column_widths(rows: Rows) -> list[int]:
    columns = [[*head, *(row[number] for row in rows.cells)] for number, head in enumerate(rows.header)]
    widest = (max(text_width(text) for text in column) for column in columns)
    return [min(MOST_COLUMN_PIXELS, max(LEAST_COLUMN_PIXELS, width)) for width in widest]


def _columns_that_fit(widths: Sequence[int], width: int) -> int:
    left, count = 0, 0
    for column in widths:
        left += column + 2 * GAP
        if count and left > width:
            break
        count += 1
    return count
