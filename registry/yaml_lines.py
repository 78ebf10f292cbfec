"""YAML documents that remember the line of every field, so that an error can name it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

FieldPath = tuple[str | int, ...]

DEEPEST = 40
MOST_VALUES = 2_000_000
"""Some thirty times the public catalog."""
_TEXT = "tag:yaml.org,2002:str"


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
    """A parsed document. root: its node, which knows where everything stands; None when there is nothing."""

    file: str
    data: Any
    root: Any
    problems: tuple[Problem, ...]

    def line_of(self, path: tuple[Any, ...]) -> int:
        """Line of a field, counted from 1, or of the nearest parent that stands in the file."""
        return self._walk(path)[1]

    def known_part(self, path: tuple[Any, ...], *, is_missing: bool = False) -> tuple[Any, ...]:
        """The path without what is not in the file, such as the kind of a union that a validator names.

        is_missing: the last part is a field that the file ought to have; it stays.
        """
        known = self._walk(path)[0]
        return (*known, *path[-1:]) if is_missing else known

    def _walk(self, path: tuple[Any, ...]) -> tuple[tuple[Any, ...], int]:
        node, line, known = self.root, self.root.start_mark.line + 1 if self.root is not None else 1, []
        for part in path:
            found = _child(node, part)
            if found is not None:
                node, line = found
                known.append(part)
        return tuple(known), line


def _child(node: Any, part: Any) -> tuple[Any, int] | None:
    """The node below another one, and the line of its key."""
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and 0 <= part < len(node.value):
        return node.value[part], node.value[part].start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in reversed(node.value):
            if isinstance(key, yaml.ScalarNode) and (key.value == part or key.value == str(part)):
                return value, key.start_mark.line + 1
    return None


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
        return YamlDocument(file=file, data=None, root=None, problems=(problem,))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = " ".join(part for part in (error.context, error.problem) if part)
        problem = Problem(
            file=file, line=mark.line + 1 if mark else 1, entry=None, field="", message=f"not YAML: {message}"
        )
        return YamlDocument(file=file, data=None, root=None, problems=(problem,))
    return YamlDocument(file=file, data=data, root=node, problems=tuple(builder.problems))


class _Builder:
    """Values of YAML nodes, and what the plain loader would pass over in silence."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._built = 0
        self.problems: list[Problem] = []

    def build(self, loader: Any, node: Any, path: FieldPath) -> Any:
        self._built += 1
        if self._built > MOST_VALUES:
            message = f"the file unfolds to more than {MOST_VALUES:,} values: its aliases multiply one another"
            raise yaml.MarkedYAMLError(problem=message, problem_mark=node.start_mark)
        if node.tag == _TEXT:
            return node.value
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
            self._report(node, path, f"{node.value!r} cannot be understood: {_reason(error)}")
            return None

    def _mapping(self, loader: Any, node: Any, path: FieldPath) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._report(key_node, path, "a key must be a single word or number")
                continue
            try:
                key = key_node.value if key_node.tag == _TEXT else loader.construct_object(key_node, deep=True)
            except (ValueError, yaml.YAMLError) as error:
                self._report(key_node, path, f"the key {key_node.value!r} cannot be understood: {_reason(error)}")
                continue
            if key in result:
                self._report(key_node, (*path, key), "this key stands here twice")
            result[key] = self.build(loader, value_node, (*path, key))
        return result

    def _report(self, node: Any, path: FieldPath, message: str) -> None:
        field = ".".join(str(part) for part in path)
        self.problems.append(
            Problem(file=self._file, line=node.start_mark.line + 1, entry=None, field=field, message=message)
        )


def _reason(error: Exception) -> str:
    """The message without the place, which every report names anyway."""
    return str(error.problem) if isinstance(error, yaml.MarkedYAMLError) else str(error)
