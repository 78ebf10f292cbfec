"""What an answer's status and headers say, and what becomes of those that bring no data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.transfer.addresses import origin_of, public_address
from medshard.registry.acquisition.transfer.client import Answer
from medshard.registry.acquisition.transfer.error_pages import redacted, title_of
from medshard.registry.acquisition.transfer.faults import FaultError
from medshard.registry.acquisition.transfer.retries import is_retried, retry_after_s

_CONTENT_RANGE = re.compile(r"bytes\s+(?:(\d+)-(\d+)|\*)/(\d+|\*)", re.IGNORECASE)
_BODY_BYTES = 64 << 10


@dataclass(frozen=True)
class ContentRange:
    """start, end: of the bytes that come, `end` excluded; None of an answer 416. size: of the whole file."""

    start: int | None
    end: int | None
    size: int | None


def content_range(headers: Mapping[str, str]) -> ContentRange | None:
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if found is None:
        return None
    start, last, size = found.groups()
    return ContentRange(
        None if start is None else int(start),
        None if last is None else int(last) + 1,
        None if size == "*" else int(size),
    )


def content_length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else None


def validator_of(headers: Mapping[str, str]) -> str | None:
    """The ETag, also a weak one, or else the date of the last change."""
    return headers.get("ETag") or headers.get("Last-Modified")


def is_strong(validator: str | None) -> bool:
    """Whether it can go into If-Range: a weak ETag cannot."""
    return validator is not None and not validator.startswith("W/")


async def require_success(
    answer: Answer, *, asked: str, where: str, secrets: Iterable[str], good: frozenset[int]
) -> None:
    """Raise FaultError for a status that may pass, AcquisitionError[host.refused, host.gone, host.answer] for others.

    asked: the address asked first, as it may be shown.
    """
    if answer.status in good:
        return
    if is_retried(answer.status):
        pause = retry_after_s(answer.headers.get("Retry-After"), datetime.now(UTC))
        raise FaultError(f"status {answer.status}", retry_after_s=pause)
    try:
        said = redacted(title_of(await answer.read(_BODY_BYTES)), secrets)
    except FaultError:
        said = ""
    raise _refusal(answer, asked, said, where)


def _refusal(answer: Answer, asked: str, said: str, where: str) -> AcquisitionError:
    status = answer.status
    details = {
        "address": public_address(asked),
        **({"asked instead": answer.instead} if answer.instead else {}),
        "status": status,
        **({"it says": said} if said else {}),
    }
    if status in {401, 403}:
        return AcquisitionError(
            "host.refused",
            where=where,
            problem=f"{origin_of(asked)} does not give this to you",
            details=details,
            action="Credentials are missing, wrong or expired, or the host's terms are not accepted yet: log in there "
            "with a browser, accept them, and see docs/acquisition-gates.md for where the credentials go.",
        )
    if status in {404, 410}:
        return AcquisitionError(
            "host.gone",
            where=where,
            problem=f"{origin_of(asked)} does not have this any more, or hides it",
            details=details,
            action="Look at the entry's page: the record may have moved or have become private.",
        )
    return AcquisitionError(
        "host.answer",
        where=where,
        problem=f"{origin_of(asked)} gives an answer that is not expected",
        details=details,
        action="Open the address in a browser; if it works there, report this.",
    )
