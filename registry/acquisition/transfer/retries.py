"""When to try again: pauses that grow, pauses that a server asks for, and the point where patience ends."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from math import isfinite

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.transfer.faults import FaultError
from medshard.registry.acquisition.transfer.settings import TransferSettings

RETRIED_STATUSES = frozenset({202, 408, 425, 429})  # and 5xx; a file that is still being made answers 202


def is_retried(status: int) -> bool:
    return status in RETRIED_STATUSES or 500 <= status < 600


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for, given as a number or as an HTTP date; None when it says nothing."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = ((date if date.tzinfo else date.replace(tzinfo=UTC)) - now).total_seconds()
    return max(seconds, 0.0) if isfinite(seconds) else None


class Origins:
    """What all transfers of one host share: its free connections, and the pause that it has asked for."""

    def __init__(self, settings: TransferSettings) -> None:
        self._slots: dict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(settings.connections_per_host)
        )
        self._paused_until: dict[str, float] = {}

    @asynccontextmanager
    async def turn(self, origin: str) -> AsyncIterator[None]:
        """Hold one of the host's connections, from when no pause is left."""
        async with self._slots[origin]:
            while (seconds := self._paused_until.get(origin, 0.0) - time.monotonic()) > 0:
                # Apart, so that all transfers of a host do not come back at the same moment.
                await asyncio.sleep(seconds + random.uniform(0, min(0.1 * seconds, 1.0)))
            yield

    def pause(self, origin: str, seconds: float) -> None:
        self._paused_until[origin] = max(self._paused_until.get(origin, 0.0), time.monotonic() + seconds)


TOLD_S = 5.0
_log = logging.getLogger(__name__)


class Patience:
    """The tries of one request, or of one connection of a file. address: as it may be shown."""

    def __init__(self, settings: TransferSettings, origins: Origins, *, origin: str, address: str, where: str) -> None:
        self._settings = settings
        self._origins = origins
        self._origin = origin
        self._address = address
        self._where = where
        self._failures = 0
        self._progress = 0

    async def after(self, fault: FaultError, *, progress: int = 0, kept: str = "") -> None:
        """Wait as long as the fault asks for.

        progress: any number that grows while something is gained; then the count of failures begins anew. kept: what
        a later call need not fetch again. Raises AcquisitionError[host.unreachable] after the last try, and
        [host.busy] when the server asks for too long a pause.
        """
        self._failures = 1 if progress > self._progress else self._failures + 1
        self._progress = max(progress, self._progress)
        if fault.retry_after_s is not None:
            self._pause_host(fault.retry_after_s)
        if self._failures >= self._settings.attempts:
            raise self._ended(fault, kept)
        if fault.retry_after_s is not None:
            self._tell(fault, fault.retry_after_s)
        elif not fault.at_once:
            delay = self._delay()
            self._tell(fault, delay)
            await asyncio.sleep(delay)

    def _tell(self, fault: FaultError, wait_s: float) -> None:
        """A person who sees nothing move wants to know why."""
        if wait_s >= TOLD_S:
            tries = f"try {self._failures} of {self._settings.attempts}"
            _log.warning("%s: %s; waiting %.0f s (%s)", self._origin, fault.reason, wait_s, tries)

    def _delay(self) -> float:
        longest = min(self._settings.longest_delay_s, self._settings.first_delay_s * 2.0 ** min(self._failures - 1, 30))
        return random.uniform(longest / 2, longest)

    def _pause_host(self, seconds: float) -> None:
        if seconds > self._settings.longest_wait_s:
            come_back = datetime.now(UTC) + timedelta(seconds=min(seconds, 1e9))
            raise AcquisitionError(
                "host.busy",
                where=self._where,
                problem=f"{self._origin} asks to come back later",
                details={"address": self._address, "not before": f"{come_back:%Y-%m-%d %H:%M} UTC"},
                action="Run the same command again then; what has been fetched is kept.",
            )
        self._origins.pause(self._origin, seconds)

    def _ended(self, fault: FaultError, kept: str) -> AcquisitionError:
        return AcquisitionError(
            "host.unreachable",
            where=self._where,
            problem=f"{self._origin} does not deliver",
            details={
                "address": self._address,
                "tries": f"{self._failures} in a row without progress",
                "last": fault.reason,
                **({"kept": kept} if kept else {}),
            },
            action="Run the same command again later; what has been fetched is kept. Behind a proxy, set HTTPS_PROXY "
            "or MEDSHARD_MIRRORS.",
        )
