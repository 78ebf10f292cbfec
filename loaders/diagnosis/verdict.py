"""Measurements -> which step limits, and what to change with which number: a pure function."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from medshard.loaders.diagnosis.changes import Change, changes_for, with_workers
from medshard.loaders.diagnosis.measurements import STEPS, Measurements, StepName
from medshard.loaders.diagnosis.model import Rates, rates_of, trainer_seconds, worker_seconds

Limit = Literal[
    "shared memory",
    "consumer",
    "workers",
    "storage",
    "over-read",
    "decode",
    "foreground",
    "assembly",
    "transform",
    "collate",
    "transfer",
    "prepare",
    "copy",
]
Sureness = Literal["sure", "likely", "unsure"]

# A defect is named as the limit, where more workers would help as well, from this share of a worker's time.
DEFECT_SHARE = 0.5
# Chunks that hold more than this many times what windows use are the reason why decoding or reading takes long.
LARGE_OVER_READ = 4.0
# Of a reading: from here on it is for the number of requests, not of bytes, that it takes long.
WAITING_SHARE = 0.5
# Of what was observed, how far the model may be off; and how far a limit has to lie below the next one.
AGREES_WITHIN = 0.35
CLEAR_MARGIN = 1.3
BUSY_SHARE = 0.5
# Without workers, loading that takes a smaller share than this does not keep the consumer waiting.
SMALL_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What limits, why, and what helps.

    batches_per_s: in the long run, by the model. shares: step -> share of the seconds that a batch takes before the
    trainer has it. sureness with its reasons in words. changes: the most useful first.
    """

    limit: Limit
    reason: str
    batches_per_s: float
    shares: Mapping[StepName, float]
    sureness: Sureness
    why: tuple[str, ...]
    changes: tuple[Change, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def verdict_of(measured: Measurements) -> Verdict:
    """Which step limits this pipeline in the long run, that is after the first epoch where a cache holds all shards."""
    rates = rates_of(measured)
    limit, reason = _limit_of(measured, rates)
    sureness, why = _sureness(measured, rates, limit)
    return Verdict(
        limit=limit,
        reason=reason,
        batches_per_s=rates.result if math.isfinite(rates.result) else 0.0,
        shares=shares_of(measured),
        sureness=sureness,
        why=why,
        changes=changes_for(measured, limit),
    )


def shares_of(measured: Measurements) -> dict[StepName, float]:
    whole = worker_seconds(measured)[0]
    return {name: measured.step(name).seconds.median / whole if whole else 0.0 for name in STEPS}


def needed_shared_bytes(measured: Measurements) -> int:
    return measured.batches_in_flight * measured.batch_bytes


def _limit_of(measured: Measurements, rates: Rates) -> tuple[Limit, str]:
    if measured.shared_free is not None and needed_shared_bytes(measured) > measured.shared_free:
        return "shared memory", (
            f"{measured.batches_in_flight} batches of {_size(measured.batch_bytes)} need "
            f"{_size(needed_shared_bytes(measured))} of /dev/shm, {_size(measured.shared_free)} are left: "
            "workers will die with a bus error"
        )
    if measured.workers == 0:
        return _without_workers(measured)
    if rates.binding == "trainer":
        return _in_trainer(measured)
    if rates.binding == "storage":
        return _in_storage(measured), (
            f"all {measured.workers} workers together read {1 / measured.storage.together_s:.1f} batches/s, however "
            "many they are"
        )
    step = _largest_step(measured, computing=rates.binding == "cores")
    defect = _defect_of(measured, step)
    if defect is None and _more_workers_suffice(measured):
        target = _wanted_rate(measured)
        return "workers", (
            f"with workers={measured.workers} there are {rates.result:.1f} batches/s, the trainer takes {target:.1f}, "
            f"and cores={measured.cores} are enough for more workers"
        )
    return _named(measured, step)


def _without_workers(measured: Measurements) -> tuple[Limit, str]:
    loading, using = worker_seconds(measured)[0], trainer_seconds(measured)[0]
    if using and loading <= SMALL_SHARE * (loading + using):
        return _in_trainer(measured)
    step = _largest_step(measured, computing=False)
    if _defect_of(measured, step) is None and _more_workers_suffice(measured):
        return "workers", f"no workers: the consumer waits {1e3 * loading:.1f} ms for every batch"
    return _named(measured, step)


def _in_trainer(measured: Measurements) -> tuple[Limit, str]:
    parts: dict[Limit, float] = {
        "consumer": measured.consumer.seconds.median if measured.consumer else 0.0,
        "transfer": measured.receive.seconds.median if measured.workers else 0.0,
        "prepare": measured.prepare.seconds.median,
        "copy": measured.copy.seconds.median,
    }
    largest = max(parts, key=lambda name: parts[name])
    whole = sum(parts.values())
    text = f"the training process spends {1e3 * whole:.1f} ms on a batch, {parts[largest] / whole:.0%} on "
    words = {
        "consumer": "using it: loading is fast enough",
        "transfer": "taking it from a worker",
        "prepare": "what is done to it before it is used",
        "copy": "its way to the device",
    }
    return largest, text + words[largest]


def _in_storage(measured: Measurements) -> Limit:
    return "over-read" if _reads_too_much(measured) else "storage"


def _reads_too_much(measured: Measurements) -> bool:
    """Whether it is for their many bytes that reads take long, and these are not used."""
    return measured.decoding.over_read >= LARGE_OVER_READ and measured.storage.waiting_share < WAITING_SHARE


def _largest_step(measured: Measurements, *, computing: bool) -> StepName:
    def seconds(name: StepName) -> float:
        step = measured.step(name)
        return step.cpu_seconds if computing else step.seconds.median

    return max(STEPS, key=seconds)


def _named(measured: Measurements, step: StepName) -> tuple[Limit, str]:
    share = shares_of(measured)[step]
    took = f"takes {share:.0%} of the {1e3 * worker_seconds(measured)[0]:.1f} ms that a worker needs for a batch"
    decodes_too_much = measured.decoding.over_read >= LARGE_OVER_READ and not _slow_codec(measured)
    if (step == "decode" and decodes_too_much) or (step == "storage" and _reads_too_much(measured)):
        return "over-read", (
            f"{step} {took}, and windows use 1/{measured.decoding.over_read:.1f} of the voxels in the chunks they touch"
        )
    if step == "decode":
        return "decode", f"decode {took}{_why_decode(measured)}"
    if step == "send":
        return "transfer", f"handing batches of {_size(measured.batch_bytes)} to the trainer {took}"
    return step, f"{step} {took}"


def _why_decode(measured: Measurements) -> str:
    if not measured.decoding.kernel:
        return "; the compiled reader is not there"
    if _slow_codec(measured):
        return f"; the compiled reader does not read {', '.join(measured.decoding.codecs)}"
    return ""


def _slow_codec(measured: Measurements) -> bool:
    return not measured.decoding.kernel or any(codec != "lz4" for codec in measured.decoding.codecs)


def _defect_of(measured: Measurements, step: StepName) -> str | None:
    """What is wrong with a step that takes most of the time, so that it is to be mended before workers are added."""
    if shares_of(measured)[step] < DEFECT_SHARE:
        return None
    if step == "storage":
        return "waits"
    if step == "decode" and (_slow_codec(measured) or measured.decoding.over_read >= LARGE_OVER_READ):
        return "slow"
    return None


def _wanted_rate(measured: Measurements) -> float:
    """What the trainer takes; infinite where nothing is known of it."""
    if measured.consumer is None:
        return math.inf
    return rates_of(replace(measured, workers=max(1, measured.workers))).trainer


def _more_workers_suffice(measured: Measurements) -> bool:
    """Whether some number of workers would keep the consumer busy, or nearly, on these cores and this storage."""
    wanted = _wanted_rate(measured)
    if math.isinf(wanted):
        return False
    rates = rates_of(with_workers(measured, max(1, measured.workers)))
    return min(rates.cores, rates.storage) >= 0.8 * wanted


def _sureness(measured: Measurements, rates: Rates, limit: Limit) -> tuple[Sureness, tuple[str, ...]]:
    if limit == "shared memory":
        return "sure", ("this is a sum, not a timing",)
    good: list[str] = []
    bad: list[str] = []
    if measured.observed is not None:
        expected = rates_of(measured, warm=True).result
        off = measured.observed / expected - 1 if math.isfinite(expected) and expected else 0.0
        text = f"the loader as it is gave {measured.observed:.1f} batches/s, the model says {expected:.1f} (all warm)"
        (good if abs(off) <= AGREES_WITHIN else bad).append(text)
    ordered = sorted((rates.trainer, rates.storage, rates.workers, rates.cores))
    if measured.workers and math.isfinite(ordered[1]):
        margin = ordered[1] / ordered[0]
        text = f"the next limit lies {margin:.1f} times higher"
        (good if margin >= CLEAR_MARGIN else bad).append(text)
    if measured.load > BUSY_SHARE * measured.cores:
        bad.append(f"other processes wanted {measured.load:.1f} of {measured.cores} cores: measure when they are done")
    if not measured.storage.cold_is_cold and not measured.storage.settles_warm:
        bad.append("reads that should come from the disk were as fast as from memory: the disk was not measured")
    sureness: Sureness = "sure" if not bad else "likely" if good else "unsure"
    return sureness, (*good, *bad)


def _size(nbytes: float) -> str:
    return f"{nbytes / 1e6:,.1f} MB"
