"""A data set as its source packs it, tiny: archives and loose files with the names that independent sources record.

    @tree("acdc", evidence=("listing b-brain-eyes: acdc", "github:owner/name path"))
    def acdc(root: Tree) -> Expected:
        pack = root.archive("ACDC.zip")
        body = Phantom("patient001", (6, 40, 40), values=(1, 2, 3))
        write_nifti(pack / "database/training/patient001/patient001_frame01.nii.gz", body.mr())
        ...

The function is written by hand from the public description, never from the entry: where they disagree one is wrong.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Tree:
    """Files of one download. `tree / "a/b.png"` is the path to write to, its folders made.

    source: number of the source in the entry's `acquisition` that brings them.
    """

    folder: Path
    source: int = 0
    archives: list[Packed] = field(default_factory=list)
    plain: list[Tree] = field(default_factory=list)

    def __truediv__(self, path: str) -> Path:
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def archive(self, name: str, *, source: int | None = None, kind: str | None = None) -> Tree:
        """What is written into the result comes as one archive; of an archive, as an archive inside it.

        name: with the end that tells how it is packed (.zip, .tar, .tar.gz, .tgz, .tar.bz2, .tar.xz, .tar.zst, .7z, and
        .gz for a single file), else `kind` says it.
        """
        part = self._beside(f"archive-{len(self.archives):02d}", source)
        self.archives.append(Packed(name=name, part=part, kind=kind))
        return part

    def files(self, *, source: int = 0) -> Tree:
        """Plain files of another source, under their paths there; those of source 0 go into the root itself."""
        part = self._beside(f"files-{source:02d}", source)
        self.plain.append(part)
        return part

    def paths(self) -> dict[str, Path]:
        """Name -> place of what was written here, in order, without what archives bring."""
        found = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path for path in found}

    def _beside(self, name: str, source: int | None) -> Tree:
        folder = self.folder.with_name(f"{self.folder.name}-{name}")
        folder.mkdir(parents=True)
        return Tree(folder, self.source if source is None else source)


@dataclass(frozen=True, kw_only=True)
class Packed:
    """An archive of a tree. kind: how it is packed; by the end of its name where None."""

    name: str
    part: Tree
    kind: str | None


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the build has to make of a tree. Whatever is left empty is not looked at, but for `cases` and `left`.

    cases: name of each case -> its patient; exactly these. images: case -> image -> (z, y, x). spacing: case -> mm
    (z, y, x) of its first image. modality: case -> of the group. labels: case -> layer -> concept -> voxels; all layers
    of the case, and no other concept has a voxel; nothing for a case without labels. contents: case -> names of its
    meshes, slides, videos, signals, tables, texts. columns: case -> table or text -> column -> all of its values.
    signals: case -> signal -> its rate in Hz and its values (c, t) in their unit. annotations: case -> annotation ->
    what it has to say, in the forms of `annotation_checks.said`; all of the case.
    split: case -> part as shipped (train, validation, test, unlabelled), without the cases that have none.
    excluded: case -> code of the fault that is found in it, such as `annotation.empty`; cases without any label need
    no word. left: patterns (`*` over slashes too) of the files that no case needs; all others are claimed by one.
    aligned: whether masks and boxes lie on the phantoms that they were drawn with.
    """

    cases: Mapping[str, str]
    images: Mapping[str, Mapping[str, Sequence[int]]] = field(default_factory=dict)
    spacing: Mapping[str, Sequence[float]] = field(default_factory=dict)
    modality: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    contents: Mapping[str, Sequence[str]] = field(default_factory=dict)
    columns: Mapping[str, Mapping[str, Mapping[str, Sequence[Any]]]] = field(default_factory=dict)
    signals: Mapping[str, Mapping[str, tuple[float | None, Any]]] = field(default_factory=dict)
    annotations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    split: Mapping[str, str] = field(default_factory=dict)
    excluded: Mapping[str, str] = field(default_factory=dict)
    left: Sequence[str] = ()
    aligned: bool = True


@dataclass(frozen=True, kw_only=True)
class MadeTree:
    """How the tree of one entry is written. evidence: where the names of its files were seen."""

    entry: str
    evidence: tuple[str, ...]
    write: Callable[[Tree], Expected]


_TREES: dict[str, MadeTree] = {}


def tree(entry: str, *, evidence: Sequence[str]) -> Callable[[Callable[[Tree], Expected]], Callable[[Tree], Expected]]:
    """Register the tree of an entry. Two trees of one entry are a mistake."""

    def register(write: Callable[[Tree], Expected]) -> Callable[[Tree], Expected]:
        if entry in _TREES:
            raise AssertionError(f"{entry} has two trees")
        _TREES[entry] = MadeTree(entry=entry, evidence=tuple(evidence), write=write)
        return write

    return register


def made_trees() -> dict[str, MadeTree]:
    """Every tree of the modules `of_*.py` beside this one, by entry."""
    for path in sorted(Path(__file__).parent.glob("of_*.py")):
        importlib.import_module(f"trees.{path.stem}")
    return dict(sorted(_TREES.items()))
