"""Numbers -> verdict, without any clock: pipelines are written down, and what limits them is known by arithmetic."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medshard.loaders.diagnosis.changes import fitting_chunk, over_read_of, with_workers
from medshard.loaders.diagnosis.measurements import (
    STEPS,
    Consumer,
    Decoding,
    Figure,
    Measurements,
    Step,
    Storage,
    figure_of,
)
from medshard.loaders.diagnosis.model import rates_of
from medshard.loaders.diagnosis.verdict import verdict_of

GB = 10**9


def step(ms: float, *, computing: float = 1.0) -> Step:
    return Step(seconds=figure_of([ms / 1e3]), cpu_seconds=computing * ms / 1e3)


def storage(cold_ms: float = 2.0, warm_ms: float = 0.1, **changes: Any) -> Storage:
    """Of 100 GB on a machine that has room for 10, unless said otherwise."""
    cold = step(cold_ms, computing=0.1)
    given_ = {"together_s": cold_ms / 1e3 / 4, "dataset_bytes": 100 * GB, "cache_bytes": 10 * GB, **changes}
    return Storage(cold=cold, warm=step(warm_ms), **given_)


def pipeline(
    *,
    workers: int = 2,
    cores: int = 16,
    consumer_ms: float | None = None,
    steps: dict[str, Step] | None = None,
    **more: Any,
) -> Measurements:
    """Each step takes 2 ms, receiving 0.2 ms."""
    given_: dict[str, Any] = {
        "batch": 2,
        "workers": workers,
        "prefetch": 2,
        "cores": cores,
        "steps": {**{name: step(2.0) for name in STEPS if name != "storage"}, **(steps or {})},
        "storage": storage(),
        "receive": step(0.2),
        "batch_bytes": 10**7,
        "decoding": Decoding(
            codecs=("lz4",), used_bytes=100, touched_bytes=170, patch=(96, 96, 96), inner_chunk=(16, 32, 32)
        ),
        **more,
    }
    if consumer_ms is not None:
        given_["consumer"] = Consumer(seconds=figure_of([consumer_ms / 1e3]), stated=True)
    return Measurements(**given_)


def advice(measured: Measurements) -> str:
    return "\n".join(change.text for change in verdict_of(measured).changes)


@pytest.mark.parametrize("name", [name for name in STEPS if name not in ("storage", "send")])
def test_a_step_that_takes_most_of_a_worker_is_the_limit(name: str) -> None:
    verdict = verdict_of(pipeline(steps={name: step(100.0)}))
    assert verdict.limit == name
    assert verdict.shares[name] > 0.85  # type: ignore[index]
    assert "%" in verdict.reason
    assert verdict.changes


def test_sending_is_called_transfer() -> None:
    assert verdict_of(pipeline(steps={"send": step(100.0)})).limit == "transfer"
    assert 'label_type="int8"' in advice(pipeline(steps={"send": step(100.0)}))


def test_without_workers_nothing_is_sent() -> None:
    verdict = verdict_of(pipeline(workers=0, steps={"send": step(100.0), "collate": step(20.0)}))
    assert verdict.limit == "collate"


def test_a_consumer_that_is_slower_than_loading_is_the_limit() -> None:
    # A batch in 14 ms from each of 2 workers: one every 7 ms, and the consumer takes 50.
    measured = pipeline(consumer_ms=50.0)
    assert verdict_of(measured).limit == "consumer"
    assert verdict_of(measured).batches_per_s == pytest.approx(1 / 0.0502)
    assert "7.2 times as fast" in advice(measured)
    assert "1 of the 2 workers would do" in advice(measured)


@pytest.mark.parametrize(("consumer_ms", "workers"), [(6.8, 2), (3.3, 4), (1.8, 7)])
def test_as_many_workers_are_advised_as_the_consumer_needs(consumer_ms: float, workers: int) -> None:
    # 14 ms a batch, and 0.2 ms for the trainer to receive it.
    measured = pipeline(workers=1, consumer_ms=consumer_ms)
    assert verdict_of(measured).limit == "workers"
    assert f"add workers: 1 -> {workers}" in advice(measured)


def test_a_trainer_that_loads_itself_is_told_to_use_workers() -> None:
    measured = pipeline(workers=0, consumer_ms=20.0)
    assert verdict_of(measured).limit == "workers"
    assert "add workers: 0 -> 1" in advice(measured)
    change = verdict_of(measured).changes[0]
    assert change.gain == pytest.approx((12.0 + 20.0) / 20.2)


def test_workers_are_not_advised_where_there_are_no_cores_for_them() -> None:
    measured = pipeline(workers=2, cores=2, consumer_ms=1.0, steps={"transform": step(40.0)})
    assert verdict_of(measured).limit == "transform"
    assert "add workers" not in advice(measured)


def test_workers_that_wait_need_no_cores() -> None:
    slow = storage(cold_ms=100.0, together_s=0.005, request_s=0.09)
    measured = pipeline(workers=2, cores=2, consumer_ms=20.0, storage=slow)
    assert verdict_of(measured).limit == "storage"
    assert "add workers: 2 -> 6" in advice(measured)


def test_what_stays_in_memory_is_judged_warm() -> None:
    cold = storage(cold_ms=500.0, dataset_bytes=100 * GB)
    warm = storage(cold_ms=500.0, dataset_bytes=5 * GB)
    assert verdict_of(pipeline(storage=cold)).limit == "storage"
    assert verdict_of(pipeline(storage=warm)).limit != "storage"


def test_storage_that_gives_no_more_to_more_readers_is_the_limit() -> None:
    shared = storage(cold_ms=20.0, together_s=0.02)
    measured = pipeline(workers=8, storage=shared)
    assert verdict_of(measured).limit == "storage"
    assert verdict_of(measured).batches_per_s == pytest.approx(50.0)
    assert "faster disk" in advice(measured)
    assert "workers beyond 2" in advice(measured)


def test_an_object_store_without_a_cache_is_told_of_it() -> None:
    measured = pipeline(storage=storage(cold_ms=200.0, remote=True, cache_bytes=None))
    assert "cache_bytes=110000000000" in advice(measured)
    measured = pipeline(storage=storage(cold_ms=200.0, remote=True, cache_bytes=GB))
    assert "large enough for all shards, 100.0 GB" in advice(measured)


@pytest.mark.parametrize(
    ("decoding", "limit", "words"),
    [
        (Decoding(kernel=False, codecs=("lz4",)), "decode", "C compiler"),
        (Decoding(codecs=("lz4", "zstd")), "decode", "compressed with zstd"),
        (Decoding(codecs=("lz4",)), "decode", "smaller patch"),
        (
            Decoding(codecs=("lz4",), used_bytes=10, touched_bytes=100, patch=(8, 8, 8), inner_chunk=(64, 64, 64)),
            "over-read",
            "inner_chunk: [16, 16, 16]",
        ),
    ],
)
def test_slow_decoding_is_explained(decoding: Decoding, limit: str, words: str) -> None:
    measured = pipeline(steps={"decode": step(100.0)}, decoding=decoding)
    assert verdict_of(measured).limit == limit
    assert words in advice(measured)


def test_chunks_are_not_blamed_for_requests_that_wait() -> None:
    large = Decoding(codecs=("lz4",), used_bytes=10, touched_bytes=100, patch=(8, 8, 8), inner_chunk=(64, 64, 64))
    waiting, streaming = (storage(cold_ms=100.0, waits=1, request_s=seconds) for seconds in (0.09, 0.001))
    assert verdict_of(pipeline(storage=waiting, decoding=large)).limit == "storage"
    assert verdict_of(pipeline(storage=streaming, decoding=large)).limit == "over-read"


def test_shared_memory_has_to_hold_all_batches_that_are_under_way() -> None:
    # 2 workers, 2 ahead, and the one in use: 5 batches of 10 MB.
    assert verdict_of(pipeline(shared_free=50_000_000)).limit != "shared memory"
    measured = pipeline(shared_free=49_999_999)
    assert verdict_of(measured).limit == "shared memory"
    assert verdict_of(measured).sureness == "sure"
    assert "prefetch_factor 2 -> 1" in advice(measured)
    assert "fewer workers: 2 -> 1" in advice(measured)


@pytest.mark.parametrize("name", ["receive", "prepare", "copy"])
def test_what_the_trainer_does_with_a_batch_can_limit(name: str) -> None:
    verdict = verdict_of(pipeline(consumer_ms=5.0, **{name: step(60.0)}))
    assert verdict.limit == {"receive": "transfer"}.get(name, name)


def test_a_verdict_says_when_it_is_not_sure() -> None:
    clear = pipeline(consumer_ms=50.0)
    expected = rates_of(clear, warm=True).result
    assert verdict_of(replace(clear, observed=expected)).sureness == "sure"
    assert verdict_of(replace(clear, observed=expected / 3)).sureness == "likely"
    close = pipeline(consumer_ms=6.8, observed=10.0)
    assert verdict_of(close).sureness == "unsure"
    busy = verdict_of(replace(clear, observed=expected, load=20.0))
    assert busy.sureness == "likely"
    assert any("20.0 of 16 cores" in text for text in busy.why)


positive = st.floats(min_value=1e-5, max_value=10.0)


@given(
    seconds=st.lists(positive, min_size=len(STEPS), max_size=len(STEPS)),
    shares=st.lists(st.floats(min_value=0.0, max_value=1.0), min_size=len(STEPS), max_size=len(STEPS)),
    workers=st.integers(min_value=0, max_value=64),
    cores=st.integers(min_value=1, max_value=128),
    consumer=st.none() | positive,
)
def test_every_pipeline_gets_a_verdict_that_keeps_its_promises(
    seconds: list[float], shares: list[float], workers: int, cores: int, consumer: float | None
) -> None:
    steps = {
        name: Step(seconds=figure_of([value]), cpu_seconds=value * share)
        for name, value, share in zip(STEPS, seconds, shares, strict=True)
    }
    cold = steps.pop("storage")
    measured = pipeline(
        workers=workers,
        cores=cores,
        consumer_ms=None if consumer is None else 1e3 * consumer,
        steps=steps,
        storage=Storage(cold=cold, warm=cold, together_s=cold.seconds.median / max(1, workers)),
    )
    verdict = verdict_of(measured)
    assert sum(verdict.shares.values()) == pytest.approx(1.0)
    assert verdict.batches_per_s > 0
    # Nothing that is advised makes it slower, and no worker ever does in the model.
    assert all(change.gain is None or change.gain > 1.0 for change in verdict.changes)
    more = with_workers(measured, max(1, workers) + 1)
    assert rates_of(more).result >= rates_of(with_workers(measured, max(1, workers))).result * (1 - 1e-9)


@given(
    patch=st.tuples(*(st.integers(min_value=1, max_value=200),) * 3),
    chunk=st.tuples(*(st.integers(min_value=1, max_value=200),) * 3),
)
def test_a_fitting_chunk_is_never_larger_and_wastes_no_more(
    patch: tuple[int, int, int], chunk: tuple[int, int, int]
) -> None:
    found = fitting_chunk(patch, chunk)
    assert all(after <= before for after, before in zip(found, chunk, strict=True))
    assert over_read_of(patch, found) <= over_read_of(patch, chunk)


def test_over_read_is_the_mean_over_all_places() -> None:
    # Counted: windows of 5 at each of 12 places touch (5 + 4 - 1) / 4 = 2 chunks of 4 on average.
    touched = [((start + 4) // 4 - start // 4 + 1) * 4 for start in range(12)]
    assert over_read_of((5, 1, 1), (4, 1, 1)) == pytest.approx(sum(touched) / 12 / 5)


def test_figures_are_quartiles() -> None:
    assert figure_of([4.0, 1.0, 3.0, 2.0, 5.0]) == Figure(median=3.0, low=2.0, high=4.0, count=5)
    assert figure_of([]).median == 0.0
