"""What a worker needs to validate or convert one case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from medshard.registry.layout import CaseFiles
from medshard.registry.schema import CaseGroup, Entry


@dataclass(frozen=True, kw_only=True)
class CasePayload:
    """One case of an entry. files: path in the raw tree -> place on disk."""

    entry: Entry
    group: CaseGroup
    case: CaseFiles
    files: Mapping[str, Path]

    @property
    def where(self) -> str:
        return f"{self.entry.id}/{self.case.case}"

    @property
    def repair_header(self) -> bool:
        """Whether the entry lists this case as one whose label header may be overwritten with the image's."""
        return any(
            defect.action == "repair-header" and defect.concerns(self.case.case) for defect in self.entry.known_defects
        )

    def locate(self, paths: tuple[str, ...]) -> list[Path]:
        return [self.files[path] for path in paths]
