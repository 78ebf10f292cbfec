"""A file out of a bucket, read through fsspec: s3fs or gcsfs, asked in other threads, piece by piece."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from medshard.errors import AcquisitionError, MissingExtraError
from medshard.registry.acquisition.transfer.assembly import Assembly, together
from medshard.registry.acquisition.transfer.faults import ContentChangedError, FaultError
from medshard.registry.acquisition.transfer.retries import Patience
from medshard.registry.acquisition.transfer.spans import Span, pieces
from medshard.registry.acquisition.transfer.web import Web
from medshard.registry.hosts.host import ObjectAddress

OBJECT_PIECE_BYTES = 8 << 20  # a piece is held in memory
_MISSING_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "RefreshError", "DefaultCredentialsError")
T = TypeVar("T")


class ObjectFile:
    """Fills one assembly. A new object for each call."""

    def __init__(self, address: ObjectAddress, assembly: Assembly, web: Web) -> None:
        self._address = address
        self._assembly = assembly
        self._part = assembly.part
        self._wanted = assembly.wanted
        self._web = web
        self._system: Any = None

    async def fill(self) -> None:
        """Return when the part is whole. Raises AcquisitionError: see `download`."""
        self._system = await self._in_thread(self._open_system)
        changes: list[str] = []
        while len(changes) < 2:
            try:
                await self._settle()
                queue = deque(pieces(self._part.gaps(), min(self._web.settings.piece_bytes, OBJECT_PIECE_BYTES)))
                several = len(queue) > 1
                connections = min(self._web.settings.connections_per_host, len(queue))
                await together(self._work_off(queue) for _ in range(connections))
                if several:
                    await self._settle()  # pieces carry no ETag: what changed on the way shows here
                return
            except ContentChangedError as change:
                changes.append(change.difference)
                await self._assembly.restart()
        raise AcquisitionError(
            "download.changing",
            where=self._wanted.where,
            problem=f"{self._wanted.name} keeps changing while it is fetched",
            details={"address": self._wanted.url, "first": changes[0], "then": changes[1]},
            action="Its publisher may be replacing it: try again later.",
        )

    async def _settle(self) -> None:
        info = await self._patiently(self._info)
        validator = info.get("ETag") or info.get("etag")
        self._assembly.settle(size=int(info["size"]), validator=None if validator is None else str(validator))

    async def _work_off(self, queue: deque[Span]) -> None:
        while queue:
            span = queue.popleft()
            data = await self._patiently(lambda span=span: self._read(span))  # type: ignore[misc]
            with self._part.stretch(span.start) as stretch:
                self._assembly.write(stretch, data)

    async def _patiently(self, ask: Callable[[], T]) -> T:
        wanted = self._wanted
        patience = Patience(
            self._web.settings, self._web.origins, origin=wanted.origin, address=wanted.url, where=wanted.where
        )
        while True:
            try:
                async with self._web.origins.turn(wanted.origin):
                    self._assembly.attempts += 1
                    return await self._in_thread(ask)
            except FaultError as fault:
                await patience.after(fault, progress=self._part.done.total, kept=self._part.kept)

    async def _in_thread(self, action: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._web.threads, self._judged, action)

    def _judged(self, action: Callable[[], T]) -> T:
        """Errors of the libraries, sorted into what may pass and what will not; their texts may hold secrets."""
        try:
            return action()
        except (AcquisitionError, FaultError, MissingExtraError):
            raise
        except FileNotFoundError:
            raise self._refusal("host.gone", "does not have this object") from None
        except PermissionError:
            raise self._refusal("host.refused", "does not give this object to you") from None
        except Exception as error:  # each library has errors of its own
            if type(error).__name__ in _MISSING_CREDENTIALS:
                raise self._refusal("host.refused", "asks for credentials") from None
            raise FaultError(f"the bucket's library reports {type(error).__name__}") from None

    def _refusal(self, code: str, what: str) -> AcquisitionError:
        return AcquisitionError(
            code,
            where=self._wanted.where,
            problem=f"{self._wanted.origin} {what}",
            details={"object": self._wanted.url},
            action="Look at the entry's page for where the objects are and who may read them; credentials go where "
            "the cloud's own tools look for them.",
        )

    def _open_system(self) -> Any:
        import fsspec  # noqa: PLC0415 (starts threads of its own, only for buckets)

        protocol = self._address.protocol
        secret = self._web.secrets.get(f"{protocol}://")
        options = {**self._address.options, **(secret.options if secret else {})}
        try:
            return fsspec.filesystem(protocol, **options)
        except ImportError as error:
            raise MissingExtraError(
                "acquisition.extra",
                where=self._wanted.where,
                problem=f"reading {protocol} buckets needs a package that is not installed",
                details={"missing": error.name or {"s3": "s3fs", "gcs": "gcsfs"}[protocol]},
                action="pip install medshard[acquisition]",
            ) from error

    def _info(self) -> dict[str, Any]:
        self._system.invalidate_cache()
        info: dict[str, Any] = self._system.info(self._address.path)
        return info

    def _read(self, span: Span) -> bytes:
        data: bytes = self._system.cat_file(self._address.path, start=span.start, end=span.end)
        if len(data) != len(span):
            raise FaultError(f"{len(data):,} bytes came in place of {len(span):,}")
        return data
