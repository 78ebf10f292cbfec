"""Tables on wide terminals, narrow ones, and none."""

from __future__ import annotations

import shutil
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medshard.commands.tables import GAP, Column, table, terminal_width

COLUMNS = [Column("id"), Column("cases", right=True), Column("access", rank=1), Column("title", rank=2, least=6)]
ROWS = [["lits", "201", "open", "Liver tumours"], ["kits23", "599", "agreement", "Kidneys and what grows on them"]]


def shown(width: int | None) -> list[str]:
    return list(table(COLUMNS, ROWS, width))


def test_without_a_width_nothing_is_cut() -> None:
    assert shown(None) == [
        "id      cases  access     title",
        "lits      201  open       Liver tumours",
        "kits23    599  agreement  Kidneys and what grows on them",
    ]


def test_a_wide_terminal_shows_the_same() -> None:
    assert shown(200) == shown(None)
    assert shown(max(len(line) for line in shown(None))) == shown(None)


def test_the_column_of_the_highest_rank_goes_first() -> None:
    assert shown(30) == ["id      cases  access", "lits      201  open", "kits23    599  agreement"]
    assert shown(16) == ["id      cases", "lits      201", "kits23    599"]


def test_the_last_column_is_cut_where_that_is_enough() -> None:
    columns = [Column("id"), Column("title", least=6), Column("note", rank=3)]
    rows = [["lits", "Liver and its tumours", "n"]]
    assert list(table(columns, rows, 14)) == ["id    title", "lits  Liver a…"]


def test_a_cut_that_spares_a_column_is_preferred_to_leaving_it_out() -> None:
    columns = [Column("id"), Column("access", rank=1), Column("title", least=6)]
    rows = [["lits", "open", "Liver and its tumours"]]
    assert list(table(columns, rows, 22)) == ["id    access  title", "lits  open    Liver a…"]
    assert list(table(columns, rows, 19)) == ["id    title", "lits  Liver and it…"]


def test_a_column_is_never_made_wider_than_its_content() -> None:
    columns = [Column("identifier"), Column("n", right=True, least=8)]
    assert list(table(columns, [["some-long-id", "1"]], 5)) == ["identifier    n", "some-long-id  1"]


def test_a_table_without_rows_has_its_titles() -> None:
    assert list(table(COLUMNS, [], None)) == ["id  cases  access  title"]


cells = st.text("abc äµ", max_size=30)
columns = st.lists(
    st.builds(Column, st.text("ABC", min_size=1, max_size=8), rank=st.integers(0, 3), least=st.integers(1, 10)),
    min_size=1,
    max_size=5,
).map(lambda found: [Column("ID", least=2), *found])


@settings(deadline=None)
@given(columns=columns, width=st.integers(1, 120), data=st.data())
def test_it_fits_unless_what_always_stays_is_too_wide(columns: list[Column], width: int, data: st.DataObject) -> None:
    row = st.lists(cells, min_size=len(columns), max_size=len(columns))
    rows = data.draw(st.lists(row, max_size=4))
    always = [number for number, column in enumerate(columns) if column.rank == 0]
    widths = [max(len(line[number]) for line in [[column.title for column in columns], *rows]) for number in always]
    last = max(1, min(columns[always[-1]].least, widths[-1]))
    least = sum(widths[:-1]) + last + len(GAP) * (len(always) - 1)
    lines = list(table(columns, rows, width))
    assert len(lines) == len(rows) + 1
    assert max(len(line) for line in lines) <= max(width, least)


def test_only_a_terminal_has_a_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: __import__("os").terminal_size((77, 20)))
    assert terminal_width() == 77
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    assert terminal_width() is None
