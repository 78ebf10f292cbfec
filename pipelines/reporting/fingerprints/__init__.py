"""Fingerprints for people: of one entry or of a selection, as figures, as a page and as lines of text."""

from medshard.pipelines.reporting.fingerprints.figures import Figure, fingerprint_figures
from medshard.pipelines.reporting.fingerprints.of_entries import sketch_of_entries, sketch_of_entry
from medshard.pipelines.reporting.fingerprints.page import fingerprint_page, fingerprint_section

__all__ = [
    "Figure",
    "fingerprint_figures",
    "fingerprint_page",
    "fingerprint_section",
    "sketch_of_entries",
    "sketch_of_entry",
]
