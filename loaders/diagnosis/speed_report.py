"""A benchmark of an entry in words, with how it was measured."""

from __future__ import annotations

from collections.abc import Sequence

from medshard.loaders.diagnosis.measurements import Figure
from medshard.loaders.diagnosis.speed import FIRST_READINGS, REPETITIONS, Speed


def speed_report(speed: Speed) -> str:
    """Lines for a terminal, with how it was measured."""
    sizes = speed.sizes
    kernel = "compiled" if speed.kernel else "NOT compiled"
    of_source = f", {_share(sizes.stored, sizes.source)} of the source files" if sizes.source else ""
    source = f", source {sizes.source:,}" if sizes.source else ""
    stored = f"{sizes.stored:,} ({_share(sizes.stored, sizes.decoded)} of decoded{of_source})"
    cold, warm = _figure(speed.first_cold_ms), _figure(speed.first_warm_ms)
    first = f"first window of a new process: {cold} ms cold, {warm} ms warm"
    lines = [
        f"{speed.entry} @ {speed.plan}: {sizes.samples} samples; reader {kernel}",
        f"bytes: stored {stored}, index {sizes.index:,}, decoded {sizes.decoded:,}{source}",
        first,
        "",
        f"{'view':<14} {'items/s':>28} {'ms of a core':>24} {'MB/s decoded':>13} {'stored':>8} {'over-read':>10}",
    ]
    for each in speed.views:
        lines.append(
            f"{each.view:<14} {_figure(each.items_per_s):>28} {_figure(each.cpu_ms):>24} {each.decoded_mb_s:>13,.0f} "
            f"{each.stored_mb_s:>8,.0f} {each.over_read:>9.1f}x"
        )
        if each.with_workers:
            lines.append(f"{'':<14} {_figure(each.with_workers):>28} with {speed.workers} workers, batches of one")
    return "\n".join([*lines, "", *_method()])


def _method() -> Sequence[str]:
    return (
        f"Median (quartiles) of {REPETITIONS} repetitions, views in turns; one process, one thread, no transform;",
        "a third of the items placed on labels; image as float32, label as int64. All bytes in memory: read before.",
        f"First window: {FIRST_READINGS} new processes each, imports not counted; cold: the system was asked to forget",
        "the files before.",
    )


def _figure(figure: Figure) -> str:
    return f"{figure.median:,.1f} ({figure.low:,.1f} to {figure.high:,.1f})"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2f}" if whole else "?"
