"""A file over HTTP(S): in pieces over several connections where the server can, gone on with after every cut."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import dataclass

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.transfer.answers import (
    content_length,
    content_range,
    is_strong,
    require_success,
    validator_of,
)
from medshard.registry.acquisition.transfer.assembly import Assembly, together
from medshard.registry.acquisition.transfer.client import Answer
from medshard.registry.acquisition.transfer.error_pages import PAGE_BYTES, Expected, page_error, page_kind
from medshard.registry.acquisition.transfer.faults import (
    ContentChangedError,
    FaultError,
    NoRangesError,
    WrongRangeError,
)
from medshard.registry.acquisition.transfer.magic import HEAD_BYTES
from medshard.registry.acquisition.transfer.part import Stretch
from medshard.registry.acquisition.transfer.retries import Patience
from medshard.registry.acquisition.transfer.settings import TransferSettings
from medshard.registry.acquisition.transfer.spans import Span, pieces
from medshard.registry.acquisition.transfer.web import Web
from medshard.registry.hosts.host import HttpAddress, PageInstead

MOST_PIECES = 256  # so that a file of 100 GB does not become thousands of requests, which hosts count
MOST_PAGES = 3
MOST_WRONG_RANGES = 3
REFUSALS = frozenset({400, 401, 403, 404, 410})


@dataclass(frozen=True, kw_only=True)
class Direct:
    """The address behind redirects or a page: pieces are asked for there, not at the host's front door each time.

    trusted: whether credentials may go there. proven: whether it has given data; once it refuses that, its signature
    has expired, and the front door is asked again.
    """

    url: str
    trusted: bool
    proven: bool


class HttpFile:
    """Fills one assembly. A new object for each call."""

    def __init__(self, address: HttpAddress, assembly: Assembly, web: Web) -> None:
        self._url = address.url
        self._assembly = assembly
        self._wanted = assembly.wanted
        self._part = assembly.part
        self._web = web
        self._ranges = address.ranges
        self._wrong_ranges = 0
        self._pages = 0
        self._direct: Direct | None = None

    async def fill(self) -> None:
        """Return when the part is whole. Raises AcquisitionError: see `download`."""
        changes: list[str] = []
        while len(changes) < 2:
            try:
                if self._ranges:
                    await self._fill_by_ranges()
                else:
                    await self._fill_at_once()
                return
            except NoRangesError:
                self._ranges = False
            except ContentChangedError as change:
                changes.append(change.difference)
            self._direct = None
            await self._assembly.restart()
        raise AcquisitionError(
            "download.changing",
            where=self._wanted.where,
            problem=f"{self._wanted.name} keeps changing while it is fetched",
            details={"address": self._wanted.url, "first": changes[0], "then": changes[1]},
            action="Its publisher may be replacing it, or the host's servers hold different copies: try again later.",
        )

    async def _fill_by_ranges(self) -> None:
        if not self._part.is_begun:
            await self._open()
        if self._part.is_whole:
            return
        queue = deque(self._pieces())
        connections = min(self._web.settings.connections_per_host, len(queue))
        empty = asyncio.Event()
        await together(self._join_in(queue, number, empty) for number in range(connections))

    async def _join_in(self, queue: deque[Span], number: int, empty: asyncio.Event) -> None:
        """Fetch pieces over one more connection, once those before it turn out not to be fast enough."""
        settings = self._web.settings
        joins_at = time.monotonic() + number * settings.ramp_s
        while queue and (wait := joins_at - time.monotonic()) > 0:
            before, began = self._assembly.transferred, time.monotonic()
            with suppress(TimeoutError):
                await asyncio.wait_for(empty.wait(), min(wait, settings.ramp_s))
            took = max(time.monotonic() - began, 1e-3)
            if (self._assembly.transferred - before) / took >= settings.fast_bytes_per_s:
                joins_at = time.monotonic() + settings.ramp_s
        await self._work_off(queue)
        empty.set()

    def _pieces(self) -> list[Span]:
        size, piece = self._part.size or 0, self._web.settings.piece_bytes
        if size <= 2 * piece:
            return self._part.gaps()
        return pieces(self._part.gaps(), max(piece, -(-size // MOST_PIECES)))

    async def _open(self) -> None:
        """The first request, which tells the size and whether pieces can be asked for.

        A file that is known to be small is asked for as a whole.
        """
        piece, size = self._web.settings.piece_bytes, self._wanted.size
        end = 2 * piece if size is None else piece if size > 2 * piece else None
        patience = self._new_patience()
        while not self._part.is_begun:
            with self._part.stretch(0) as stretch:
                try:
                    await self._exchange(stretch, end)
                except FaultError as fault:
                    await self._bear(fault, patience, self._part.done.total)
            if self._part.has_no_end:
                await self._assembly.restart()  # cut, and nobody knows how much is missing

    async def _fill_at_once(self) -> None:
        """Everything in one answer; what was cut is of no use. Getting further than ever before is progress."""
        patience = self._new_patience()
        furthest = 0
        while not self._part.is_whole:
            if self._part.is_begun:
                await self._assembly.restart()
            with self._part.stretch(0) as stretch:
                try:
                    await self._exchange(stretch, None)
                except FaultError as fault:
                    furthest = max(furthest, stretch.position)
                    await self._bear(fault, patience, furthest)

    async def _work_off(self, queue: deque[Span]) -> None:
        while queue:
            span = queue.popleft()
            patience = self._new_patience()
            with self._part.stretch(span.start) as stretch:
                while stretch.position < span.end:
                    try:
                        await self._exchange(stretch, span.end)
                    except FaultError as fault:
                        await self._bear(fault, patience, self._part.done.total)

    def _new_patience(self) -> Patience:
        wanted = self._wanted
        return Patience(
            self._web.settings, self._web.origins, origin=wanted.origin, address=wanted.url, where=wanted.where
        )

    async def _bear(self, fault: FaultError, patience: Patience, progress: int) -> None:
        if isinstance(fault, WrongRangeError):
            self._wrong_ranges += 1
            if self._wrong_ranges >= MOST_WRONG_RANGES:
                raise NoRangesError from None
        await patience.after(fault, progress=progress, kept=self._part.kept if self._ranges else "")

    async def _exchange(self, stretch: Stretch, end: int | None) -> None:
        """One request for the bytes from the stretch's position to `end`; None asks for all there is."""
        start, direct = stretch.position, self._direct
        url, trusted = (direct.url, direct.trusted) if direct else (self._url, True)
        async with (
            self._web.origins.turn(self._wanted.origin),
            self._web.client.ask(
                url, where=self._wanted.where, headers=self._range_headers(start, end), trusted=trusted
            ) as answer,
        ):
            self._assembly.attempts += 1
            if direct and direct.proven and answer.status in REFUSALS:
                self._direct = None
                raise FaultError("the address behind the redirect is not valid any more", at_once=True)
            await self._receive(answer, stretch, end)
            if answer.url != self._url:
                self._direct = Direct(url=answer.url, trusted=answer.trusted, proven=True)

    def _range_headers(self, start: int, end: int | None) -> dict[str, str]:
        if start == 0 and end is None:
            return {}
        headers = {"Range": f"bytes={start}-{'' if end is None else end - 1}"}
        validator = self._part.validator
        if validator is not None and is_strong(validator):
            headers["If-Range"] = validator
        return headers

    async def _receive(self, answer: Answer, stretch: Stretch, end: int | None) -> None:
        wanted = self._wanted
        if answer.status == 416:
            self._beyond_the_end(answer, stretch)
            return
        await require_success(
            answer, asked=self._url, where=wanted.where, secrets=self._web.secret_words, good=frozenset({200, 206})
        )
        self._require_plain(answer)
        body_end, size = self._framing(answer, stretch.position, end)
        async with aclosing(_paced(answer, self._web.settings)) as chunks:
            head = b""
            if stretch.position == 0:
                head = await _at_least(chunks, HEAD_BYTES)
                await self._require_data(answer, head, chunks)
            self._assembly.settle(size=size, validator=validator_of(answer.headers))
            self._pages = 0
            self._assembly.write(stretch, _up_to(body_end, stretch, head))
            async for chunk in chunks:
                self._assembly.write(stretch, _up_to(body_end, stretch, chunk))
        if body_end is not None and stretch.position < body_end:
            raise FaultError("the connection was cut")
        if body_end is None:
            self._end_of_unknown_size(answer, stretch)

    def _framing(self, answer: Answer, start: int, end: int | None) -> tuple[int | None, int | None]:
        """Where the answer's body ends in the file, and the size of the whole; None where the answer does not say."""
        ranged = end is not None or start > 0
        if answer.status == 200:
            if start > 0 or self._part.done.total:
                # Let another size or ETag speak first: then it is a change, not a server without ranges.
                self._assembly.settle(size=content_length(answer.headers), validator=validator_of(answer.headers))
                raise NoRangesError
            size = content_length(answer.headers)
            return size, size
        found = content_range(answer.headers)
        length = content_length(answer.headers)
        if (
            not ranged
            or found is None
            or found.end is None
            or found.start != start
            or not start < found.end <= (end or found.end)
            or length not in {None, found.end - start}
            or found.end > (found.size or found.end)
        ):
            raise WrongRangeError("the server sent other bytes than those that were asked for")
        if found.size is None and self._part.content is None:
            raise NoRangesError  # pieces of a file whose end nobody knows
        return found.end, found.size

    def _beyond_the_end(self, answer: Answer, stretch: Stretch) -> None:
        found = content_range(answer.headers)
        size = found.size if found else None
        if self._part.content is None:
            if size != 0:
                raise NoRangesError
            self._assembly.settle(size=0, validator=validator_of(answer.headers))
        elif size is None or size == self._part.size:
            raise WrongRangeError("the server knows no such range")
        elif size == self._part.done.prefix == stretch.position:
            raise self._assembly.wrong_size(expected=self._part.size or 0, found=size)
        else:
            self._assembly.settle(size=size, validator=validator_of(answer.headers))

    def _require_plain(self, answer: Answer) -> None:
        """Raise AcquisitionError[download.encoded] for bytes that were packed for the way although nobody asked."""
        encoding = answer.headers.get("Content-Encoding", "identity").lower()
        # Files that are packed themselves are often labelled so by mistake.
        if encoding == "identity" or self._wanted.name.lower().endswith((".gz", ".tgz", ".bz2", ".xz", ".zst")):
            return
        raise AcquisitionError(
            "download.encoded",
            where=self._wanted.where,
            problem=f"the host packs {self._wanted.name} for the transfer, although it was asked not to",
            details={"address": self._wanted.url, "expected": "identity", "found": encoding},
            action="Ask the host for another address of the file, or fetch it by hand into the inbox.",
        )

    async def _require_data(self, answer: Answer, head: bytes, rest: AsyncIterator[bytes]) -> None:
        """Raise when a page comes in place of the file; FaultError when there is a way through it."""
        wanted = self._wanted
        content_type = answer.headers.get("Content-Type", "")
        expected = Expected(name=wanted.name, archive=wanted.archive, size=wanted.size)
        kind = page_kind(head, content_type, expected)
        if kind is None:
            return
        page = head + await _at_least(rest, PAGE_BYTES - len(head))
        if kind == "html" and self._pages < MOST_PAGES:
            behind = wanted.through_page(PageInstead(url=answer.url, html=page.decode("utf8", errors="replace")))
            if behind is not None:
                self._pages += 1
                self._direct = Direct(url=behind, trusted=True, proven=False)
                raise FaultError("the host puts a page before the file", at_once=True)
        raise page_error(
            kind,
            page,
            url=self._url,
            status=answer.status,
            content_type=content_type,
            expected=expected,
            secrets=self._web.secret_words,
            where=wanted.where,
        )

    def _end_of_unknown_size(self, answer: Answer, stretch: Stretch) -> None:
        """Chunks end with a mark; a body that ends with the connection may as well have been cut."""
        wanted = self._wanted
        marked = "chunked" in answer.headers.get("Transfer-Encoding", "").lower()
        if not marked and wanted.size is not None and stretch.position < wanted.size:
            raise FaultError("the connection was cut")
        self._assembly.end_here()


async def _paced(answer: Answer, settings: TransferSettings) -> AsyncGenerator[bytes, None]:
    """The body as it arrives. Raises FaultError when it only trickles."""
    began, count = time.monotonic(), 0
    async for chunk in answer.chunks():
        yield chunk
        count += len(chunk)
        now = time.monotonic()
        if now - began >= settings.slow_window_s:
            if count < settings.slowest_bytes_per_s * (now - began):
                raise FaultError(f"only {count} bytes came within {now - began:.0f} s")
            began, count = now, 0


def _up_to(end: int | None, stretch: Stretch, data: bytes) -> bytes:
    """What of the data lies before `end`: a server that sends too much overwrites nothing."""
    return data if end is None else data[: end - stretch.position]


async def _at_least(chunks: AsyncIterator[bytes], count: int) -> bytes:
    """Chunks until `count` bytes are there, or the end."""
    data = bytearray()
    while len(data) < count:
        chunk = await anext(chunks, None)
        if chunk is None:
            break
        data += chunk
    return bytes(data)
