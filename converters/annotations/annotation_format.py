"""What a module for annotation files with names of their own provides: segments or outlines instead of bare values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from medshard.converters.annotations.segments import OutlineSet, SegmentedImage
from medshard.converters.formats.format import Files, Request


@dataclass(frozen=True, kw_only=True)
class AnnotationFormat:
    """One kind of annotation file, as plain functions.

    sniff: whether the files are of this kind, by their content; it is asked before the image formats are.
    read: raises CaseError, or what the library that reads the format raises on a bad file.
    decoders: library -> version, of everything that has a say in the result.
    """

    name: str
    suffixes: tuple[str, ...]
    sniff: Callable[[Files], bool]
    read: Callable[[Files, Request], SegmentedImage | OutlineSet]
    decoders: Callable[[], dict[str, str]]
