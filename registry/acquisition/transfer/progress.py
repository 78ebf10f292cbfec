"""Who is told how far a download is: bars on a terminal, and plain lines where standard error goes to a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from tqdm import tqdm

LINE_EVERY_S = 15.0


class FileProgress(Protocol):
    """One file that is under way."""

    def add(self, count: int) -> None: ...
    def sized(self, size: int) -> None: ...
    def restart(self) -> None: ...
    def close(self) -> None: ...


class Progress(Protocol):
    """All files of one call. size: bytes, as far as known. done: bytes that need not be fetched any more."""

    def begin(self, *, files: int, size: int, done: int) -> None: ...
    def file(self, name: str, *, size: int | None, done: int) -> FileProgress: ...
    def end(self) -> None: ...


class NoProgress:
    """Nobody."""

    def begin(self, *, files: int, size: int, done: int) -> None: ...

    def file(self, name: str, *, size: int | None, done: int) -> FileProgress:  # noqa: ARG002 (the protocol)
        return _Silent()

    def end(self) -> None: ...


class _Silent:
    def add(self, count: int) -> None: ...
    def sized(self, size: int) -> None: ...
    def restart(self) -> None: ...
    def close(self) -> None: ...


class _Total(Protocol):
    """All files together. size: bytes; None as long as nothing is known of what is still to come."""

    def move(self, count: int) -> None: ...
    def sized(self, size: int) -> None: ...
    def close(self) -> None: ...


class Bars:
    """On a terminal a bar in total, and one for each of several files; elsewhere a line now and then, and at the end.

    shown: whether bars are drawn; as standard error is when not given. clock: seconds.
    """

    def __init__(self, title: str, *, shown: bool | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._title = title
        self._drawn = sys.stderr.isatty() if shown is None else shown
        self._clock = clock
        self._total: _Total | None = None
        self._size = 0
        self._several = False

    def begin(self, *, files: int, size: int, done: int) -> None:
        self._size, self._several = size, files > 1
        known = size if size > done else None
        if self._drawn:
            title = f"{self._title}, {files} file{'s' if files != 1 else ''}"
            self._total = _DrawnTotal(_bar(title, size=known, done=done, stays=True))
        else:
            self._total = _WrittenTotal(self._title, known, done, self._clock)

    def file(self, name: str, *, size: int | None, done: int) -> FileProgress:
        bar = _bar(f"  {name[-40:]}", size=size, done=done, stays=False) if self._drawn and self._several else None
        return _File(self, bar, size=size, done=done)

    def end(self) -> None:
        if self._total is not None:
            self._total.close()

    def move(self, count: int) -> None:
        """count: bytes that have come; negative for those that are worth nothing any more."""
        if self._total is not None:
            self._total.move(count)

    def grow(self, count: int) -> None:
        """count: bytes that the total did not know of."""
        self._size += count
        if self._total is not None:
            self._total.sized(self._size)


class _File:
    """counted: what the total knows of this file, which is what was there as long as nobody has said its size."""

    def __init__(self, bars: Bars, bar: tqdm[Any] | None, *, size: int | None, done: int) -> None:
        self._bars = bars
        self._bar = bar
        self._counted = done if size is None else size
        self._done = done

    def add(self, count: int) -> None:
        self._done += count
        self._bars.move(count)
        if self._bar is not None:
            self._bar.update(count)

    def sized(self, size: int) -> None:
        self._bars.grow(size - self._counted)
        self._counted = size
        if self._bar is not None:
            self._bar.total = size

    def restart(self) -> None:
        self._bars.move(-self._done)
        self._done = 0
        if self._bar is not None:
            self._bar.reset(self._bar.total)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class _DrawnTotal:
    def __init__(self, bar: tqdm[Any]) -> None:
        self._bar = bar

    def move(self, count: int) -> None:
        self._bar.update(count)

    def sized(self, size: int) -> None:
        self._bar.total = size

    def close(self) -> None:
        self._bar.close()


class _WrittenTotal:
    """Lines such as `kits23 raw: 27.3 MB of 300.1 MB, 4.2 MB/s`: the speed since the last, at the end of it all."""

    def __init__(self, title: str, size: int | None, done: int, clock: Callable[[], float]) -> None:
        self._title = title
        self._size = size
        self._done = done
        self._clock = clock
        self._began = self._told = clock()
        self._came = self._came_when_told = 0

    def move(self, count: int) -> None:
        self._done += count
        self._came += max(count, 0)
        now = self._clock()
        if now - self._told >= LINE_EVERY_S:
            self._tell(self._came - self._came_when_told, now - self._told)
            self._told, self._came_when_told = now, self._came

    def sized(self, size: int) -> None:
        self._size = size

    def close(self) -> None:
        self._tell(self._came, self._clock() - self._began)

    def _tell(self, count: int, seconds: float) -> None:
        of = f" of {_megabytes(self._size)}" if self._size is not None and self._size >= self._done else ""
        speed = _megabytes(count / max(seconds, 1e-3))
        sys.stderr.write(f"{self._title}: {_megabytes(self._done)}{of}, {speed}/s\n")
        sys.stderr.flush()


def _megabytes(count: float) -> str:
    return f"{count / 1e6:,.1f} MB"


def _bar(title: str, *, size: int | None, done: int, stays: bool) -> tqdm[Any]:
    bar: tqdm[Any] = tqdm(
        total=size,
        initial=done,
        desc=title,
        leave=stays,
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
    )
    return bar
