"""The few exceptions of medshard.

Every error says what is wrong and where (entry, case, field, file), what was expected, what was found, and what to do.
`code` is stable and meant to be matched on; `str(error)` is meant to be read.
"""

from __future__ import annotations

from typing import Any


class MedshardError(Exception):
    """Base of every error that medshard raises on purpose.

    code: stable dotted name, such as `geometry.mismatch`.
    where: what the error is about, such as `kits23/case_00042` or `catalog.yaml:12 licence.spdx`.
    problem: one sentence.
    details: lines of evidence (file, size, expected, found), one `label: text` pair each.
    action: what the reader should do next.
    """

    def __init__(
        self,
        code: str,
        *,
        where: str,
        problem: str,
        details: dict[str, Any] | None = None,
        action: str = "",
    ) -> None:
        super().__init__(code, where, problem)
        self.code = code
        self.where = where
        self.problem = problem
        self.details = {str(label): str(text) for label, text in (details or {}).items()}
        self.action = action

    def __str__(self) -> str:
        lines = [f"{type(self).__name__}[{self.code}] {self.where}: {self.problem}"]
        width = max((len(label) for label in self.details), default=0)
        lines += [f"  {label:<{width}}  {text}" for label, text in self.details.items()]
        if self.action:
            lines.append(f"  {self.action}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        # Keyword-only fields need help to cross a process boundary.
        return _rebuild, (type(self), self.code, self.where, self.problem, self.details, self.action)


def _rebuild(
    kind: type[MedshardError], code: str, where: str, problem: str, details: dict[str, str], action: str
) -> MedshardError:
    return kind(code, where=where, problem=problem, details=details, action=action)


class CatalogError(MedshardError, ValueError):
    """A catalog file, an entry or a recipe is not what the schema asks for."""


class AcquisitionError(MedshardError):
    """A source could not be acquired, or is not what the catalog says it is."""


class CaseError(MedshardError):
    """One case cannot be used. The case is excluded with this reason; the others go on."""


class StoreError(MedshardError):
    """The store cannot be read or written, or an object is not what its digest says."""


class SplitError(MedshardError, ValueError):
    """A split cannot be made, or a patient would be on both sides of it."""


class MissingExtraError(MedshardError, ImportError):
    """An optional part of medshard is not installed; the message names the extra to install."""
