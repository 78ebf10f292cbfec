"""raw (download): acquire every part of an entry, verify it, keep archive and unpacked tree."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from medshard.converters.dicom_series_writer import write_ct_series
from medshard.converters.reading import read_image
from medshard.errors import AcquisitionError
from medshard.pipelines.execution.map_cases import Execution
from medshard.pipelines.stages.case_job import CaseJob
from medshard.pipelines.stages.stage import CODE_VERSIONS, Context, StageResult, publish_stage, run_jobs
from medshard.registry.acquisition.gates.use import require_use
from medshard.registry.acquisition.provenance import Provenance, origins_of, provenance_table
from medshard.registry.schema import Entry, Reencode
from medshard.registry.store.digests import canonical_json
from medshard.registry.store.manifests import Manifest
from medshard.registry.store.objects import Store
from medshard.registry.store.records import CaseRecord, RecordRef, record_key

STAGE = "raw"


@dataclass(frozen=True, kw_only=True)
class RawFile:
    """One acquired file: its path in the entry's raw tree, its bytes, its record, and where it came from."""

    path: str
    location: Path
    sha256: str
    size: int
    record: RecordRef
    origin: Provenance


@dataclass(frozen=True, kw_only=True)
class ReencodePayload:
    store: Store
    reencode: Reencode
    source: RawFile


def build_raw(context: Context) -> StageResult:
    """Acquire what is not in the store yet, and fetch again what was damaged there.

    Raises AcquisitionError when a part cannot be had: no later stage can do without it.
    """
    # What fetches is not loaded by the workers of later stages, which import this module for its files.
    from medshard.pipelines.stages.raw_parts import build_parts  # noqa: PLC0415

    started = time.monotonic()
    _refuse_the_unobtainable(context.entry)
    require_use(context.entry, context.acquisition.use)
    parts = build_parts(context)
    records, done = list(parts.records), parts.done
    if context.entry.reencode:
        # Made on this machine, also when the cases are spread over a cluster.
        here = replace(context, execution=Execution())
        files = raw_files(context.store, records)
        more = [_reencode_job(here, number, wish, files) for number, wish in enumerate(context.entry.reencode)]
        extra, extra_done = run_jobs(
            here, STAGE, more, reencode_source, is_finished=lambda record: _is_whole(here, record)
        )
        _refuse_failures(extra)
        records, done = records + extra, done + extra_done
    found = raw_files(context.store, records)
    # What the entry said when this was acquired: lineage takes licence and version from here.
    entry = context.store.publish_bytes(canonical_json(context.entry.model_dump(mode="json")), ".entry.json")
    table = provenance_table(replace(file.origin, path=path) for path, file in found.items())
    return publish_stage(
        context,
        STAGE,
        records,
        started=started,
        done=done,
        attachments={"entry": entry, "files": context.store.publish_bytes(table, ".files.parquet")},
        details={
            "files": len(found),
            "bytes": sum(file.size for file in found.values()),
            "transferred": parts.transferred,
            "repaired": list(parts.repaired),
        },
    )


def _is_whole(context: Context, record: CaseRecord) -> bool:
    """Whether what was made here is as it was; it is made again otherwise."""
    return record.output is None or not context.store.suspects(record.output, verify=context.acquisition.verify)


def raw_files(store: Store, records: Manifest | Iterable[CaseRecord]) -> dict[str, RawFile]:
    """path in the raw tree -> file, over all parts of an entry.

    Raises AcquisitionError[source.clash] when two parts bring one path.
    """
    found: dict[str, RawFile] = {}
    for record in records.records if isinstance(records, Manifest) else records:
        for file in _files_of(store, record):
            if file.path in found:
                raise AcquisitionError(
                    "source.clash",
                    where=record.entry,
                    problem=f"two sources bring {file.path}",
                    action="Give one of them a folder with `into` in the catalog entry.",
                )
            found[file.path] = file
    return found


def _refuse_the_unobtainable(entry: Entry) -> None:
    if not entry.acquisition:
        raise AcquisitionError(
            "source.none",
            where=entry.id,
            problem="the data set cannot be downloaded",
            details={"access": entry.access.kind, "what is known": entry.access.instructions},
            action="If you have the files, describe them as a `folder` source in a catalog of your own.",
        )


def reencode_source(job: CaseJob[ReencodePayload]) -> CaseRecord:
    """Write real pixels again as another format, with made headers; runs in a worker."""
    payload = job.payload
    where = f"{job.record.entry}/{payload.reencode.folder}"
    image = read_image([payload.source.location], where=where)
    with payload.store.scratch() as scratch:
        folder = scratch / "tree" / payload.reencode.folder
        folder.mkdir(parents=True)
        write_ct_series(
            image,
            folder,
            patient_id=PurePosixPath(payload.reencode.folder).name,
            series_description=payload.reencode.description,
            uid_seed=payload.source.sha256,
        )
        tree = payload.store.publish_tree(scratch / "tree", "")
    return replace(job.record, output=tree, facts={**job.record.facts, "files": len(payload.store.tree_files(tree))})


def _reencode_job(
    context: Context, number: int, wish: Reencode, files: Mapping[str, RawFile]
) -> CaseJob[ReencodePayload]:
    if wish.source not in files:
        raise AcquisitionError(
            "reencode.source",
            where=context.entry.id,
            problem=f"no acquired file is called {wish.source}",
            action="Mend `reencode.source` in the catalog entry.",
        )
    source = files[wish.source]
    name = f"{len(context.entry.acquisition) + number:02d}-reencode"
    parameters: dict[str, Any] = wish.model_dump(mode="json")
    sources = {source.path: source.sha256}
    key = record_key(
        stage=STAGE,
        code_version=CODE_VERSIONS[STAGE],
        entry=context.entry.id,
        case=name,
        parameters=parameters,
        inputs=(source.record,),
        sources=sources,
    )
    record = CaseRecord(
        stage=STAGE,
        entry=context.entry.id,
        case=name,
        key=key,
        code_version=CODE_VERSIONS[STAGE],
        inputs=(source.record,),
        sources=sources,
        facts={"identity": parameters, "into": "", "archives": []},
    )
    return CaseJob(
        record=record,
        payload=ReencodePayload(store=context.store, reencode=wish, source=source),
        bytes_needed=8 * source.size,
    )


def _files_of(store: Store, record: CaseRecord) -> list[RawFile]:
    if record.output is None:
        return []
    tree, into, ref = record.output, str(record.facts["into"]), record.ref
    return [
        RawFile(
            path=f"{into}/{origin.path}" if into else origin.path,
            location=store.path(tree) / origin.path,
            sha256=origin.sha256,
            size=origin.bytes,
            record=ref,
            origin=origin,
        )
        for origin in origins_of(store, record)
    ]


def _refuse_failures(records: list[CaseRecord]) -> None:
    for record in records:
        if record.error is not None:
            raise AcquisitionError(
                str(record.error["code"]),
                where=f"{record.entry}/{record.case}",
                problem=str(record.error["problem"]),
                details=dict(record.error["details"]),
                action=str(record.error["action"]),
            )
