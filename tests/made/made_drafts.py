"""The draft of a folder, as a person reads it and as the catalog and the layout understand it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from medshard.pipelines.adding.draft import draft
from medshard.registry.layout import CaseFiles, discover
from medshard.registry.schema import Entry
from medshard.registry.vocabulary import Modality


@dataclass(frozen=True)
class Drafted:
    """text: of the catalog file. cases: name -> files, as the drafted layout finds them."""

    text: str
    summary: tuple[str, ...]
    entry: Entry
    cases: dict[str, CaseFiles]

    @property
    def groups(self) -> list[dict[str, Any]]:
        return list(yaml.safe_load(self.text)["entries"][0]["cases"])

    @property
    def only(self) -> dict[str, Any]:
        (group,) = self.groups
        return dict(group)

    def masks(self, case: str) -> set[str]:
        found = self.cases[case].labels.values()
        return {path for layer in found for files in layer for path in files}


def drafted(folder: Path, modality: Modality | None = None) -> Drafted:
    """Raises AssertionError where the draft is no entry, or where two of its cases have one name."""
    made = draft(folder, entry_id="drafted", modality=modality, beside=folder.parent)
    entry = Entry.model_validate(yaml.safe_load(made.text)["entries"][0])
    paths = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    cases = discover(entry, paths).cases
    assert len({case.case for case in cases}) == len(cases), "two cases have one name"
    return Drafted(made.text, made.summary, entry, {case.case: case for case in cases})
