"""What is kept of a person and of the scanner: coarse facts, because fairness is measured on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class SubjectFacts:
    """Coarsened facts; None where the source does not state one.

    age_band: ten years, such as `60-69`; everybody from 90 on is `90+`.
    site: a pseudonym of the institution, equal for equal institutions of one entry (`site-1f2e3d4c`); the stage `cases`
        gives it, since a header knows no entry.
    manufacturer, scanner: of the machine and its model, as makers spell them in public.
    field_strength_t: of the magnet, in tesla, rounded to those that are sold.
    """

    sex: Literal["F", "M", "O"] | None = None
    age_band: str | None = None
    site: str | None = None
    manufacturer: str | None = None
    scanner: str | None = None
    field_strength_t: float | None = None
