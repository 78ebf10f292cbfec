"""What a worker does in `volumes`: one case to canonical Zarr, or small cases of one form to one stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from medshard.converters.canonical import write_volume
from medshard.converters.fingerprint import content_facts
from medshard.converters.spooling import Spool
from medshard.converters.stacked import Member, stack_member, write_stack
from medshard.converters.volume import Volume
from medshard.pipelines.execution.case_tasks import CaseOutcome, run_case
from medshard.pipelines.stages.batches import alone
from medshard.pipelines.stages.case_job import CaseJob
from medshard.pipelines.stages.case_payload import CasePayload
from medshard.pipelines.stages.case_volume import content_warnings, decoders, read_case
from medshard.pipelines.stages.spool_of_store import spool_of
from medshard.registry.store.objects import Store
from medshard.registry.store.records import CaseRecord

# A worker is one core: cases are spread over workers, and `--workers 2` means two cores, not four.
THREADS = 1


@dataclass(frozen=True, kw_only=True)
class ConvertPayload:
    store: Store
    case: CasePayload
    layers: tuple[str, ...]
    annotations: tuple[str, ...]


def convert_case(job: CaseJob[ConvertPayload]) -> CaseRecord:
    """Read one case, bring it to canonical orientation, write its Zarr; runs in a worker."""
    payload = job.payload
    with payload.store.scratch() as scratch:
        volume = _read(job, Spool(folder=scratch))
        record = _record(job, volume)
        folder = scratch / "volume"
        write_volume(volume, folder, pyramid_levels=payload.case.entry.pyramid_levels, threads=THREADS)
        output = payload.store.publish_tree(folder, ".zarr")
    return replace(record, output=output)


def convert_batch(jobs: Sequence[CaseJob[ConvertPayload]]) -> list[CaseOutcome[CaseRecord]]:
    """Small cases: those of one form become one stack, in the order of the jobs; runs in a worker.

    A bad case spoils no other. One that is alone of its form is converted as any case is.
    """
    store = jobs[0].payload.store
    reader = _SmallReader(spool_of(store))
    read = [run_case(reader, alone(job), where=job.record.entry) for job in jobs]
    records: dict[int, CaseRecord] = {}
    for numbers in _of_one_form(read):
        if len(numbers) > 1:
            records |= _stacked(store, {number: found for number in numbers if (found := read[number].result)})
    return [
        _outcome(job, outcome, records.get(number))
        for number, (job, outcome) in enumerate(zip(jobs, read, strict=True))
    ]


@dataclass(frozen=True, kw_only=True)
class _Small:
    """A small case in memory. record: all but its output. member: None for one that cannot be stacked."""

    record: CaseRecord
    member: Member | None


@dataclass(frozen=True)
class _SmallReader:
    spool: Spool

    def __call__(self, job: CaseJob[ConvertPayload]) -> _Small:
        volume = _read(job, self.spool)
        return _Small(record=_record(job, volume), member=stack_member(volume))


def _of_one_form(read: Sequence[CaseOutcome[_Small]]) -> list[list[int]]:
    """Numbers of the cases that can be stacked, by form."""
    forms: dict[str, list[int]] = {}
    for number, outcome in enumerate(read):
        if outcome.result is not None and outcome.result.member is not None:
            forms.setdefault(outcome.result.member.form, []).append(number)
    return list(forms.values())


def _stacked(store: Store, cases: dict[int, _Small]) -> dict[int, CaseRecord]:
    with store.scratch() as scratch:
        members = [case.member for case in cases.values() if case.member is not None]
        write_stack(members, scratch / "stack", threads=THREADS)
        output = store.publish_tree(scratch / "stack", ".zarr")
    return {
        number: replace(case.record, output=output, facts={**case.record.facts, "row": row})
        for row, (number, case) in enumerate(cases.items())
    }


def _outcome(
    job: CaseJob[ConvertPayload], read: CaseOutcome[_Small], record: CaseRecord | None
) -> CaseOutcome[CaseRecord]:
    if read.result is not None and record is None:
        return run_case(convert_case, alone(job), where=job.record.entry)
    return CaseOutcome(
        case=read.case,
        result=record,
        error=read.error,
        seconds=read.seconds,
        attempts=read.attempts,
        deterministic=read.deterministic,
    )


def _read(job: CaseJob[ConvertPayload], spool: Spool) -> Volume:
    payload = job.payload
    return read_case(payload.case, layers=payload.layers, annotations=payload.annotations, spool=spool)


def _record(job: CaseJob[ConvertPayload], volume: Volume) -> CaseRecord:
    """The record of a volume, all but its output."""
    facts = {
        **job.record.facts,
        "images": {
            name: {
                "shape": list(image.array.shape),
                "dtype": str(image.array.dtype),
                "spacing_mm": list(image.spacing_mm),
            }
            for name, image in volume.images.items()
        },
        "labels": {
            name: {"shape": list(label.array.shape), "kind": label.kind} for name, label in volume.labels.items()
        },
        "meshes": {
            name: {"vertices": len(mesh.vertices), "faces": len(mesh.faces)} for name, mesh in volume.meshes.items()
        },
        **content_facts(volume),
        **_kept_sources(volume),
        "bytes_in_memory": sum(image.array.nbytes for image in volume.images.values()),
    }
    return replace(
        job.record,
        facts=facts,
        warnings=content_warnings(volume),
        decoders=decoders(job.payload.case, layers=job.payload.layers),
    )


def _kept_sources(volume: Volume) -> dict[str, Any]:
    """Paths in the raw tree of what is decoded when it is sharded."""
    slides = {file.path for slide in volume.slides.values() for file in slide.files}
    videos = {file.path for video in volume.videos.values() for file in video.files}
    return {"kept": sorted(slides | videos)} if slides or videos else {}
