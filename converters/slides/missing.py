"""The error about libraries that read slides and are not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from medshard.errors import MissingExtraError


@contextmanager
def slides_extra(where: str) -> Iterator[None]:
    """Around the import of a slide library. Raises MissingExtraError[slides.not_installed]."""
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(
            "slides.not_installed",
            where=where,
            problem="reading slides needs tifffile with imagecodecs, openslide-python with openslide-bin, and wsidicom",
            action="pip install medshard[slides]",
        ) from error
