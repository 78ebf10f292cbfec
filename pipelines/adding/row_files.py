"""Tables, boxes and texts beside the cases -> annotations, as far as their content shows what they are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medshard.converters.annotations.rows.reading import read_rows
from medshard.errors import MedshardError
from medshard.pipelines.adding.attached import Attached, Group
from medshard.pipelines.adding.conventions import read_json
from medshard.pipelines.adding.keys import ending
from medshard.pipelines.adding.kinds import Kind, KnownFamily
from medshard.pipelines.adding.meanings import word_meanings
from medshard.pipelines.adding.notes import Noted, sentences
from medshard.pipelines.adding.templates import template
from medshard.pipelines.adding.walk import FoundFiles
from medshard.registry.concepts import Vocabulary
from medshard.registry.templates import fill

LARGEST_TABLE = 128 << 20
MOST_ROWS = 50_000
_ENOUGH_KEYS = 0.5
_MOST_CLASSES = 40
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
_YOLO = re.compile(r"\d+( -?\d*\.?\d+){4,5}")
_PERSONAL = re.compile(r"name|birth|dob|address|phone|mail|mrn|ssn|date", re.IGNORECASE)


@dataclass(frozen=True)
class Table:
    """A table read once. columns: name -> cells as text, of the first rows."""

    path: str
    columns: Mapping[str, tuple[str, ...]]
    rows: int


def read_table(found: FoundFiles, path: str) -> Table | None:
    """The table, or None where it is too large or cannot be read as rows."""
    file = found.at(path)
    try:
        if file.stat().st_size > LARGEST_TABLE:
            return None
        read = read_rows([file], where="add")
    except (MedshardError, OSError):
        return None
    rows = [dict(row) for _, row in zip(range(MOST_ROWS), read.rows, strict=False)]
    names = tuple(dict.fromkeys(name for row in rows for name in row))
    columns = {str(name): tuple(_cell(row.get(name)) for row in rows) for name in names}
    return Table(path, columns, len(rows))


def _cell(value: Any) -> str:
    return "" if value is None else str(value).strip()


@dataclass(frozen=True)
class Keyed:
    """A table that speaks of the cases. key: template of what they are called; column: where; hits: share of cases."""

    table: Table
    key: str
    column: str
    hits: float


def keyed(table: Table, group: Group, case: str) -> Keyed | None:
    """Which column holds the names of the cases, or of their patients, and in which spelling."""
    anchor = group.anchor
    name = anchor.path.rpartition("/")[2].replace("*", "")
    spellings = [case, *(f"{{{field.name}}}" for field in reversed(group.fields)), name]
    spellings += [name.removesuffix(ending(name))]
    best: Keyed | None = None
    for spelling in dict.fromkeys(spelling for spelling in spellings if spelling):
        keys = {
            fill(spelling, dict(zip((f.name for f in group.fields), binding, strict=True))) for binding in group.cases
        }
        for column, cells in table.columns.items():
            said = set(cells)
            hits = len(keys & said) / len(keys)
            if hits >= _ENOUGH_KEYS and (best is None or hits > best.hits):
                best = Keyed(table, spelling, column, hits)
    return best


def table_annotations(
    one: Keyed, vocabulary: Vocabulary, taken: Sequence[str]
) -> tuple[dict[str, Noted], dict[str, str]]:
    """Annotations that the other columns may be, and the remaining columns with the reason why none is made of them."""
    made: dict[str, Noted] = {}
    passed: dict[str, str] = {}
    for column, cells in one.table.columns.items():
        if column == one.column:
            continue
        said = Counter(cell for cell in cells if cell)
        base: dict[str, Any] = {"column": column, "path": one.table.path, "key": one.key, "key_column": one.column}
        name = _free(column, [*taken, *made])
        if not said or _PERSONAL.search(column):
            passed[column] = "empty" if not said else "may name a person"
        elif all(_NUMBER.fullmatch(cell) for cell in said) and len(said) > 2:
            made[name] = Noted(
                {"kind": "score-table", **base, "optional": True}, f"guessed: {len(said)} different numbers"
            )
        elif 1 < len(said) <= _MOST_CLASSES and sum(said.values()) >= 2 * len(said):
            values, unmapped = word_meanings(sorted(said), vocabulary)
            fields = {"kind": "class-table", **base, "values": values, **({"unmapped": unmapped} if unmapped else {})}
            note = f"guessed: {len(said)} words; TODO leave it out where it is no finding"
            if not any(concept.startswith("TODO") for concept in values.values()):
                made[name] = Noted({**fields, "optional": True}, note)
            else:
                passed[column] = f"{len(said)} words that the vocabulary does not know ({sentences(sorted(said))})"
        else:
            passed[column] = f"{len(said)} different texts"
    return made, passed


def own_annotations(group: Group, found: FoundFiles, vocabulary: Vocabulary) -> tuple[dict[str, Noted], list[str]]:
    """Annotations in files of the cases' own, and what could not be made one of."""
    made: dict[str, Noted] = {}
    doubts = []
    for other in group.others:
        path = template(other.family, other.mapping)
        fields = _own(other, path, group, found, vocabulary)
        if fields is None:
            doubts.append(f"{path}: {len(other.family)} files that go with the cases; nobody has said what they are")
            continue
        name = _free(str(fields.value["kind"]).replace("-", "_"), list(made))
        made[name] = fields
    return made, doubts


def _own(other: Attached, path: str, group: Group, found: FoundFiles, vocabulary: Vocabulary) -> Noted | None:
    optional = {"optional": True}
    first = found.at(other.family.rows[0].path)
    if other.known.kind is Kind.JSON and group.kind is Kind.MESH:
        document = read_json(found, other.family.rows[0].path)
        if isinstance(document, dict) and isinstance(document.get("labels"), list):
            return Noted({"kind": "mesh-labels", "format": "json", "path": path, **optional},
                         "guessed: a number per vertex; TODO `values`: which number is which concept")  # fmt: skip
    if other.known.kind is Kind.TEXT:
        lines = _first_lines(first)
        if lines and all(_YOLO.fullmatch(line) for line in lines):
            words = sorted(
                {line.split()[0] for row in other.family.rows[:200] for line in _first_lines(found.at(row.path))}
            )
            values, _ = word_meanings([f"class {word}" for word in words], vocabulary)
            numbered = dict(zip(words, values.values(), strict=True))
            return Noted({"kind": "boxes", "format": "yolo", "path": path, "values": numbered, **optional},
                         "guessed: a number and four fractions a line")  # fmt: skip
        if lines and sum(len(line) for line in lines) > 20:
            return Noted({"kind": "report", "path": path, **optional}, "guessed: a text for each case")
    if other.known.kind is Kind.XML and b"<bndbox>" in _head(first):
        words = sorted({word for row in other.family.rows[:500] for word in _names_of_objects(found.at(row.path))})
        values, unmapped = word_meanings(words, vocabulary)
        more = {"unmapped": unmapped} if unmapped else {}
        return Noted({"kind": "boxes", "format": "voc", "path": path, "values": values, **more, **optional},
                     "guessed: PASCAL VOC boxes")  # fmt: skip
    return None


def _head(path: Path, size: int = 1 << 16) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


def _first_lines(path: Path) -> list[str]:
    text = _head(path, 4096).decode("utf8", "replace")
    return [line.strip() for line in text.splitlines() if line.strip()][:20]


def _names_of_objects(path: Path) -> list[str]:
    text = _head(path, 1 << 20).decode("utf8", "replace")
    return re.findall(r"<object>\s*<name>([^<]{1,60})</name>", text)


def beat_annotations(group: Group, paths: Sequence[str]) -> dict[str, Noted]:
    """Marks of WFDB beside the headers of recordings."""
    path = group.anchor.path
    marks = {row.path.removesuffix(".hea") + ".atr" for row in group.anchor.family.rows}
    if not path.endswith(".hea") or marks.isdisjoint(paths):
        return {}
    fields = {
        "kind": "events",
        "path": f"{path.removesuffix('.hea')}.atr",
        "format": "WFDB annotation",
        "optional": True,
    }
    return {"marks": Noted(fields, "TODO `values`: which mark is which concept")}


def coco_annotations(
    left: Sequence[KnownFamily], group: Group, found: FoundFiles, vocabulary: Vocabulary
) -> dict[str, Noted]:
    """Boxes in files laid out as COCO's are, which name the images of the group."""
    made: dict[str, Noted] = {}
    name = group.anchor.path.rpartition("/")[2]
    files = {row.path.rpartition("/")[2] for row in group.anchor.family.rows}
    for known in left:
        for row in known.family.rows if known.kind is Kind.JSON else ():
            document = read_json(found, row.path)
            if not isinstance(document, dict) or not {"images", "annotations", "categories"} <= set(document):
                continue
            listed = {str(image.get("file_name", "")) for image in document["images"] if isinstance(image, dict)}
            if not files & {text.rpartition("/")[2] for text in listed}:
                continue
            words = sorted({str(one.get("name")) for one in document["categories"] if isinstance(one, dict)})
            values, unmapped = word_meanings(words, vocabulary)
            key = name if listed & files else group.anchor.path
            made[_free("boxes", list(made))] = Noted(
                {"kind": "boxes", "format": "coco", "path": row.path, "key": key, "key_column": "image.file_name",
                 "rows": "annotations", "values": values, **({"unmapped": unmapped} if unmapped else {}),
                 "optional": True},
                f"guessed: COCO, {len(document['annotations'])} annotations of {len(document['images'])} images",
            )  # fmt: skip
    return made


def _free(word: str, taken: Sequence[str]) -> str:
    base = re.sub(r"[^a-z0-9]+", "_", word.lower()).strip("_")[:40] or "table"
    name, number = base, 2
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    return name
