"""Fingerprints: what a volume looks like in numbers, and what many volumes look like together."""

from medshard.converters.fingerprint.class_map import concept_values
from medshard.converters.fingerprint.numbers import DIGITS, Facts, rounded
from medshard.converters.fingerprint.sketch import merge_sketches, sketch_from_json, sketch_of_cases, sketch_to_json
from medshard.converters.fingerprint.summary import duplicates_in, merge_fingerprints, merge_foregrounds, summary_of
from medshard.converters.fingerprint.volume_facts import (
    QUANTILES,
    content_facts,
    fingerprint_volume,
    nonzero_box,
    voxel_digest,
)

__all__ = [
    "DIGITS",
    "QUANTILES",
    "Facts",
    "concept_values",
    "content_facts",
    "duplicates_in",
    "fingerprint_volume",
    "merge_fingerprints",
    "merge_foregrounds",
    "merge_sketches",
    "nonzero_box",
    "rounded",
    "sketch_from_json",
    "sketch_of_cases",
    "sketch_to_json",
    "summary_of",
    "voxel_digest",
]
