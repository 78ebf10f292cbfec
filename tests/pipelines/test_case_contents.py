"""How the signals of a case are called."""

from __future__ import annotations

import numpy as np

from medshard.converters.signal import Signal
from medshard.pipelines.stages.case_contents import named_signals


def signal(rate_hz: float | None, array: str = "") -> Signal:
    return Signal(
        array=np.zeros((1, 4), np.int16),
        rate_hz=rate_hz,
        channels=("a",),
        units=("",),
        slope=(1.0,),
        intercept=(0.0,),
        attributes={"array": array},
    )


def test_one_signal_keeps_the_name() -> None:
    assert list(named_signals("eeg", [signal(100.0)])) == ["eeg"]


def test_signals_of_several_rates_are_called_by_them() -> None:
    assert list(named_signals("psg", [signal(100.0), signal(0.5)])) == ["psg-100hz", "psg-0.5hz"]


def test_none_is_lost_where_rates_are_alike_or_not_known() -> None:
    many = [signal(200.0, str(number)) for number in range(12)]
    named = named_signals("eeg", many)
    assert list(named)[:2] == ["eeg-01", "eeg-02"]
    assert [one.attributes["array"] for one in named.values()] == [str(number) for number in range(12)]
    assert list(named_signals("eeg", [signal(None), signal(None)])) == ["eeg-1", "eeg-2"]
    assert list(named_signals("eeg", [signal(100.0), signal(None)])) == ["eeg-1", "eeg-2"]
