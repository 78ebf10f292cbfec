"""Classes of a case: from a folder, a column of classes, or a column for each class."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from medshard.converters.annotation_table import AnnotationTable, rows_table
from medshard.converters.annotations.rows.rows import Cell, Row, cell_of, has_column, text_of, word_of
from medshard.converters.annotations.rows.words import RowsRead, Words, no_column
from medshard.errors import CaseError
from medshard.registry.schema.annotations import Annotation, ClassFolder, ClassTable, State

USUAL_STATES: dict[str, State] = {
    "1": "present",
    "true": "present",
    "yes": "present",
    "0": "absent",
    "false": "absent",
    "no": "absent",
    "": "not-judged",
}

# Which state a class has that several rows of a case judge differently.
STRONGER: tuple[State, ...] = ("present", "uncertain", "absent")

DISAGREE = "rows of the case judge {count} classes differently; the strongest word counts, present before absent"
NO_COLUMN = "the entry does not say which column holds the classes, so none is read"

Judged = dict[tuple[str | None, str], State]
"""(concept or None, word) -> state"""


def class_folder(annotation: ClassFolder, fields: Mapping[str, str], *, where: str) -> RowsRead:
    """The class of a case that its path tells. Raises CaseError[annotation.no_column]."""
    if annotation.field not in fields:
        raise no_column(where, "field", annotation.field, [])
    words = Words(annotation)
    judged: Judged = {}
    _judge(judged, words, fields[annotation.field].strip(), "present")
    return _read(annotation, words, judged, judged_all=True)


def read_classes(annotation: ClassTable, rows: Sequence[Row], *, where: str) -> RowsRead:
    """A row for each concept that was judged.

    Of a column of classes, what was examined and is not named is absent, unless a word is unknown, which may stand
    for anything. Raises CaseError[annotation.no_column | annotation.not_one_hot].
    """
    words = Words(annotation)
    if not annotation.column and not annotation.within:
        return _class_columns(annotation, rows, words, where=where)
    if annotation.column and rows and not has_column(rows, annotation.column):
        raise no_column(where, "column", annotation.column, rows)
    judged: Judged = {}
    is_judged = False
    for row in rows:
        cell = cell_of(row, annotation.column) if annotation.column else list(row.values())
        is_judged |= _judge_cell(judged, words, annotation, cell, where)
    return _read(annotation, words, judged, judged_all=is_judged)


def _judge_cell(judged: Judged, words: Words, annotation: ClassTable, cell: Cell, where: str) -> bool:
    """Take one cell of a column of classes; whether it judges at all."""
    found = _words_of(annotation, cell, words, where)
    state = annotation.states.get("" if not found else found[0]) if len(found) < 2 else None
    if state is not None and not (found and words.knows(found[0])):
        if state in ("present", "uncertain"):
            for word in annotation.values:
                _judge(judged, words, word, state)
        return state != "not-judged"
    for word in found:
        _judge(judged, words, word, "present")
    return bool(found) or annotation.within


def _words_of(annotation: ClassTable, cell: Cell, words: Words, where: str) -> list[str]:
    if annotation.within:
        text = _all_text(cell).lower()
        return [word for word in (*annotation.values, *annotation.unmapped) if _occurs(word.lower(), text)]
    if annotation.one_hot:
        return _hot(annotation, cell, where)
    parts: Iterable[Cell] = cell if isinstance(cell, list) else [cell]
    if annotation.separator:
        divider = None if annotation.separator == "blank" else annotation.separator
        parts = [piece for part in parts for piece in text_of(part).strip("[]").split(divider)]
        parts = [part.strip(" '\"") for part in parts]
    elif words.knows(text_of(cell)):
        return [text_of(cell)]
    return [word for part in parts if (word := word_of(part))]


def _occurs(word: str, text: str) -> bool:
    """Whether a word stands in a text, not as a part of a longer one."""
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None


def _all_text(cell: Cell) -> str:
    if isinstance(cell, list):
        return "\n".join(_all_text(part) for part in cell)
    return text_of(cell)


def _hot(annotation: ClassTable, cell: Cell, where: str) -> list[str]:
    known = list(annotation.values)
    flags = [word_of(part) for part in cell] if isinstance(cell, list) else []
    if len(flags) != len(known) or not set(flags) <= {"0", "1"}:
        raise CaseError(
            "annotation.not_one_hot",
            where=where,
            problem="the cell is no list of 0 and 1 with one number for each of the classes",
            details={"expected": len(known), "found": len(flags)},
            action="Correct `one_hot` or `values` of the entry's annotation.",
        )
    return [word for word, flag in zip(known, flags, strict=True) if flag == "1"]


def _class_columns(annotation: ClassTable, rows: Sequence[Row], words: Words, *, where: str) -> RowsRead:
    if not words.listed:
        return _read(annotation, words, {}, judged_all=False, warnings=(NO_COLUMN,))
    states = annotation.states or USUAL_STATES
    judged: Judged = {}
    different: set[str] = set()
    for column in (*annotation.values, *annotation.unmapped):
        if rows and not has_column(rows, column):
            if column in annotation.unmapped:
                continue
            raise no_column(where, "values", column, rows)
        for row in rows:
            word = word_of(cell_of(row, column))
            state = states.get(word, states.get(word.lower(), "not-judged" if not word else None))
            if state is None:
                words.note(word)
            elif state != "not-judged":
                different |= {column} if _judge(judged, words, column, state) else set()
    warnings = (DISAGREE.format(count=len(different)),) if different else ()
    return _read(annotation, words, judged, judged_all=False, warnings=warnings)


def _judge(judged: Judged, words: Words, word: str, state: State) -> bool:
    """Note a state of what the word means; whether another row said something else."""
    differs = False
    for meaning in words.meanings(word):
        place = (meaning["concept"], meaning["word"] or "")
        before = judged.get(place)
        differs |= before is not None and before != state
        if place != (None, "") and (before is None or STRONGER.index(state) < STRONGER.index(before)):
            judged[place] = state
    return differs


def _read(
    annotation: Annotation, words: Words, judged: Judged, *, judged_all: bool, warnings: tuple[str, ...] = ()
) -> RowsRead:
    """judged_all: whether what was examined and has no state is absent."""
    found = _strongest(judged)
    if judged_all and not words.unknown:
        there = {concept for concept, _ in found}
        absent = [concept for concept in annotation.examined_concepts if concept not in there]
        found |= {(concept, ""): "absent" for concept in absent}
    rows = [{"concept": concept, "word": word or None, "state": state} for (concept, word), state in found.items()]
    concepts = {row["concept"] for row in rows}
    examined = tuple(concept for concept in annotation.examined_concepts if concept in concepts)
    table = AnnotationTable(
        kind="classes",
        table=rows_table("classes", rows),
        examined=examined,
        rater=annotation.rater,
        warnings=warnings,
    )
    return RowsRead(table=table, unknown_words=tuple(words.unknown))


def _strongest(judged: Judged) -> Judged:
    """One row for each concept: where two words mean the same, that of the stronger state."""
    best: dict[str, tuple[str | None, str]] = {}
    kept: Judged = {}
    for place, state in judged.items():
        concept, _ = place
        other = best.get(concept) if concept is not None else None
        if other is not None and STRONGER.index(kept[other]) <= STRONGER.index(state):
            continue
        if other is not None:
            del kept[other]
        kept[place] = state
        if concept is not None:
            best[concept] = place
    return kept
