"""YAML documents that remember the line of every field, so that an error can name it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

FieldPath = tuple[str | int, ...]

DEEPEST = 40


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong in a catalog or recipe file.

    entry: id of the entry it belongs to, where that is known.
    field: dotted path below the entry, such as `licence.commercial_use`.
    """

    file: str
    line: int
    entry: str | None
    field: str
    message: str

    def __str__(self) -> str:
        about = " ".join(part for part in (self.entry, self.field) if part)
        return (
            f"{self.file}:{self.line}: {about}: {self.message}" if about else f"{self.file}:{self.line}: {self.message}"
        )


@dataclass(frozen=True, kw_only=True)
class YamlDocument:
    """A parsed document. lines: path of every field -> its line, counted from 1."""

    file: str
    data: Any
    lines: Mapping[FieldPath, int]
    problems: tuple[Problem, ...]

    def line_of(self, path: tuple[Any, ...]) -> int:
        """Line of a field, or of the nearest parent that stands in the file.

        Validators name parts that are not in the file (the kind of a union, a missing field): those are passed over.
        """
        known: FieldPath = ()
        for part in path:
            if (*known, part) in self.lines:
                known = (*known, part)
        return self.lines.get(known, 1)


def read_yaml(path: Path) -> YamlDocument:
    """Parse a YAML file; syntax errors and duplicate keys come back as problems, not as exceptions."""
    return parse_yaml(path.read_text(encoding="utf8"), file=str(path))


def parse_yaml(text: str, *, file: str) -> YamlDocument:
    builder = _Builder(file)
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            data = builder.build(loader, node, ()) if node is not None else None
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = Problem(file=file, line=line, entry=None, field="", message=f"not YAML: {error.reason}")
        return YamlDocument(file=file, data=None, lines={}, problems=(problem,))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = " ".join(part for part in (error.context, error.problem) if part)
        problem = Problem(
            file=file, line=mark.line + 1 if mark else 1, entry=None, field="", message=f"not YAML: {message}"
        )
        return YamlDocument(file=file, data=None, lines={}, problems=(problem,))
    return YamlDocument(file=file, data=data, lines=builder.lines, problems=tuple(builder.problems))


class _Builder:
    """Values of YAML nodes, with the line of each field and what the plain loader would pass over in silence."""

    def __init__(self, file: str) -> None:
        self._file = file
        self.lines: dict[FieldPath, int] = {}
        self.problems: list[Problem] = []

    def build(self, loader: Any, node: Any, path: FieldPath) -> Any:
        self.lines[path] = node.start_mark.line + 1
        if len(path) > DEEPEST:
            self._report(node, path, "fields are nested too deeply (does an anchor hold itself?)")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(loader, node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(loader, item, (*path, number)) for number, item in enumerate(node.value)]
        try:
            return loader.construct_object(node, deep=True)
        except (ValueError, yaml.YAMLError) as error:
            self._report(node, path, f"{node.value!r} cannot be understood: {error}")
            return None

    def _mapping(self, loader: Any, node: Any, path: FieldPath) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._report(key_node, path, "a key must be a single word or number")
                continue
            key = loader.construct_object(key_node, deep=True)
            if key in result:
                self._report(key_node, (*path, key), "this key stands here twice")
            result[key] = self.build(loader, value_node, (*path, key))
            self.lines[(*path, key)] = key_node.start_mark.line + 1
        return result

    def _report(self, node: Any, path: FieldPath, message: str) -> None:
        field = ".".join(str(part) for part in path)
        self.problems.append(
            Problem(file=self._file, line=node.start_mark.line + 1, entry=None, field=field, message=message)
        )
