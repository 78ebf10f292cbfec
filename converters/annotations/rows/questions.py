"""Questions about a case and their answers, with the choices where there are any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medshard.converters.annotation_table import AnnotationTable, rows_table
from medshard.converters.annotations.rows.rows import Cell, Row, cell_of, has_column, is_blank, text_of, word_of
from medshard.converters.annotations.rows.words import RowsRead, column_for, no_column
from medshard.errors import CaseError
from medshard.registry.schema.annotations import QuestionAnswers

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

INCOMPLETE = "{count} rows have no question, and are left out"


def read_questions(annotation: QuestionAnswers, rows: Sequence[Row], *, where: str) -> RowsRead:
    """A row for each question. The answer is its words, also where the source gives the number or letter of a choice.

    Raises CaseError[annotation.no_column | annotation.no_such_option].
    """
    question = _column(annotation.question, ("question", "Question"), rows, where)
    answer = _column(annotation.answer, ("answer", "Answer"), rows, where)
    named = {role: column_for(annotation, role, rows, where=where) for role in ("options", "topic", "language")}
    for column in annotation.options:
        if rows and not has_column(rows, column):
            raise no_column(where, "options", column, rows)
    found: list[dict[str, object]] = []
    without = 0
    for number, row in enumerate(rows, start=1):
        asked = text_of(cell_of(row, question))
        if not asked:
            without += 1
            continue
        options = _options(annotation, row, named["options"])
        found.append(
            {
                "question": asked,
                "answer": _answer(annotation, cell_of(row, answer), options, number, where),
                "options": list(options.values()) or None,
                "topic": _optional(row, named["topic"]),
                "language": _optional(row, named["language"]),
            }
        )
    table = AnnotationTable(
        kind="question-answers",
        table=rows_table("question-answers", found),
        rater=annotation.rater,
        warnings=(INCOMPLETE.format(count=without),) if without else (),
    )
    return RowsRead(table=table)


def _column(named: str | None, usual: tuple[str, ...], rows: Sequence[Row], where: str) -> str:
    """The column that the entry names, or the usual one. Raises CaseError[annotation.no_column]."""
    column = named or next((name for name in usual if rows and has_column(rows, name)), usual[0])
    if rows and not has_column(rows, column):
        raise no_column(where, usual[0], column, rows)
    return column


def _options(annotation: QuestionAnswers, row: Row, column: str | None) -> dict[str, str]:
    """Letter of each choice -> its words. A choice may be a text, or a record with the key and the words."""
    if annotation.options:
        cells: Sequence[Cell] = [cell_of(row, name) for name in annotation.options]
    else:
        cell = cell_of(row, column) if column else None
        if isinstance(cell, Mapping):
            return {str(letter): text_of(words) for letter, words in cell.items() if not is_blank(words)}
        cells = cell if isinstance(cell, list) else []
    lettered = zip(LETTERS, cells, strict=False)
    return _without_letters(dict(_lettered(letter, choice) for letter, choice in lettered if not is_blank(choice)))


def _without_letters(options: dict[str, str]) -> dict[str, str]:
    """Choices that all repeat their own letter, as in `A: liver`, without it."""
    if not all(words.startswith(f"{letter}:") for letter, words in options.items()):
        return options
    return {letter: words.removeprefix(f"{letter}:").strip() for letter, words in options.items()}


def _lettered(letter: str, choice: Cell) -> tuple[str, str]:
    if isinstance(choice, Mapping):
        words = [text_of(value) for value in choice.values()]
        return (words[0], words[1]) if len(words) == 2 and len(words[0]) == 1 else (letter, " ".join(words))
    return letter, text_of(choice)


def _answer(annotation: QuestionAnswers, cell: Cell, options: Mapping[str, str], number: int, where: str) -> str | None:
    """The words of the answer; None where it is withheld. Raises CaseError[annotation.no_such_option]."""
    if isinstance(cell, list):
        parts = [_answer(annotation, part, options, number, where) for part in cell]
        return "; ".join(part for part in parts if part) or None
    said = word_of(cell)
    if not said:
        return None
    if annotation.first is not None and said.lstrip("-").isdecimal():
        place = int(said) - annotation.first
        letters = list(options)
        if 0 <= place < len(letters):
            return options[letters[place]]
        if int(said) < annotation.first:
            return None
        raise CaseError(
            "annotation.no_such_option",
            where=where,
            problem="the answer is the number of a choice that is not there",
            details={"row of the case": number, "choices": len(options), "first": annotation.first},
            action="Correct `first` or `options` of the entry's annotation.",
        )
    return options[said] if said in options and said not in options.values() else text_of(cell)


def _optional(row: Row, column: str | None) -> str | None:
    return (text_of(cell_of(row, column)) or None) if column else None
