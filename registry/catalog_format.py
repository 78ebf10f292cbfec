"""The one way to write a catalog file: entries by id, fields in the schema's order, lines of at most 120 characters."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from medshard.errors import CatalogError
from medshard.registry.schema import Entry
from medshard.registry.schema.shape import field_order, item_shape, model_of, value_shape
from medshard.registry.yaml_lines import parse_yaml

WIDTH = 120
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def format_catalog(text: str, *, file: str) -> str:
    """The text of a catalog file in its canonical form. Comments above `format_version` stay.

    Raises CatalogError when the file is no YAML, or when a comment inside it would be lost.
    """
    document = parse_yaml(text, file=file)
    if document.problems or not isinstance(document.data, dict) or not isinstance(document.data.get("entries"), list):
        raise CatalogError(
            "catalog.unreadable",
            where=file,
            problem="only a catalog that can be read can be formatted",
            details={f"line {problem.line}": problem.message for problem in document.problems},
            action="Mend what `medshard check` shows first.",
        )
    header, body = _header(text)
    _refuse_comments(body, file, first_line=len(header) + 1)
    data = document.data
    lines = [*header]
    for key, value in data.items():
        if key != "entries":
            lines.extend(_field(key, value, 0, None))
    lines.append("entries:")
    for entry in sorted(data["entries"], key=lambda raw: str(raw.get("id", "")) if isinstance(raw, dict) else ""):
        lines.extend(_list_item(entry, 2, Entry))
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def format_file(path: Path, *, check: bool = False) -> bool:
    """Write the file in its canonical form, or only look; True when it was not in it before."""
    before = path.read_text(encoding="utf8")
    after = format_catalog(before, file=str(path))
    if after != before and not check:
        path.write_text(after, encoding="utf8")
    return after != before


def _header(text: str) -> tuple[list[str], list[str]]:
    lines = text.splitlines()
    end = next((number for number, line in enumerate(lines) if line and not line.startswith("#")), len(lines))
    return lines[:end], lines[end:]


def _refuse_comments(body: Sequence[str], file: str, *, first_line: int) -> None:
    found = [first_line + number for number, line in enumerate(body) if line.lstrip().startswith("#")]
    tokens = yaml.scan("\n".join(body), Loader=yaml.SafeLoader) if any(" #" in line for line in body) else ()
    last_columns: dict[int, int] = {}
    for token in tokens:
        last_columns[token.end_mark.line] = max(last_columns.get(token.end_mark.line, 0), token.end_mark.column)
    found += [first_line + number for number, column in last_columns.items() if " #" in body[number][column:]]
    if found:
        raise CatalogError(
            "catalog.comment",
            where=f"{file}:{min(found)}",
            problem="formatting would lose the comments inside the entries",
            details={"lines": ", ".join(str(line) for line in sorted(set(found)))},
            action="Move them into `notes`, `doubts` or `layout_notes`, or above `format_version`.",
        )


def _field(key: Any, value: Any, indent: int, shape: Any) -> Iterator[str]:
    """One `key: value`, in one line where it fits, else as a block."""
    lead = f"{' ' * indent}{_scalar(key)}:"
    flow = _flow(value, shape) if isinstance(value, Mapping | list) else _block_scalar(value)
    if len(lead) + 1 + len(flow) <= WIDTH and (not isinstance(value, Mapping | list) or _is_small(value)):
        yield f"{lead} {flow}"
    elif isinstance(value, str):
        yield from _folded(lead, value, indent + 2)
    elif isinstance(value, Mapping) and value:
        yield from _long_mapping(lead, value, indent + 2, shape)
    elif isinstance(value, list) and value:
        yield from _long_list(lead, value, indent + 2, item_shape(shape))
    else:
        yield f"{lead} {flow}"


def _long_mapping(lead: str, value: Mapping[Any, Any], indent: int, shape: Any) -> Iterator[str]:
    if model_of(shape, value) is None and _has_plain_values(value.values()):
        items = [f"{_scalar(name)}: {_scalar(item)}" for name, item in value.items()]
        yield from _wrapped(lead, "{", items, "}", indent)
        return
    yield lead
    for name, item in _ordered(value, shape):
        yield from _field(name, item, indent, value_shape(shape, name, value))


def _long_list(lead: str, value: Sequence[Any], indent: int, shape: Any) -> Iterator[str]:
    if _has_plain_values(value):
        yield from _wrapped(lead, "[", [_scalar(item) for item in value], "]", indent)
        return
    yield lead
    for item in value:
        yield from _list_item(item, indent, shape)


def _list_item(item: Any, indent: int, shape: Any) -> Iterator[str]:
    lead = f"{' ' * indent}-"
    flow = _flow(item, shape) if isinstance(item, Mapping | list) else _block_scalar(item)
    if len(lead) + 1 + len(flow) <= WIDTH and (not isinstance(item, Mapping | list) or _is_small(item)):
        yield f"{lead} {flow}"
    elif isinstance(item, Mapping) and _has_plain_values(item.values()) and len(flow) <= 2 * WIDTH:
        yield from _hanging(lead, [f"{_scalar(k)}: {_scalar(v)}" for k, v in _ordered(item, shape)], indent + 3)
    elif isinstance(item, Mapping):
        first = True
        for name, value in _ordered(item, shape):
            for line in _field(name, value, indent + 2, value_shape(shape, name, item)):
                yield f"{lead} {line[indent + 2 :]}" if first else line
                first = False
    elif isinstance(item, str):
        yield from _folded(lead, item, indent + 2)
    else:
        yield f"{lead} {flow}"


def _folded(lead: str, text: str, indent: int) -> Iterator[str]:
    """A long text as a folded block; what a folded block cannot hold exactly stays a quoted scalar."""
    room = WIDTH - indent
    lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
    if " ".join(lines) != text or any(line[:1] in {" ", "#"} or len(line) > room for line in lines):
        yield f"{lead} {_block_scalar(text)}"
        return
    yield f"{lead} >-"
    yield from (" " * indent + line for line in lines)


def _wrapped(lead: str, opening: str, items: Sequence[str], closing: str, indent: int) -> Iterator[str]:
    """A flow collection over several lines, closed in a line of its own."""
    yield f"{lead} {opening}"
    line = ""
    for item in items:
        piece = f"{item},"
        if line and len(line) + 1 + len(piece) > WIDTH - indent:
            yield " " * indent + line
            line = piece
        else:
            line = f"{line} {piece}".lstrip()
    yield " " * indent + line.rstrip(",")
    yield f"{' ' * (indent - 2)}{closing}"


def _hanging(lead: str, items: Sequence[str], indent: int) -> Iterator[str]:
    """A short flow mapping that runs over the line: `- {a: 1,` and the rest below it."""
    line = f"{lead} {{"
    for number, item in enumerate(items):
        piece = item + ("}" if number == len(items) - 1 else ",")
        if number and len(line) + 1 + len(piece) > WIDTH:
            yield line
            line = " " * indent + piece
        else:
            line += piece if not number else f" {piece}"
    yield line


def _flow(value: Any, shape: Any) -> str:
    if isinstance(value, Mapping):
        pairs = (
            f"{_scalar(name)}: {_flow(item, value_shape(shape, name, value))}" for name, item in _ordered(value, shape)
        )
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(item, item_shape(shape)) for item in value) + "]"
    return _scalar(value)


@lru_cache(maxsize=65536)
def _scalar_text(kind: str, value: Any) -> str:  # noqa: ARG001  (1, True and 1.0 are one key without the kind)
    text = yaml.dump([value], Dumper=_Dumper, default_flow_style=True, width=10**9, allow_unicode=True)
    return text.strip()[1:-1]


def _scalar(value: Any) -> str:
    return str(_scalar_text(type(value).__name__, value))


def _block_scalar(value: Any) -> str:
    """Outside of brackets fewer texts need quotes."""
    return yaml.dump({"k": value}, Dumper=_Dumper, width=10**9, allow_unicode=True).strip().removeprefix("k: ")


def _is_small(value: Any) -> bool:
    """A collection that reads well in one line: short, and nested at most once."""
    if isinstance(value, Mapping):
        return len(value) <= 12 and all(_depth(item) <= 1 for item in value.values())
    return isinstance(value, list) and all(_depth(item) <= (1 if len(value) == 1 else 0) for item in value)


def _depth(value: Any) -> int:
    children = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return 0 if not isinstance(value, Mapping | list) else 1 + max((_depth(child) for child in children), default=0)


def _has_plain_values(values: Iterable[Any]) -> bool:
    return all(not isinstance(item, Mapping | list) and len(str(item)) <= 60 for item in values)


def _ordered(value: Mapping[Any, Any], shape: Any) -> list[tuple[Any, Any]]:
    """The fields of a model in its own order, those of a plain mapping as they stand."""
    model = model_of(shape, value)
    if model is None:
        return list(value.items())
    order = field_order(model)
    return sorted(value.items(), key=lambda pair: order.get(pair[0], len(order)))
