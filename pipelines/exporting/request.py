"""What is asked of an export."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from medshard.errors import MedshardError
from medshard.pipelines.exporting.cases import Chosen, choose_cases
from medshard.pipelines.exporting.names import Alphabet
from medshard.registry.schema import Entry
from medshard.registry.store.objects import Store

Form = Literal["nnunet", "monai", "webdataset", "bids"]


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """cases, modality, split: which cases. concepts, images: what of them, all by default.

    exact: NIfTI-2 where NIfTI-1 rounds. plan: shards of this plan instead of volumes. number: of an nnU-Net data set.
    largest_mb: of a tar file, in 10^6 bytes. arrays: how a WebDataset holds them. tell: is told of each case.
    """

    store: Store
    entry: Entry
    output: Path
    cases: tuple[str, ...] = ()
    modality: str | None = None
    split: str | None = None
    concepts: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    exact: bool = False
    plan: str | None = None
    number: int | None = None
    largest_mb: float = 1000.0
    arrays: Literal["npy", "nifti"] = "npy"
    for_own_use: bool = False
    tell: Callable[[str], None] | None = None

    def choose(self, alphabet: Alphabet = "file") -> Chosen:
        self._check_concepts()
        return choose_cases(
            self.store, self.entry, only=self.cases, modality=self.modality, split=self.split, alphabet=alphabet
        )

    @property
    def wanted(self) -> frozenset[str] | None:
        return frozenset(self.concepts) or None

    def _check_concepts(self) -> None:
        unknown = [concept for concept in self.concepts if concept not in self.entry.concepts]
        if unknown:
            raise MedshardError(
                "export.unknown_concept",
                where=self.entry.id,
                problem="no label of the entry names this concept",
                details={"unknown": ", ".join(unknown), "concepts": ", ".join(self.entry.concepts[:30])},
            )
