"""The colours and letters of previews."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from PIL import ImageFont

from medshard.pipelines.reporting.previews.shown import Colour

WHITE, DIM, LINE, BLACK = (255, 255, 255), (170, 170, 170), (70, 70, 70), (0, 0, 0)
# What was judged of a case, apart from the colours of concepts.
JUDGED = (255, 214, 140)
# Paper, fine and broad lines of the grid that signals are read on, and what the source has no data for.
PAPER, FINE, BROAD, NO_DATA = (255, 251, 248), (250, 226, 220), (236, 178, 170), (214, 214, 214)

# Okabe and Ito's colours, which colour-blind readers can tell apart too, those that show on black and on white first;
# then a light and a dark one of most of them.
CONCEPT_COLOURS: tuple[Colour, ...] = (
    *((213, 94, 0), (86, 180, 233), (240, 228, 66), (0, 158, 115)),
    *((204, 121, 167), (230, 159, 0), (0, 114, 178)),
    *(
        (255, 160, 122),
        (170, 225, 255),
        (120, 225, 180),
        (245, 190, 225),
        (150, 60, 160),
        (160, 130, 20),
        (120, 200, 60),
    ),
)
OTHER_COLOURS: tuple[Colour, ...] = (DIM, LINE, JUDGED, PAPER, FINE, BROAD, NO_DATA)

FONT_PIXELS = 12
LINE_PIXELS = 15


def colours_of(concepts: Iterable[str]) -> dict[str, Colour]:
    """Concept -> its colour, in the order of their names. Of more concepts than colours some share one."""
    return {name: CONCEPT_COLOURS[number % len(CONCEPT_COLOURS)] for number, name in enumerate(sorted(set(concepts)))}


@cache
def font() -> Any:
    """Pillow's own typeface, so that a picture does not depend on what is installed."""
    return ImageFont.load_default(size=FONT_PIXELS)


def text_width(text: str) -> int:
    return round(font().getlength(text))


def fitting(text: str, width: int) -> str:
    """The text, cut where it is wider than that many pixels."""
    if text_width(text) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if text_width(text[:middle] + "...") <= width else (low, middle - 1)
    return text[:low] + "..."


def wrapped(text: str, width: int, most: int) -> list[str]:
    """The text in at most that many lines of at most that many pixels; what does not fit is cut and shows dots."""
    lines: list[str] = [""]
    words = text.split()
    for number, word in enumerate(words):
        longer = f"{lines[-1]} {word}".strip()
        if text_width(longer) <= width or not lines[-1]:
            lines[-1] = longer
        elif len(lines) < most:
            lines.append(word)
        else:
            lines[-1] = " ".join((lines[-1], *words[number:]))
            break
    return [fitting(line, width) for line in lines]
