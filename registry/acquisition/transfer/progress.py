"""Who is told how far a download is."""

from __future__ import annotations

import sys
from typing import Any, Protocol

from tqdm import tqdm


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


class Bars:
    """A bar in total and one for each file that is under way, on standard error when that is a terminal."""

    def __init__(self, title: str, *, shown: bool | None = None) -> None:
        self._title = title
        self._hidden = not (sys.stderr.isatty() if shown is None else shown)
        self._total: tqdm[Any] | None = None

    def begin(self, *, files: int, size: int, done: int) -> None:
        title = f"{self._title}, {files} file{'s' if files != 1 else ''}"
        self._total = _bar(title, size=size, done=done, hidden=self._hidden, stays=True)

    def file(self, name: str, *, size: int | None, done: int) -> FileProgress:
        return _FileBar(_bar(f"  {name[-40:]}", size=size, done=done, hidden=self._hidden, stays=False), self._total)

    def end(self) -> None:
        if self._total is not None:
            self._total.close()


class _FileBar:
    def __init__(self, bar: tqdm[Any], total: tqdm[Any] | None) -> None:
        self._bar = bar
        self._total = total

    def add(self, count: int) -> None:
        self._bar.update(count)
        if self._total is not None:
            self._total.update(count)

    def sized(self, size: int) -> None:
        """The host has said how long the file is, which the total did not know."""
        if self._total is not None and self._bar.total is None:
            self._total.total = (self._total.total or 0) + size
        self._bar.total = size

    def restart(self) -> None:
        if self._total is not None:
            self._total.update(-self._bar.n)
        self._bar.reset(self._bar.total)

    def close(self) -> None:
        self._bar.close()


def _bar(title: str, *, size: int | None, done: int, hidden: bool, stays: bool) -> tqdm[Any]:
    bar: tqdm[Any] = tqdm(
        total=size,
        initial=done,
        desc=title,
        disable=hidden,
        leave=stays,
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
    )
    return bar
