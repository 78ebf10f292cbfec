"""The one way to write a catalog file: entries by id, fields in the schema's order, lines of at most 120 characters."""

from __future__ import annotations

import re
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
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_LINE_BREAK = re.compile("[\n\r\x85\u2028\u2029]")
"""What YAML takes for the end of a line. A text with one is written with escapes, so that it stays in its own line."""


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
    header = _header(text)
    _refuse_comments(text, file, after_line=len(header))
    data = document.data
    lines = [*header]
    for key, value in data.items():
        if key != "entries":
            lines.extend(_field(key, value, 0, None))
    lines.append("entries:" if data["entries"] else "entries: []")
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


def _header(text: str) -> list[str]:
    lines = text.split("\n")
    return lines[: next((number for number, line in enumerate(lines) if line and not line.startswith("#")), len(lines))]


def _refuse_comments(text: str, file: str, *, after_line: int) -> None:
    found = [line for line in _comment_lines(text) if line > after_line] if "#" in text else []
    if found:
        raise CatalogError(
            "catalog.comment",
            where=f"{file}:{min(found)}",
            problem="formatting would lose the comments inside the entries",
            details={"lines": ", ".join(str(line) for line in sorted(set(found)))},
            action="Move them into `notes`, `doubts` or `layout_notes`, or above `format_version`.",
        )


def _comment_lines(text: str) -> Iterator[int]:
    """The lines with comments: between two tokens stands nothing else but blanks, or behind a block text's `|`."""
    end, line = 0, 1
    for token in yaml.scan(text, Loader=_Loader):
        for number, between in enumerate(text[end : token.start_mark.index].split("\n")):
            if "#" in between:
                yield line + number
        is_block = isinstance(token, yaml.ScalarToken) and token.style in {"|", ">"}
        if is_block and "#" in text[token.start_mark.index : text.find("\n", token.start_mark.index)]:
            yield token.start_mark.line + 1
        end, line = token.end_mark.index, token.end_mark.line + 1


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
    has_escapes = _block_scalar(text).startswith('"')
    if has_escapes or " ".join(lines) != text or any(line[:1] in {" ", "#"} or len(line) > room for line in lines):
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
            line = f"{line} {piece}" if line else piece
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
def _scalar_text(kind: str, value: Any) -> str:
    """kind: the value's type, without which 1, True and 1.0 would be one key of the cache."""
    style = '"' if kind == "str" and _LINE_BREAK.search(value) else None
    text = yaml.dump(
        [value], Dumper=_Dumper, default_style=style, default_flow_style=True, width=10**9, allow_unicode=True
    )
    return text.removesuffix("\n")[1:-1]


def _scalar(value: Any) -> str:
    return str(_scalar_text(type(value).__name__, value))


def _block_scalar(value: Any) -> str:
    """Outside of brackets fewer texts need quotes."""
    if isinstance(value, str) and _LINE_BREAK.search(value):
        return _scalar(value)
    text = yaml.dump({"k": value}, Dumper=_Dumper, width=10**9, allow_unicode=True)
    return str(text).removesuffix("\n").removeprefix("k: ")


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
