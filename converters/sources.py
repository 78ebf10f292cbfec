"""Sources that are kept as they are: a slide or a video is described and indexed, and decoded when it is sharded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One file of a kept source: its path in the raw tree, SHA-256 and size in bytes."""

    path: str
    sha256: str
    size: int
