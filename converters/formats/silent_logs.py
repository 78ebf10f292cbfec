"""Libraries log what they stumble on in a file, values and all, which nobody should read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager


def silencer_of(library: str) -> Callable[[], AbstractContextManager[None]]:
    """What silences the log of a library for the length of a block; blocks may overlap."""
    silent: list[None] = []
    logging.getLogger(library).addFilter(lambda _record: not silent)

    @contextmanager
    def silenced() -> Iterator[None]:
        silent.append(None)
        try:
            yield
        finally:
            silent.pop()

    return silenced
