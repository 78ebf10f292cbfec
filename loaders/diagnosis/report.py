"""A diagnosis in words: what each step takes, what limits, how sure that is, and what to change."""

from __future__ import annotations

import math
from collections.abc import Iterator

from medshard.loaders.diagnosis.measurements import STEPS, Figure, Measurements, Step
from medshard.loaders.diagnosis.model import rates_of
from medshard.loaders.diagnosis.verdict import Verdict

_WORDS = {
    "storage": "bytes out of the store",
    "foreground": "draw a labelled voxel",
    "decode": "decompress, cast, scale",
    "assembly": "draw, pad, number, to tensors",
    "transform": "the transform of the items",
    "collate": "items into a batch",
    "send": "through shared memory, worker",
}


def report(measured: Measurements, verdict: Verdict) -> str:
    """Lines for a terminal."""
    return "\n".join([*_pipeline(measured), "", *_steps(measured), "", *_rates(measured), "", *_verdict(verdict)])


def _pipeline(measured: Measurements) -> Iterator[str]:
    decoding, storage = measured.decoding, measured.storage
    yield (
        f"batches of {measured.batch}, {measured.batch_bytes / 1e6:,.1f} MB; workers {measured.workers}, "
        f"{measured.prefetch} batches ahead each; cores {measured.cores}, load {measured.load:.1f} before"
    )
    place = "behind a URL" if storage.remote else "local"
    kind = "a cache of" if storage.remote else "memory for files of"
    room = "no cache" if storage.cache_bytes is None else f"{kind} {storage.cache_bytes / 1e6:,.0f} MB"
    after = "warm after the first epoch" if storage.settles_warm else "cold in every epoch"
    yield f"shards {place}, {storage.dataset_bytes / 1e6:,.0f} MB, {room}: {after}"
    kernel = "compiled" if decoding.kernel else "NOT compiled"
    yield (
        f"reader {kernel}; codecs {', '.join(decoding.codecs) or 'none met'}; windows use 1/{decoding.over_read:.1f} "
        "of the voxels in the chunks they touch"
    )


def _steps(measured: Measurements) -> Iterator[str]:
    title = "a batch, in a worker" if measured.workers else "a batch"
    yield f"{title:<46} {'ms':>8} {'quartiles':>17}  {'computing':>9}"
    for name in STEPS:
        if name == "send" and measured.workers == 0:
            continue
        if name == "storage":
            storage = measured.storage
            yield _step("storage, cold", "not in memory" if not storage.remote else "fetched", storage.cold)
            yield _step("storage, warm", "in memory" if not storage.remote else "cached", storage.warm)
        else:
            yield _step(name, _WORDS[name], measured.step(name))
    yield "a batch, in the training process"
    if measured.workers:
        yield _step("receive", "through shared memory", measured.receive)
    yield _step("prepare", "what is done to a batch", measured.prepare)
    yield _step("copy", "to the device", measured.copy)
    consumer = measured.consumer
    if consumer is None:
        yield "  consumer: unknown (--consumer-ms)"
    else:
        step = Step(seconds=consumer.seconds, cpu_seconds=consumer.cpu_seconds)
        yield _step("consumer", "as stated" if consumer.stated else "measured", step)


def _step(name: str, words: str, step: Step) -> str:
    figure = step.seconds
    computing = f"{step.cpu_seconds / figure.median:9.0%}" if figure.median else f"{'':>9}"
    return f"  {name:<14} {words:<29} {1e3 * figure.median:8.2f} {_quartiles(figure):>17}  {computing}"


def _quartiles(figure: Figure) -> str:
    return "" if figure.count < 2 else f"{1e3 * figure.low:.2f} to {1e3 * figure.high:.2f}"


def _rates(measured: Measurements) -> Iterator[str]:
    rates = rates_of(measured)
    words = {
        "workers": f"workers ({measured.workers})",
        "cores": f"cores ({measured.cores})",
        "storage": "storage, all at once",
        "trainer": "training process",
    }
    found = [f"{words[name]} {getattr(rates, name):,.1f}" for name in words if math.isfinite(getattr(rates, name))]
    yield f"most batches/s: {'; '.join(found)}"
    yield f"first batch after {1e3 * measured.first_batch_s:,.0f} ms"


def _verdict(verdict: Verdict) -> Iterator[str]:
    yield f"limit: {verdict.limit} ({verdict.sureness})"
    yield f"  {verdict.reason}"
    for each in verdict.why:
        yield f"  - {each}"
    yield "change:"
    for change in verdict.changes:
        gain = "" if change.gain is None else f" (x{change.gain:.1f})"
        yield f"  - {change.text}{gain}"
    if not verdict.changes:
        yield "  - nothing that the model knows of"
