"""A draft of YAML: plain data in which a value may carry a remark, written as text with comments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

_WIDTH = 110
_LONGEST_LIST = 90


@dataclass(frozen=True)
class Noted:
    """A value and what is to be said about it: `guessed: why`, or `TODO what`."""

    value: Any
    note: str


def plain(value: Any) -> Any:
    """The data without the remarks."""
    if isinstance(value, Noted):
        return plain(value.value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def as_yaml(data: Mapping[str, Any], indent: int = 0) -> str:
    """The text: a line for each field, remarks behind short values and above long ones."""
    return "".join(f"{line}\n" for line in _mapping(data, indent))


def _mapping(data: Mapping[Any, Any], indent: int) -> Iterator[str]:
    for key, noted in data.items():
        yield from _field(_scalar(key), noted, indent)


def _field(key: str, noted: Any, indent: int) -> Iterator[str]:
    value, note = (noted.value, noted.note) if isinstance(noted, Noted) else (noted, "")
    blank = " " * indent
    if isinstance(value, Mapping) and value:
        yield from _remark(note, indent)
        yield f"{blank}{key}:"
        yield from _mapping(value, indent + 2)
    elif isinstance(value, (list, tuple)) and any(isinstance(item, Mapping) for item in value):
        yield from _remark(note, indent)
        yield f"{blank}{key}:"
        for item in value:
            yield from _item(item, indent + 2)
    else:
        yield from _short(f"{blank}{key}: {_inline(value)}", note, indent)


def _item(item: Mapping[Any, Any], indent: int) -> Iterator[str]:
    """A mapping in a list: its first line behind the dash."""
    lines = list(_mapping(item, indent + 2))
    first = next(number for number, line in enumerate(lines) if not line.lstrip().startswith("#"))
    yield from (line for line in lines[:first])
    yield f"{' ' * indent}- {lines[first].lstrip()}"
    yield from lines[first + 1 :]


def _short(line: str, note: str, indent: int) -> Iterator[str]:
    if note and len(line) + len(note) + 4 > _WIDTH:
        yield from _remark(note, indent)
        note = ""
    yield f"{line}  # {note}" if note else line


def _remark(note: str, indent: int) -> Iterator[str]:
    line = ""
    for word in note.split():
        if line and indent + len(line) + len(word) + 3 > _WIDTH:
            yield f"{' ' * indent}# {line}"
            line = ""
        line = f"{line} {word}".lstrip()
    if line:
        yield f"{' ' * indent}# {line}"


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_scalar(item.value if isinstance(item, Noted) else item) for item in value)}]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    """One value as YAML writes it inside a list: quoted where it would mean something else."""
    text = yaml.safe_dump([value], default_flow_style=True, width=1 << 20, allow_unicode=True).strip()
    return text[1:-1].strip()


def sentences(items: Sequence[str], most: int = 3) -> str:
    """A few of many: `a, b, c and 5 more`."""
    shown = ", ".join(items[:most])
    return f"{shown} and {len(items) - most} more" if len(items) > most else shown
