"""Tables for people: as wide as they have to be, as narrow as the terminal is."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

GAP = "  "


@dataclass(frozen=True)
class Column:
    """A column of a table.

    rank: the higher, the earlier it is left out where the terminal is too narrow; 0 always stays. least: characters
    below which it is left out rather than cut.
    """

    title: str
    rank: int = 0
    least: int = 8
    right: bool = False


def terminal_width() -> int | None:
    """Characters of a line; None where the output is no terminal and nothing is cut."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]], width: int | None) -> Iterable[str]:
    """Lines of a table. With a width, columns of high rank go first, and then the last column is cut."""
    cells = [[column.title for column in columns], *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[number]) for row in cells) for number in range(len(columns))]
    shown = list(range(len(columns)))
    if width is not None:
        while _total(widths, shown) > width and (more := _next_to_go(columns, shown)) is not None:
            last = shown[-1]
            if last != more and widths[last] - (_total(widths, shown) - width) >= columns[last].least:
                break  # cutting the last column is enough
            shown.remove(more)
        over = _total(widths, shown) - width
        if over > 0:
            natural = widths[shown[-1]]
            widths[shown[-1]] = max(min(columns[shown[-1]].least, natural), natural - over)
    for row in cells:
        yield GAP.join(_cell(row[number], widths[number], columns[number]) for number in shown).rstrip()


def _total(widths: Sequence[int], shown: Sequence[int]) -> int:
    return sum(widths[number] for number in shown) + len(GAP) * (len(shown) - 1)


def _next_to_go(columns: Sequence[Column], shown: Sequence[int]) -> int | None:
    candidates = [number for number in shown if columns[number].rank > 0]
    return max(candidates, key=lambda number: columns[number].rank, default=None)


def _cell(text: str, width: int, column: Column) -> str:
    if len(text) > width:
        return text[: max(0, width - 1)] + "…"
    return text.rjust(width) if column.right else text.ljust(width)
