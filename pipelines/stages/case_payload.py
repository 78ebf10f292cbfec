"""What a worker needs to validate or convert one case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medshard.converters.sources import SourceFile
from medshard.errors import CaseError
from medshard.registry.layout import CaseFiles
from medshard.registry.schema import CaseGroup, Entry, ImageSpec, LabelSpec

Row = Mapping[str, Any]
"""One row of a table, column -> value."""


@dataclass(frozen=True, kw_only=True)
class CaseRows:
    """Rows of one case in a table that serves many. error: why the table, or the part of it, cannot be read."""

    rows: Sequence[Row] = ()
    error: CaseError | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CasePayload:
    """One case of an entry.

    files: path in the raw tree -> place on disk. sources: the same paths -> digest and size.
    rows: annotation -> the rows of this case in a file that serves many cases. slides: the images that are whole
    slides, as soon as somebody has looked.
    """

    entry: Entry
    group: CaseGroup
    case: CaseFiles
    files: Mapping[str, Path]
    sources: Mapping[str, SourceFile] = field(default_factory=dict)
    rows: Mapping[str, CaseRows] = field(default_factory=dict)
    slides: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        return f"{self.entry.id}/{self.case.case}"

    @property
    def repair_header(self) -> bool:
        """Whether the entry lists this case as one whose label header may be overwritten with the image's."""
        return any(
            defect.action == "repair-header" and defect.concerns(self.case.case) for defect in self.entry.known_defects
        )

    def page_of(self, spec: ImageSpec | LabelSpec) -> int | None:
        """Which picture of its file is meant, where each picture of a file is a case."""
        return self.case.page if spec.pictures is not None else None

    def locate(self, paths: tuple[str, ...]) -> list[Path]:
        return [self.files[path] for path in paths]


def require_files(payload: CasePayload, kind: str, name: str, spec: ImageSpec, files: tuple[str, ...]) -> None:
    """Raise CaseError[<kind>.missing] where a content that is not optional has no file."""
    if not files and not spec.optional:
        raise CaseError(
            f"{kind}.missing",
            where=payload.where,
            problem=f"no file matches {name}" if kind == "content" else f"no file matches the {kind} {name}",
            details={"looked for": spec.path},
            action="Complete the source, or list the case under `known_defects`.",
        )
