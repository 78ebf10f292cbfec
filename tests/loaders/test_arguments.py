"""Slips in the arguments of a data set are named before anything is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from medshard.errors import CatalogError
from medshard.loaders import ShardDataset


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("entries", []),
        ("label_type", "uint8"),
        ("normalise", "devic"),
        ("mix_by", "modalty"),
        ("classes", "lesion"),
        ("weights", [1]),
        ("cases", ["brain1"]),
    ],
)
def test_a_slip_is_named_with_what_was_expected(tmp_path: Path, argument: str, value: Any) -> None:
    given: dict[str, Any] = {"entries": ["made"], argument: value}
    with pytest.raises(CatalogError) as raised:
        ShardDataset(tmp_path, **given)
    assert raised.value.code == "dataset.argument"
    assert argument in raised.value.where
    assert "expected" in str(raised.value)
