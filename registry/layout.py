"""File paths -> cases, by templates such as `imagesTr/{case}_0000.nii.gz`.

In a template `{field}` stands for a run of characters without `/`, `*` for any run without `/`, and `**` for any run.
All files that match a template with the same fields are one image, which is how a DICOM series is written down:
`{patient}/{series}/*.dcm`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medshard.registry.schema import CaseGroup, Entry

_TOKEN = re.compile(r"\{(?P<field>[^{}]*)\}|(?P<deep>\*\*)|(?P<star>\*)|(?P<text>[^{}*]+)|(?P<bad>[{}])")


@dataclass(frozen=True, kw_only=True)
class CaseFiles:
    """One case as the layout sees it: which files, before any of them is opened.

    images, meshes: name -> files. labels: layer -> one tuple of files per mask or soft map. A path that no file
    matches is an empty tuple.
    """

    case: str
    patient: str
    group: int
    images: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    meshes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    labels: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)

    @property
    def files(self) -> tuple[str, ...]:
        found = [
            *self.images.values(),
            *self.meshes.values(),
            *(files for maps in self.labels.values() for files in maps),
        ]
        return tuple(sorted({path for files in found for path in files}))


@dataclass(frozen=True, kw_only=True)
class Discovery:
    """What a layout makes of a tree. `unmatched` are the files that no template claims."""

    cases: tuple[CaseFiles, ...]
    unmatched: tuple[str, ...]


def check_template(template: str) -> str:
    """Return the template, or raise ValueError saying what is wrong with it."""
    for token in _TOKEN.finditer(template):
        if token["bad"]:
            raise ValueError(f"unbalanced brace at character {token.start() + 1} of {template!r}")
        if token["field"] is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", token["field"]):
            raise ValueError(f"{{{token['field']}}} in {template!r} is no field name (letters, digits and _)")
    if template.startswith("/") or ".." in template.split("/"):
        raise ValueError(f"{template!r} must be a path below the acquired tree")
    return template


def template_fields(template: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(token["field"] for token in _TOKEN.finditer(template) if token["field"] is not None))


def fill(template: str, fields: Mapping[str, str]) -> str:
    """The template with its fields replaced; stars stay."""
    return _TOKEN.sub(lambda token: fields[token["field"]] if token["field"] is not None else token[0], template)


def discover(entry: Entry, paths: Sequence[str]) -> Discovery:
    """The cases of an entry in a tree of files, sorted by name.

    paths: posix paths below the raw tree. Two groups that claim one case name give two cases of that name, which
    validation reports; nothing is merged silently.
    """
    known = sorted(paths)
    cases = [case for number, group in enumerate(entry.cases) for case in _group_cases(group, number, known)]
    claimed = {path for case in cases for path in case.files}
    return Discovery(
        cases=tuple(sorted(cases, key=lambda case: (case.case, case.group))),
        unmatched=tuple(path for path in known if path not in claimed),
    )


def _group_cases(group: CaseGroup, number: int, paths: Sequence[str]) -> Iterable[CaseFiles]:
    where = {name: re.compile(pattern) for name, pattern in group.where.items()}
    found: dict[tuple[tuple[str, str], ...], None] = {}
    for path in paths:
        fields = _match(group.anchor, path)
        if fields is not None and all(pattern.fullmatch(fields[name]) for name, pattern in where.items()):
            found.setdefault(tuple(sorted(fields.items())))
    finder = _Finder(paths)
    for binding in found:
        fields = dict(binding)
        case = fill(group.case, fields)
        yield CaseFiles(
            case=case,
            patient=fill(group.patient, fields) if group.patient else case,
            group=number,
            images={name: finder.files(fill(spec.path, fields)) for name, spec in group.images.items()},
            meshes={name: finder.files(fill(spec.path, fields)) for name, spec in group.meshes.items()},
            labels={
                name: tuple(finder.files(fill(path, fields)) for path in spec.paths)
                for name, spec in group.labels.items()
            },
        )


class _Finder:
    """Files of a tree by path without fields; a plain path costs one look-up."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self._known = frozenset(paths)

    def files(self, pattern: str) -> tuple[str, ...]:
        if "*" not in pattern:
            return (pattern,) if pattern in self._known else ()
        compiled = _compile_filled(pattern)
        return tuple(path for path in self._paths if compiled.fullmatch(path))


def _match(template: str, path: str) -> dict[str, str] | None:
    match = _compile(template).fullmatch(path)
    return match.groupdict() if match else None


@lru_cache(maxsize=1024)
def _compile(template: str) -> re.Pattern[str]:
    seen: set[str] = set()
    parts: list[str] = []
    for token in _TOKEN.finditer(template):
        name = token["field"]
        if name is None:
            parts.append(_wildcard(token))
        elif name in seen:
            parts.append(f"(?P={name})")
        else:
            seen.add(name)
            parts.append(f"(?P<{name}>[^/]+?)")
    return re.compile("".join(parts))


@lru_cache(maxsize=65536)
def _compile_filled(pattern: str) -> re.Pattern[str]:
    """Like `_compile` for a path whose fields are filled in; braces in it are plain characters."""
    parts = re.split(r"(\*\*|\*)", pattern)
    return re.compile("".join({"**": ".*", "*": "[^/]*"}.get(part, re.escape(part)) for part in parts))


def _wildcard(token: re.Match[str]) -> str:
    if token["deep"]:
        return ".*"
    return "[^/]*" if token["star"] else re.escape(token[0])
