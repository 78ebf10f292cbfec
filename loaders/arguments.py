"""What cannot be meant by the arguments of a data set, said before anything is opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from medshard.errors import CatalogError
from medshard.loaders.items import LabelType

MIXED_BY = ("entry", "modality", "group")


def check_arguments(given: Mapping[str, Any]) -> None:
    """Raise CatalogError[dataset.argument] that names the first argument of a wrong shape, and what is expected."""
    expected = {
        "entries": ("a list of one or more ids", lambda value: len(value) > 0),
        "label_type": (" | ".join(get_args(LabelType)), lambda value: value in get_args(LabelType)),
        "normalise": ('True, False or "device"', lambda value: value in (True, False, "device")),
        "mix_by": (" | ".join(MIXED_BY), lambda value: value in MIXED_BY),
        "classes": ("a list of concepts", lambda value: value is None or not isinstance(value, str)),
        "weights": ("entry -> number", lambda value: value is None or isinstance(value, Mapping)),
        "cases": ("pairs (entry, case)", lambda value: value is None or all(map(_is_pair, value))),
    }
    for name, (shape, holds) in expected.items():
        if not holds(given[name]):
            raise CatalogError(
                "dataset.argument",
                where=f"ShardDataset {name}",
                problem=f"{given[name]!r} is no value for {name}",
                details={"expected": shape},
            )


def _is_pair(case: Any) -> bool:
    return isinstance(case, tuple | list) and len(case) == 2
