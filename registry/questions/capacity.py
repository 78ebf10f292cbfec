"""What a selection of entries costs before anyone fetches a byte: download, disk at every stage, hours, licences.

Sizes are sums of what sources state; what they do not state is counted as unknown, and assumed in figures of their own.
Disk of later stages follows from the download by factors that are named here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from medshard.registry.questions.case_sizes import assumed_download_bytes
from medshard.registry.schema import Entry, FolderSource, PackageSource, PipSource, RemoteSource, Source
from medshard.registry.vocabulary import Access

UNPACKED_OF_DOWNLOAD = 1.0
"""Archives of images that are compressed themselves (nii.gz, png, jpg) hardly grow: an assumption."""
UNCOMPRESSED_UNPACKED_OF_DOWNLOAD = 2.0
"""Archives of uncompressed images (nii, mhd with raw, dcm, npy) do: an assumption."""
VOLUMES_OF_UNPACKED = 1.12
"""The largest of four measured ratios (0.3 to 1.12) of the entries that medshard itself builds."""
SHARDS_OF_VOLUMES = 1.65
"""The largest of four measured ratios (0.42 to 1.65) of the same entries with their default plans."""

UNCOMPRESSED = frozenset({"nii", "mhd", "raw", "dcm", "dicom", "npy", "bmp", "tif", "tiff", "hdr/img (Analyze)", "obj"})


@dataclass(frozen=True, kw_only=True)
class Rates:
    """download_mbit: of the line, in megabit a second. build_mb: source megabytes that a build handles a second."""

    download_mbit: float = 100.0
    build_mb: float = 10.0

    def hours_down(self, count: int) -> float:
        return count * 8 / (self.download_mbit * 1e6) / 3600

    def hours_built(self, count: int) -> float:
        return count / (self.build_mb * 1e6) / 3600


@dataclass(frozen=True, kw_only=True)
class StageBytes:
    """Bytes at every stage of the chain."""

    download: int
    unpacked: int
    volumes: int
    shards: int


@dataclass(frozen=True, kw_only=True)
class EntryCapacity:
    """One entry's share. download_bytes is a lower bound unless `is_known`: an entry without parts has no size.

    unpacked, volumes, shards: estimates in bytes from the known part of the download. assumed: the same from assumed
    array sizes, where not all of the download is known and such a size can be assumed.
    """

    id: str
    access: str
    licence: str
    download_bytes: int
    parts: int
    parts_unknown: int
    unpacked_bytes: int
    volumes_bytes: int
    shards_bytes: int
    assumed: StageBytes | None

    @property
    def is_known(self) -> bool:
        return self.parts > 0 and self.parts_unknown == 0

    @property
    def stated(self) -> StageBytes:
        return StageBytes(
            download=self.download_bytes,
            unpacked=self.unpacked_bytes,
            volumes=self.volumes_bytes,
            shards=self.shards_bytes,
        )


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """The sum over a selection, and what is not known of it."""

    entries: tuple[EntryCapacity, ...]
    rates: Rates

    @property
    def download_bytes(self) -> int:
        return sum(entry.download_bytes for entry in self.entries)

    @property
    def unpacked_bytes(self) -> int:
        return sum(entry.unpacked_bytes for entry in self.entries)

    @property
    def volumes_bytes(self) -> int:
        return sum(entry.volumes_bytes for entry in self.entries)

    @property
    def shards_bytes(self) -> int:
        return sum(entry.shards_bytes for entry in self.entries)

    @property
    def assumed(self) -> StageBytes:
        """The same sums with assumed sizes for the entries whose sources do not state all of theirs."""
        shares = [entry.assumed or entry.stated for entry in self.entries]
        return StageBytes(
            download=sum(share.download for share in shares),
            unpacked=sum(share.unpacked for share in shares),
            volumes=sum(share.volumes for share in shares),
            shards=sum(share.shards for share in shares),
        )

    @property
    def beyond_assumption(self) -> tuple[str, ...]:
        """Entries that stay unknown: records, texts, signals, slides, or no number of cases."""
        return tuple(entry.id for entry in self.entries if not entry.is_known and entry.assumed is None)

    @property
    def download_hours(self) -> float:
        return self.rates.hours_down(self.download_bytes)

    @property
    def build_hours(self) -> float:
        return self.rates.hours_built(self.unpacked_bytes)

    @property
    def fully_known(self) -> tuple[str, ...]:
        return tuple(entry.id for entry in self.entries if entry.is_known)

    @property
    def partly_known(self) -> tuple[str, ...]:
        return tuple(entry.id for entry in self.entries if not entry.is_known and entry.download_bytes)

    @property
    def unknown(self) -> tuple[str, ...]:
        return tuple(entry.id for entry in self.entries if not entry.is_known and not entry.download_bytes)

    @property
    def to_sign(self) -> dict[str, tuple[str, ...]]:
        """Kind of access -> entries that cannot simply be downloaded."""
        kinds = (Access.ACCOUNT, Access.AGREEMENT, Access.UNAVAILABLE)
        return {kind.value: tuple(entry.id for entry in self.entries if entry.access == kind) for kind in kinds}

    @property
    def licences(self) -> dict[str, tuple[str, ...]]:
        names = sorted({entry.licence for entry in self.entries})
        return {name: tuple(entry.id for entry in self.entries if entry.licence == name) for name in names}

    def to_json(self) -> dict[str, object]:
        return {
            "entries": [asdict(entry) for entry in self.entries],
            "rates": asdict(self.rates),
            "download_bytes": self.download_bytes,
            "unpacked_bytes": self.unpacked_bytes,
            "volumes_bytes": self.volumes_bytes,
            "shards_bytes": self.shards_bytes,
            "download_hours": round(self.download_hours, 2),
            "build_hours": round(self.build_hours, 2),
            "with_assumed_sizes": {
                **asdict(self.assumed),
                "download_hours": round(self.rates.hours_down(self.assumed.download), 2),
                "build_hours": round(self.rates.hours_built(self.assumed.unpacked), 2),
                "still_unknown": list(self.beyond_assumption),
            },
            "sizes_known": list(self.fully_known),
            "sizes_partly_known": list(self.partly_known),
            "sizes_unknown": list(self.unknown),
            "to_sign": {kind: list(names) for kind, names in self.to_sign.items()},
            "licences": {licence: list(names) for licence, names in self.licences.items()},
        }


def plan_capacity(entries: Iterable[Entry], rates: Rates | None = None) -> Capacity:
    return Capacity(entries=tuple(_of_entry(entry) for entry in entries), rates=rates or Rates())


def _of_entry(entry: Entry) -> EntryCapacity:
    sizes = [size for source in needed_sources(entry.acquisition) for size in _sizes(source)]
    known = [size for size in sizes if size is not None]
    stated = _stages(entry, sum(known))
    all_known = bool(sizes) and None not in sizes
    assumed = None if all_known else assumed_download_bytes(entry)
    return EntryCapacity(
        id=entry.id,
        access=entry.access.kind.value,
        licence=entry.licence.id,
        download_bytes=stated.download,
        parts=len(sizes),
        parts_unknown=len(sizes) - len(known),
        unpacked_bytes=stated.unpacked,
        volumes_bytes=stated.volumes,
        shards_bytes=stated.shards,
        # What is assumed is at least what the sources state.
        assumed=None if assumed is None else _stages(entry, max(stated.download, assumed)),
    )


def _stages(entry: Entry, download: int) -> StageBytes:
    """Bytes at every stage that follow from those of the download."""
    grows = any(name in UNCOMPRESSED for name in entry.source.formats)
    factor = UNCOMPRESSED_UNPACKED_OF_DOWNLOAD if grows else UNPACKED_OF_DOWNLOAD
    unpacked = entry.expectations.bytes_unpacked or round(download * factor)
    volumes = round(unpacked * VOLUMES_OF_UNPACKED)
    return StageBytes(download=download, unpacked=unpacked, volumes=volumes, shards=round(volumes * SHARDS_OF_VOLUMES))


def needed_sources(sources: Sequence[Source]) -> list[Source]:
    """What a full build fetches: no optional parts, and of parts that are the same content the first."""
    taken: set[str] = set()
    needed: list[Source] = []
    for source in sources:
        if isinstance(source, RemoteSource):
            if source.optional or (source.part and source.part in taken):
                continue
            taken.add(source.part)
        needed.append(source)
    return needed


def _sizes(source: Source) -> list[int | None]:
    """Bytes of each file of a source, None where nobody states them; a source without files is one unknown part."""
    if isinstance(source, PipSource | PackageSource | FolderSource):
        return [None]
    return [file.planned_size for file in source.files] or [None]
