"""What verification finds wrong, as data: it goes on after the first fault and lists them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from medshard.errors import MedshardError


@dataclass(frozen=True, kw_only=True)
class Fault:
    """code: stable dotted name. where: file. problem: one sentence. details: case, array, chunk, expected, found ..."""

    code: str
    where: str
    problem: str
    details: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{self.code}  {self.where}: {self.problem}"]
        return "\n".join(lines + [f"    {label}: {text}" for label, text in self.details.items()])

    def to_json(self) -> dict[str, Any]:
        return {"code": self.code, "where": self.where, "problem": self.problem, "details": dict(self.details)}


def fault(code: str, where: object, problem: str, **details: object) -> Fault:
    return Fault(
        code=code, where=str(where), problem=problem, details={name: str(value) for name, value in details.items()}
    )


def fault_of(error: MedshardError) -> Fault:
    return Fault(code=error.code, where=error.where, problem=error.problem, details=error.details)
