"""How much an archive may unpack to, and the account that an archive and those inside it share."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.archives.faults import Origin, disk_full, over_limit

GIB = 1 << 30
DISK_LOOK_BYTES = 64 << 20
DISK_RESERVE_BYTES = 64 << 20

MAX_MEMBERS = "MEDSHARD_UNPACK_MAX_MEMBERS"
MAX_GB = "MEDSHARD_UNPACK_MAX_GB"
MAX_RATIO = "MEDSHARD_UNPACK_MAX_RATIO"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """max_members: entries of all directories, folders too. max_total_bytes: written, archives inside included.

    max_ratio: bytes written for each byte of the outermost archive. It is judged only above ratio_from_bytes: masks of
    labels honestly shrink 1500 times. max_depth: archives in archives, the outermost counted. max_name_bytes: of one
    part of a path. max_path_bytes: of the whole path.
    """

    max_members: int = 2_000_000
    max_total_bytes: int = 4096 * GIB
    max_ratio: float = 250
    ratio_from_bytes: int = 10 * GIB
    max_depth: int = 3
    max_name_bytes: int = 255
    max_path_bytes: int = 1024

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Limits:
        """The limits with what the user has set. Raises AcquisitionError[archive.setting] for a text that is no number.

        MEDSHARD_UNPACK_MAX_MEMBERS, MEDSHARD_UNPACK_MAX_GB (10^9 bytes), MEDSHARD_UNPACK_MAX_RATIO.
        """
        default = cls()
        gigabytes = _number(environment, MAX_GB)
        members = _number(environment, MAX_MEMBERS)
        ratio = _number(environment, MAX_RATIO)
        return cls(
            max_members=default.max_members if members is None else int(members),
            max_total_bytes=default.max_total_bytes if gigabytes is None else int(gigabytes * 1e9),
            max_ratio=default.max_ratio if ratio is None else ratio,
        )


def _number(environment: Mapping[str, str], variable: str) -> float | None:
    text = environment.get(variable, "").strip()
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = 0
    if 0 < number < float("inf"):
        return number
    raise AcquisitionError(
        "archive.setting",
        where=variable,
        problem="the limit is not a number above zero",
        details={"found": repr(text)},
        action="Mend the variable, or unset it.",
    )


@dataclass(kw_only=True)
class Account:
    """What has been written for one outermost archive. Threads share it.

    folder: on the disk that is written to. bytes_in: size of the outermost archive. peak: the most bytes that lay on
    the disk at any moment, the outermost archive not counted.
    """

    limits: Limits
    folder: Path
    bytes_in: int
    members: int = 0
    written: int = 0
    on_disk: int = 0
    peak: int = 0
    _looked_at: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def member(self, origin: Origin) -> None:
        with self._lock:
            self.members += 1
        if self.members > self.limits.max_members:
            raise self.too_many_members(origin, f"at least {self.members}")

    def too_many_members(self, origin: Origin, found: str) -> AcquisitionError:
        return over_limit(
            origin,
            what="too many members",
            limit=f"{self.limits.max_members} members",
            found=found,
            raise_with=f"set {MAX_MEMBERS} to a higher number",
        )

    def expect(self, size: int, origin: Origin) -> None:
        """Compare what an archive says it holds with the limits and the free disk, before the first byte."""
        self._judge(self.written + size, origin, stated=True)
        free = shutil.disk_usage(self.folder).free
        if size + DISK_RESERVE_BYTES > free:
            raise disk_full(origin, needed=f"{size} bytes", free=f"{free} bytes")

    def write(self, size: int, origin: Origin, *, kept: bool = True) -> None:
        """Note bytes that are about to be written (kept), or that were only unpacked to be looked at."""
        with self._lock:
            self.written += size
            if kept:
                self.on_disk += size
                self.peak = max(self.peak, self.on_disk)
            look = kept and self.on_disk - self._looked_at > DISK_LOOK_BYTES
            if look:
                self._looked_at = self.on_disk
        self._judge(self.written, origin, stated=False)
        if look and (free := shutil.disk_usage(self.folder).free) < DISK_RESERVE_BYTES:
            raise disk_full(origin, needed="unknown", free=f"{free} bytes")

    def release(self, size: int) -> None:
        with self._lock:
            self.on_disk -= size
            self._looked_at = min(self._looked_at, self.on_disk)

    def _judge(self, total: int, origin: Origin, *, stated: bool) -> None:
        said = "says that it holds" if stated else "holds at least"
        if total > self.limits.max_total_bytes:
            raise over_limit(
                origin,
                what="too much to unpack",
                limit=f"{self.limits.max_total_bytes} bytes",
                found=f"it {said} {total} bytes",
                raise_with=f"set {MAX_GB} to a higher number",
            )
        if total > self.limits.ratio_from_bytes and total > self.limits.max_ratio * self.bytes_in:
            raise over_limit(
                origin,
                what="the looks of a bomb: it unpacks to far more than its size",
                limit=f"{self.limits.max_ratio:g} bytes for each byte of the archive, above "
                f"{self.limits.ratio_from_bytes} bytes",
                found=f"it {said} {total} bytes in {self.bytes_in}",
                raise_with=f"set {MAX_RATIO} to a higher number",
            )
