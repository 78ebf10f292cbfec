"""The tables, texts and signals of a case against what its tree wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medshard.converters.volume import Volume

Columns = Mapping[str, Mapping[str, Sequence[Any]]]
Recordings = Mapping[str, tuple[float | None, NDArray[np.generic]]]
DIGITISED = 2e-3
"""How far a number may lie from what was drawn, as a share of the largest one: recordings are stored as integers."""


def check_columns(volume: Volume, wanted: Columns, where: str) -> None:
    """Tables and texts: of each column that is named, all values, row by row."""
    for name, columns in wanted.items():
        table = (volume.tables.get(name) or volume.texts[name]).read()
        for column, values in columns.items():
            assert table[column].to_pylist() == list(values), f"{where} {name} {column}"


def check_signals(volume: Volume, wanted: Recordings, where: str) -> None:
    """Signals: their rate in Hz, and their values in their unit, (c, t) or (trial, c, t)."""
    for name, (rate_hz, values) in wanted.items():
        signal = volume.signals[name]
        assert signal.rate_hz == rate_hz, f"{where} {name}"
        scale = float(np.abs(np.asarray(values, float)).max())
        np.testing.assert_allclose(signal.physical(), values, atol=DIGITISED * scale, err_msg=f"{where} {name}")
