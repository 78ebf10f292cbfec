"""What a worker does in `shards`: volumes to samples, encoded as pieces that wait until they are packed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from medshard.converters.plan import Plan
from medshard.converters.samples import Sample, make_sample
from medshard.converters.shard_writer import encode_sample
from medshard.converters.shard_zip import PiecesWriter
from medshard.converters.spooling import IN_MEMORY, Spool
from medshard.converters.volume import Volume
from medshard.pipelines.execution.case_tasks import CaseOutcome, CaseTask, run_case
from medshard.pipelines.stages.case_job import CaseJob
from medshard.pipelines.stages.converted_volumes import VolumePlace, read_all_converted, read_converted
from medshard.registry.store.objects import Store
from medshard.registry.store.records import CaseRecord


@dataclass(frozen=True, kw_only=True)
class SamplePayload:
    """files: path in the raw tree -> place on disk, of the slides and videos that are decoded now."""

    store: Store
    volume: VolumePlace
    plan: Plan
    files: Mapping[str, Path] = field(default_factory=dict)


def resample_case(job: CaseJob[SamplePayload]) -> CaseRecord:
    """Volume -> sample -> encoded piece, which waits in the store until it is packed; runs in a worker."""
    payload = job.payload
    volume = read_converted(payload.store, payload.volume)
    with payload.store.scratch() as scratch:
        record = _encoded(job, volume, scratch / "piece", Spool(folder=scratch))
        piece = payload.store.publish_tree(scratch / "piece", ".piece")
    return replace(record, facts={**record.facts, "piece": piece.to_json()})


def resample_batch(jobs: Sequence[CaseJob[SamplePayload]]) -> list[CaseOutcome[CaseRecord]]:
    """Small cases: their pieces wait in one file; runs in a worker. A bad case spoils no other."""
    store = jobs[0].payload.store
    volumes = read_all_converted(store, [job.payload.volume for job in jobs])
    with store.scratch() as scratch:
        outcomes = []
        with PiecesWriter(scratch / "pieces.zip") as pieces:
            for job, volume in zip(jobs, volumes, strict=True):
                encoder = _Encoder(scratch / "piece", pieces)
                task = CaseTask(case=job.record.case, payload=(job, volume))
                outcomes.append(run_case(encoder, task, where=job.record.entry))
        together = store.publish_file(scratch / "pieces.zip", ".pieces.zip")
    return [
        replace(outcome, result=replace(record, facts={**record.facts, "piece": together.to_json()}))
        if (record := outcome.result) is not None
        else outcome
        for outcome in outcomes
    ]


@dataclass(frozen=True)
class _Encoder:
    """Encodes one case of a batch in a folder that is empty before and after, and adds it to the file of pieces."""

    folder: Path
    pieces: PiecesWriter

    def __call__(self, work: tuple[CaseJob[SamplePayload], Volume]) -> CaseRecord:
        job, volume = work
        try:
            record = _encoded(job, volume, self.folder, IN_MEMORY)
            size = self.pieces.add(record.case, self.folder)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
        return replace(record, facts={**record.facts, "piece_bytes": size})


def _encoded(job: CaseJob[SamplePayload], volume: Volume, folder: Path, spool: Spool) -> CaseRecord:
    """The record of a sample that lies encoded in a folder, all but where its piece waits."""
    payload, facts = job.payload, job.record.facts
    sample = replace(
        make_sample(volume, payload.plan, files=payload.files, spool=spool),
        group=facts.get("group", ""),
        split=facts.get("split"),
        synthetic=bool(facts.get("synthetic")),
    )
    encode_sample(sample, payload.plan, folder)
    return replace(job.record, facts={**job.record.facts, **_sample_facts(sample)}, warnings=sample.warnings)


def _sample_facts(sample: Sample) -> dict[str, Any]:
    return {
        "shape": list(sample.image.shape) if sample.image is not None else None,
        "dtype": str(sample.image.dtype) if sample.image is not None else None,
        "spacing_before_mm": list(sample.spacing_before_mm) if sample.spacing_before_mm else None,
        "unit": sample.unit,
        "quantisation_error": sample.quantisation_error,
        "volume_ratio": {
            f"{layer}/{concept}": ratio
            for layer, label in sample.labels.items()
            for concept, ratio in label.volume_ratio.items()
        },
        **({"component_ratio": components} if (components := _component_ratios(sample)) else {}),
        **({"views": {name: list(view.image.shape) for name, view in sample.views.items()}} if sample.views else {}),
    }


def _component_ratios(sample: Sample) -> dict[str, float]:
    return {
        f"{layer}/{concept}": ratio
        for layer, label in sample.labels.items()
        for concept, ratio in label.component_ratio.items()
    }
