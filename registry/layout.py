"""File paths -> cases, by the templates of an entry.

All files that match a template with the same fields are one image, which is how a DICOM series is written down:
`{patient}/{series}/*.dcm`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from medshard.registry.schema import CaseGroup, Entry, LabelSpec, SplitColumn, SplitField, SplitLists
from medshard.registry.templates import compile_filled, fill, match_template


@dataclass(frozen=True, kw_only=True)
class CaseFiles:
    """One case as the layout sees it: which files, before any of them is opened.

    fields: of the path that found it. images, meshes: name -> files. labels: layer -> one tuple of files per mask,
    class file or soft map. others: videos, signals, tables, texts and annotations. A path that no file matches is an
    empty tuple. page: number of the picture in its file, where each picture of a file is a case.
    """

    case: str
    patient: str
    group: int
    fields: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    meshes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    labels: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    others: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    split: str | None = None
    page: int | None = None

    @property
    def files(self) -> tuple[str, ...]:
        found = [
            *self.images.values(),
            *self.meshes.values(),
            *self.others.values(),
            *(files for maps in self.labels.values() for files in maps),
        ]
        return tuple(sorted({path for files in found for path in files}))


@dataclass(frozen=True, kw_only=True)
class Discovery:
    """What a layout makes of a tree. `unmatched` are the files that no template claims."""

    cases: tuple[CaseFiles, ...]
    unmatched: tuple[str, ...]


def label_templates(spec: LabelSpec) -> tuple[str, ...]:
    """The templates of a layer's files: one of a mask or per soft map, one per class where `{class}` tells them apart.

    `{instance}` and `{rater}` count up the files of one case, so they are stars.
    """
    if spec.per_class:
        found = [fill(path, {"class": spec.names[value]}) for path in spec.paths for value in spec.classes]
    else:
        found = list(spec.paths)
    return tuple(fill(path, {"instance": "*", "rater": "*"}) for path in found)


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
    where = tuple(sorted(group.where.items()))
    found: dict[tuple[tuple[str, str], ...], None] = {}
    for path in paths:
        fields = match_template(group.anchor, path, where)
        if fields is not None:
            found.setdefault(tuple(sorted(fields.items())))
    finder = _Finder(paths)
    for binding in found:
        fields = dict(binding)
        case = fill(group.case, fields)
        yield CaseFiles(
            case=case,
            patient=fill(group.patient, fields) if isinstance(group.patient, str) else case,
            group=number,
            fields=fields,
            images={name: finder.files(fill(spec.path, fields)) for name, spec in group.images.items()},
            meshes={name: finder.files(fill(spec.path, fields)) for name, spec in group.meshes.items()},
            labels={
                name: tuple(finder.files(fill(path, fields)) for path in label_templates(spec))
                for name, spec in group.labels.items()
            },
            others={name: finder.files(fill(path, fields)) for name, path in group.other_files.items()},
            split=_shipped_split(group, fields),
        )


def _shipped_split(group: CaseGroup, fields: Mapping[str, str]) -> str | None:
    """The part of the split as shipped, where a path tells it; None where nothing does, or a file has to be read."""
    split = group.split
    if isinstance(split, SplitField):
        return split.values.get(fields[split.field])
    return None if isinstance(split, SplitLists | SplitColumn) else split


class _Finder:
    """Files of a tree by path without fields. A plain path costs one look-up, a star a walk over what is alike.

    What is alike begins as the pattern does up to its first star, or ends as it does from its last star on, whichever
    are fewer: `**/s0001/segmentations/liver.nii.gz` is one file among a hundred thousand.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = sorted(paths)
        self._known = frozenset(paths)
        self._mirrored = sorted(path[::-1] for path in paths)

    def files(self, pattern: str) -> tuple[str, ...]:
        if "*" not in pattern:
            return (pattern,) if pattern in self._known else ()
        compiled = compile_filled(pattern)
        return tuple(path for path in self._candidates(pattern) if compiled.fullmatch(path))

    def _candidates(self, pattern: str) -> Sequence[str]:
        first, last = _between(self._paths, pattern.partition("*")[0])
        # `**/` may stand for no folder at all: its slash need not be there.
        end = pattern[pattern.rindex("*") + 1 :]
        end = end.removeprefix("/") if pattern.endswith(f"**/{end.removeprefix('/')}") else end
        first_mirrored, last_mirrored = _between(self._mirrored, end[::-1])
        if last_mirrored - first_mirrored < last - first:
            return sorted(path[::-1] for path in self._mirrored[first_mirrored:last_mirrored])
        return self._paths[first:last]


def _between(texts: Sequence[str], start: str) -> tuple[int, int]:
    """The range of sorted texts that begin so."""
    first = bisect_left(texts, start)
    return first, bisect_right(texts, start + _LAST, lo=first)


_LAST = "\U0010ffff"
"""Sorts after every character of a file name."""
