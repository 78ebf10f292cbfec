"""How large a case is where nobody states it: assumed array sizes by modality, for planning only.

Assumptions, not measurements: typical matrices of clinical scanners and cameras. An entry that states
`expectations.shape` is counted with that instead. What follows is right within a factor of a few: against the entries
that state a size it lay between 0.15 and 3.4 times the truth (2026-11-22).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType

from medshard.registry.schema import Entry
from medshard.registry.vocabulary import Modality


@dataclass(frozen=True, kw_only=True)
class TypicalImage:
    """shape: (z, y, x). bytes_per_voxel: all channels together. packed: file size against that, as distributed."""

    shape: tuple[int, int, int]
    bytes_per_voxel: int
    packed: float

    @property
    def file_bytes(self) -> float:
        return prod(self.shape) * self.bytes_per_voxel * self.packed


_VOLUME_PACKED = 0.5
_PHOTOGRAPH_PACKED = 0.3

TYPICAL_VOLUMES: Mapping[Modality, TypicalImage] = MappingProxyType(
    {
        Modality.CT: TypicalImage(shape=(250, 512, 512), bytes_per_voxel=2, packed=_VOLUME_PACKED),
        Modality.CTA: TypicalImage(shape=(275, 512, 512), bytes_per_voxel=2, packed=_VOLUME_PACKED),
        Modality.PET_CT: TypicalImage(shape=(326, 400, 400), bytes_per_voxel=4, packed=_VOLUME_PACKED),
        Modality.CBCT: TypicalImage(shape=(300, 400, 400), bytes_per_voxel=2, packed=_VOLUME_PACKED),
        Modality.MR: TypicalImage(shape=(120, 256, 256), bytes_per_voxel=2, packed=_VOLUME_PACKED),
        Modality.US: TypicalImage(shape=(200, 300, 300), bytes_per_voxel=1, packed=_VOLUME_PACKED),
    }
)
TYPICAL_PICTURES: Mapping[Modality, TypicalImage] = MappingProxyType(
    {
        Modality.CT: TypicalImage(shape=(1, 400, 400), bytes_per_voxel=3, packed=_PHOTOGRAPH_PACKED),
        Modality.XRAY: TypicalImage(shape=(1, 1500, 1500), bytes_per_voxel=1, packed=_PHOTOGRAPH_PACKED),
        Modality.US: TypicalImage(shape=(1, 500, 600), bytes_per_voxel=1, packed=_PHOTOGRAPH_PACKED),
        Modality.FUNDUS: TypicalImage(shape=(1, 1500, 2000), bytes_per_voxel=3, packed=_PHOTOGRAPH_PACKED),
        Modality.OCT: TypicalImage(shape=(1, 500, 700), bytes_per_voxel=1, packed=_PHOTOGRAPH_PACKED),
        Modality.OCTA: TypicalImage(shape=(1, 400, 400), bytes_per_voxel=1, packed=_PHOTOGRAPH_PACKED),
        Modality.ENDOSCOPY: TypicalImage(shape=(1, 576, 720), bytes_per_voxel=3, packed=_PHOTOGRAPH_PACKED),
        Modality.PATHOLOGY: TypicalImage(shape=(1, 700, 900), bytes_per_voxel=3, packed=_PHOTOGRAPH_PACKED),
        Modality.DERMOSCOPY: TypicalImage(shape=(1, 1000, 1500), bytes_per_voxel=3, packed=_PHOTOGRAPH_PACKED),
    }
)


COUNTED_UNITS = frozenset(
    {
        *("cases", "scans", "volumes", "studies", "images", "frames", "tiles", "patches", "patients", "subjects"),
        *("pictures", "slices", "series", "cores", "films", "photographs", "regions of interest", "image pairs"),
    }
)
"""What a case may be for its size to be assumed: something of one image, or of one set of them."""


def assumed_download_bytes(entry: Entry) -> int | None:
    """Cases that can be had, times images of a case, times the size of one; None where that cannot be said.

    Signals, records, texts, questions, meshes, videos and whole slides have no typical size and stay unknown.
    """
    cases = entry.source.released if entry.source.released is not None else entry.source.cases
    typical = _typical(entry)
    if not cases or typical is None or entry.source.unit not in COUNTED_UNITS:
        return None
    images = max((_images_of_a_case(entry, number) for number in range(len(entry.cases))), default=1)
    shape = entry.expectations.shape or typical.shape
    return round(cases * images * prod(shape) * typical.bytes_per_voxel * typical.packed)


def _typical(entry: Entry) -> TypicalImage | None:
    table = TYPICAL_VOLUMES if 3 in entry.dimensions else TYPICAL_PICTURES
    known = [table[modality] for modality in entry.modalities if modality in table]
    return max(known, key=lambda typical: typical.file_bytes, default=None)


def _images_of_a_case(entry: Entry, group: int) -> int:
    """Images of one case; a file of several channels counts as many."""
    return sum(max(1, len(image.channels)) for image in entry.cases[group].images.values()) or 1
