"""How fast a data set is read, which step of loading limits a training, and what to change."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medshard.loaders.diagnosis.diagnosing import diagnose
    from medshard.loaders.diagnosis.verdict import verdict_of

__all__ = ["diagnose", "verdict_of"]

_ROOMS = {"diagnose": "diagnosing", "verdict_of": "verdict"}


def __getattr__(name: str) -> Any:
    # On demand: the verdict needs no torch.
    if name in _ROOMS:
        return getattr(import_module(f"medshard.loaders.diagnosis.{_ROOMS[name]}"), name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
