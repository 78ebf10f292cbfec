"""What a user may say about an acquisition; nothing of it changes which bytes come out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.gates.use import Use

if TYPE_CHECKING:
    from medshard.registry.acquisition.gates.terms import Terms

ACCEPT_VARIABLE = "MEDSHARD_ACCEPT_LICENCE"
USE_VARIABLE = "MEDSHARD_USE"


@dataclass(frozen=True, kw_only=True)
class AcquisitionOptions:
    """use: what the data are wanted for. accept: ids of entries whose terms are accepted. ask: shows terms to a person
    and returns their answer; None where nobody can be asked.

    optional: whether optional parts are taken. discard_archives: remove an archive once it is unpacked. verify: hash
    what is in the store again. accept_changes: take over what has changed at a source. environment: where credentials,
    passwords, limits and mirrors are read from.
    """

    use: Use = Use.RESEARCH
    accept: frozenset[str] = frozenset()
    ask: Callable[[Terms], bool] | None = None
    optional: bool = False
    discard_archives: bool = False
    verify: bool = False
    accept_changes: bool = False
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    @classmethod
    def from_environment(cls) -> AcquisitionOptions:
        """MEDSHARD_USE, and MEDSHARD_ACCEPT_LICENCE as ids with commas between them. Raises AcquisitionError."""
        named = os.environ.get(ACCEPT_VARIABLE, "")
        use = os.environ.get(USE_VARIABLE, Use.RESEARCH)
        if use not in set(Use):
            raise AcquisitionError(
                "settings.use",
                where=USE_VARIABLE,
                problem="this is no use that is known",
                details={"expected": " or ".join(Use), "found": use},
            )
        return cls(
            use=Use(use),
            accept=frozenset(word.strip() for word in named.split(",") if word.strip()),
        )
