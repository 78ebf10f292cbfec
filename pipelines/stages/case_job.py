"""One case that a stage has to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from medshard.registry.store.records import CaseRecord

P = TypeVar("P")


@dataclass(frozen=True, kw_only=True)
class CaseJob(Generic[P]):
    """One case to be done. The record says what goes in; the worker fills in what comes out.

    bytes_needed: estimated peak of working memory. small_bytes: of a case that may be done in one batch with others
    like it, what it adds to the batch's memory; None for a case that is done by itself.
    """

    record: CaseRecord
    payload: P
    bytes_needed: int = 64 << 20
    small_bytes: int | None = None
