"""What to change, and what the model says that it brings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from medshard.loaders.diagnosis.measurements import NOTHING, STEPS, Measurements, StepName
from medshard.loaders.diagnosis.model import rates_of, trainer_seconds, worker_seconds

# Seconds that numcodecs takes for what the compiled reader does in one; measured between 3 and 6.
KERNEL_SPEEDUP = 3.0
# What chunks hold beyond windows when the two fit each other, and the smallest chunk worth its overhead, in voxels.
GOOD_OVER_READ = 2.0
LEAST_CHUNK_VOXELS = 4096
WORTH_A_WORD = 1.05
NO_LOSS = 0.98
_COMPUTING: tuple[StepName, ...] = ("foreground", "decode", "assembly", "send")


@dataclass(frozen=True, kw_only=True)
class Change:
    """text: what to do, with its number. gain: batches a second after it, as a multiple; None where that is unknown."""

    text: str
    gain: float | None = None


def changes_for(measured: Measurements, limit: str) -> tuple[Change, ...]:
    """What helps against a limit first, then whatever else the model expects a gain from."""
    if limit == "shared memory":
        return tuple(_shared_memory(measured))
    if limit == "consumer":
        return tuple(_fast_enough(measured))
    own = list(_OF_LIMIT.get(limit, _nothing)(measured))
    workers = list(_workers(measured))
    found = [*workers, *own] if limit == "workers" else [*own, *workers]
    return tuple(change for change in found if change.gain is None or change.gain >= WORTH_A_WORD)


def with_workers(measured: Measurements, workers: int) -> Measurements:
    """The pipeline with other workers; where there were none, sending is taken for as quick as collating."""
    steps = dict(measured.steps)
    if measured.workers == 0:
        steps["send"] = steps.get("collate", NOTHING)
    storage = measured.storage
    if measured.workers <= 1 < workers:
        # One reader does not show how fast several are together; with this, storage never speaks against workers.
        storage = replace(storage, together_s=0.0)
    return replace(measured, workers=workers, prefetch=measured.prefetch or 2, steps=steps, storage=storage)


def _workers(measured: Measurements) -> Iterator[Change]:
    wanted = _useful_workers(measured)
    if wanted > measured.workers:
        yield Change(
            text=f"add workers: {measured.workers} -> {wanted}", gain=_gain(measured, with_workers(measured, wanted))
        )
    elif measured.workers > wanted and _gain(measured, with_workers(measured, wanted)) >= NO_LOSS:
        yield Change(text=f"workers beyond {wanted} bring nothing here: {measured.workers} -> {wanted} saves memory")


def _useful_workers(measured: Measurements) -> int:
    """The smallest number of workers that the next limit (trainer, cores, storage) lets give something."""
    own = sum(_own_seconds(measured, name) for name in STEPS)
    rates = rates_of(with_workers(measured, max(1, measured.workers)))
    ceiling = min(rates.trainer, rates.cores, rates.storage)
    if math.isinf(ceiling) or own == 0:
        return max(measured.workers, measured.cores)
    # A little too many does not hurt, a little too few does.
    return max(1, math.ceil(ceiling * own - 0.05))


def _own_seconds(measured: Measurements, name: StepName) -> float:
    """Seconds of a step on a core of its own. What only computes waits for nothing but other processes."""
    step = measured.step(name)
    return step.cpu_seconds if name in _COMPUTING else step.seconds.median


def _fast_enough(measured: Measurements) -> Iterator[Change]:
    using = trainer_seconds(measured)[0]
    own, computing = worker_seconds(measured)
    if measured.workers == 0:
        yield Change(text="nothing: loading takes hardly any of the time", gain=None)
        return
    feeding = min(measured.workers / own, measured.cores / computing if computing else math.inf)
    yield Change(text=f"nothing in loading: it could feed a consumer that is {feeding * using:.1f} times as fast")
    enough = max(1, math.ceil(own / using - 0.05))
    if enough < measured.workers:
        yield Change(text=f"{enough} of the {measured.workers} workers would do")


def _storage(measured: Measurements) -> Iterator[Change]:
    storage = measured.storage
    warm = _gain(measured, replace(measured, storage=replace(storage, cold=storage.warm, together_s=0.0)))
    size = _gigabytes(storage.dataset_bytes)
    if storage.remote and storage.cache_bytes is None:
        yield Change(
            text="keep what was fetched on a local disk, "
            f"open_store(url, cache_bytes={storage.dataset_bytes * 11 // 10}): all shards are {size}",
        )
    elif storage.remote:
        yield Change(text=f"make the cache large enough for all shards, {size}", gain=warm)
    else:
        memory = "an unknown amount" if storage.cache_bytes is None else _gigabytes(storage.cache_bytes)
        yield Change(
            text=f"put the shards, {size}, on a faster disk or into memory ({memory} is free for files)", gain=warm
        )
    if storage.waiting_share > 0.5:
        yield Change(
            text=f"a batch waits for {storage.waits} requests of {1e3 * storage.request_s:.1f} ms, one after the "
            "other: more workers wait at the same time"
        )
    if storage.needed_bytes and storage.read_bytes > 1.2 * storage.needed_bytes:
        yield Change(text=f"{storage.read_bytes / storage.needed_bytes:.1f} times the needed bytes are read")
    yield from _chunks(measured)


def _decode(measured: Measurements) -> Iterator[Change]:
    decoding = measured.decoding
    if not decoding.kernel:
        yield Change(
            text="the compiled reader is missing: install a C compiler, then medshard again (pip install "
            "--no-binary medshard medshard)",
            gain=_gain(measured, _faster(measured, "decode", KERNEL_SPEEDUP)),
        )
    if slow := [codec for codec in decoding.codecs if codec != "lz4"]:
        yield Change(
            text=f"chunks are compressed with {', '.join(slow)}, which the compiled reader leaves to numcodecs: build "
            "the shards again, they will have LZ4"
        )
    yield from _chunks(measured)
    yield Change(text="fewer voxels an item: a smaller patch, or a smaller batch")


def _chunks(measured: Measurements) -> Iterator[Change]:
    decoding = measured.decoding
    if decoding.over_read < GOOD_OVER_READ:
        return
    chunk = fitting_chunk(decoding.patch, decoding.inner_chunk)
    text = f"windows of {_by(decoding.patch)} decode {decoding.over_read:.1f} times what they use of chunks of "
    if chunk == decoding.inner_chunk:
        yield Change(text=f"{text}{_by(decoding.inner_chunk)}: a larger patch wastes less")
        return
    after = over_read_of(decoding.patch, chunk) / over_read_of(decoding.patch, decoding.inner_chunk)
    waiting = measured.storage.waiting_share
    smaller = _faster(_faster(measured, "decode", 1 / after), "storage", 1 / (waiting + (1 - waiting) * after))
    yield Change(
        text=f"{text}{_by(decoding.inner_chunk)}: build with `inner_chunk: [{', '.join(map(str, chunk))}]` in the plan",
        gain=_gain(measured, smaller),
    )


def fitting_chunk(patch: tuple[int, int, int], chunk: tuple[int, int, int]) -> tuple[int, int, int]:
    """The chunk with its longest axis, against the patch, halved until windows at any place decode twice what they use
    or the chunk is small."""
    sizes = list(chunk)
    while over_read_of(patch, (sizes[0], sizes[1], sizes[2])) > GOOD_OVER_READ:
        axis = max(range(3), key=lambda each: sizes[each] / patch[each])
        if math.prod(sizes) // 2 < LEAST_CHUNK_VOXELS or sizes[axis] < 2:
            break
        sizes[axis] = -(-sizes[axis] // 2)
    return sizes[0], sizes[1], sizes[2]


def over_read_of(patch: tuple[int, int, int], chunk: tuple[int, int, int]) -> float:
    """Voxels in touched chunks over voxels of the window, for windows at any place: along an axis a window of p voxels
    touches (p + c - 1) / c chunks of c voxels on average."""
    return math.prod((p + c - 1) / p for p, c in zip(patch, chunk, strict=True))


def _transform(measured: Measurements) -> Iterator[Change]:
    yield Change(
        text="move the transform to the device (DeviceTransform), or make it cheaper; without it",
        gain=_gain(measured, _without(measured, "transform")),
    )


def _collate(measured: Measurements) -> Iterator[Change]:
    yield Change(
        text="collate with medshard.loaders.collate_samples and nothing else: it writes tensors once, into shared "
        "memory; if collating were free",
        gain=_gain(measured, _without(measured, "collate")),
    )


def _assembly(_measured: Measurements) -> Iterator[Change]:
    yield Change(text='labels of one byte (label_type="int8") and stored numbers (normalise="device") are less to make')
    yield Change(text="read less beside the voxels (`with_`, `text`)")


def _foreground(measured: Measurements) -> Iterator[Change]:
    share = _gain(measured, _without(measured, "foreground"))
    yield Change(text="place fewer windows on labels (`foreground`); without any", gain=share)


def _transfer(measured: Measurements) -> Iterator[Change]:
    size = measured.batch_bytes / 1e6
    yield Change(
        text=f'make batches smaller, {size:,.1f} MB of tensors now: label_type="int8" saves 7 of 8 bytes of a label, '
        'normalise="device" half of an image'
    )
    yield Change(
        text="return tensors, not lists or objects: these are pickled in a worker and unpickled by the trainer"
    )


def _copy(measured: Measurements) -> Iterator[Change]:
    if not measured.pinned:
        yield Change(text="pin_memory=True, so that the copy goes on beside the computing")
    yield Change(text='normalise="device" with DeviceTransform: half of the bytes of an image')


def _prepare(measured: Measurements) -> Iterator[Change]:
    yield Change(
        text="make what is done to a batch cheaper, or do it in the workers; without it",
        gain=_gain(measured, replace(measured, prepare=NOTHING)),
    )


def _shared_memory(measured: Measurements) -> Iterator[Change]:
    free, size = measured.shared_free or 0, max(1, measured.batch_bytes)
    needed = measured.batches_in_flight * size
    yield Change(text=f"a larger /dev/shm: {_gigabytes(2 * needed)} (docker run --shm-size={-(-2 * needed // 2**20)}m)")
    fitting = max(0, (free // size - 1) // max(1, measured.prefetch))
    if fitting:
        yield Change(text=f"or fewer workers: {measured.workers} -> {fitting}")
    ahead = max(0, (free // size - 1) // max(1, measured.workers))
    if ahead:
        yield Change(text=f"or batches less far ahead: prefetch_factor {measured.prefetch} -> {ahead}")
    yield Change(text='or smaller batches; label_type="int8" and normalise="device" save most of their bytes')


def _nothing(_measured: Measurements) -> Iterator[Change]:
    return iter(())


_OF_LIMIT: dict[str, Callable[[Measurements], Iterator[Change]]] = {
    "storage": _storage,
    "over-read": _chunks,
    "decode": _decode,
    "foreground": _foreground,
    "assembly": _assembly,
    "transform": _transform,
    "collate": _collate,
    "transfer": _transfer,
    "prepare": _prepare,
    "copy": _copy,
}


def _gain(before: Measurements, after: Measurements) -> float:
    was, becomes = rates_of(before).result, rates_of(after).result
    return becomes / was if was and math.isfinite(becomes) and math.isfinite(was) else 1.0


def _faster(measured: Measurements, name: StepName, times: float) -> Measurements:
    if name == "storage":
        storage = measured.storage
        return replace(
            measured,
            storage=replace(
                storage,
                cold=storage.cold.scaled(1 / times),
                warm=storage.warm.scaled(1 / times),
                together_s=storage.together_s / times,
            ),
        )
    step = measured.step(name).scaled(1 / times)
    return replace(measured, steps={**measured.steps, name: step})


def _without(measured: Measurements, name: StepName) -> Measurements:
    return replace(measured, steps={**measured.steps, name: NOTHING})


def _by(size: tuple[int, int, int]) -> str:
    return "x".join(map(str, size))


def _gigabytes(nbytes: float) -> str:
    return f"{nbytes / 1e9:,.1f} GB" if nbytes >= 1e9 else f"{nbytes / 1e6:,.0f} MB"
