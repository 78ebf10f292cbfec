"""Which cases of an entry a person should look at first, and why. A suspect is never excluded for it."""

from medshard.pipelines.reporting.suspects.of_entry import suspects_of_entry
from medshard.pipelines.reporting.suspects.ranking import SuspectCase, rank
from medshard.pipelines.reporting.suspects.suspect import KINDS, Suspect

__all__ = ["KINDS", "Suspect", "SuspectCase", "rank", "suspects_of_entry"]
