"""raw (download): acquire every source of an entry, verify it, keep archive and unpacked tree."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from medshard.converters.dicom_series_writer import write_ct_series
from medshard.converters.reading import read_image
from medshard.errors import AcquisitionError
from medshard.pipelines.execution.map_cases import Execution
from medshard.pipelines.stages.stage import CODE_VERSIONS, CaseJob, Context, StageResult, publish_stage, run_jobs
from medshard.registry.acquisition import acquirer_of
from medshard.registry.schema import Entry, Reencode, Source
from medshard.registry.store.digests import canonical_json
from medshard.registry.store.manifests import Manifest
from medshard.registry.store.objects import Store
from medshard.registry.store.records import CaseRecord, RecordRef, record_key

STAGE = "raw"


@dataclass(frozen=True, kw_only=True)
class RawFile:
    """One acquired file: its path in the entry's raw tree, its bytes, and the record that it belongs to."""

    path: str
    location: Path
    sha256: str
    size: int
    record: RecordRef


@dataclass(frozen=True, kw_only=True)
class SourcePayload:
    store: Store
    source: Source
    base: Path


@dataclass(frozen=True, kw_only=True)
class ReencodePayload:
    store: Store
    reencode: Reencode
    source: RawFile


def build_raw(context: Context) -> StageResult:
    """Acquire what is not in the store yet.

    Raises AcquisitionError when a source cannot be had: no later stage can do without it.
    """
    started = time.monotonic()
    _refuse_the_unobtainable(context.entry)
    # Sources come one after the other and through this machine, also when the cases are spread over a cluster.
    context = replace(context, execution=Execution())
    jobs = [_source_job(context, number, source) for number, source in enumerate(context.entry.acquisition)]
    records, done = run_jobs(context, STAGE, jobs, acquire_source)
    _refuse_failures(records)
    if context.entry.reencode:
        files = {file.path: file for record in records for file in _files_of(context.store, record)}
        more = [_reencode_job(context, number, wish, files) for number, wish in enumerate(context.entry.reencode)]
        extra, extra_done = run_jobs(context, STAGE, more, reencode_source)
        _refuse_failures(extra)
        records, done = records + extra, done + extra_done
    files_by_path = raw_files(context.store, records)
    # What the entry said when this was acquired: lineage takes licence and version from here.
    entry = context.store.publish_bytes(canonical_json(context.entry.model_dump(mode="json")), ".entry.json")
    return publish_stage(
        context,
        STAGE,
        records,
        started=started,
        done=done,
        attachments={"entry": entry},
        details={"files": len(files_by_path), "bytes": sum(file.size for file in files_by_path.values())},
    )


def raw_files(store: Store, records: Manifest | list[CaseRecord]) -> dict[str, RawFile]:
    """path in the raw tree -> file, over all sources of an entry.

    Raises AcquisitionError[source.clash] when two sources bring one path.
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


def acquire_source(job: CaseJob[SourcePayload]) -> CaseRecord:
    """Acquire one source; runs in a worker."""
    payload = job.payload
    with payload.store.scratch() as scratch:
        acquirer = acquirer_of(payload.source, where=job.record.entry)
        acquired = acquirer.acquire(payload.source, payload.base, scratch / "source")
        archive = None
        if acquired.archive is not None:
            name = acquired.archive.name
            suffix = (
                "".join(PurePosixPath(name).suffixes[-2:])
                if name.endswith((".gz", ".bz2", ".xz"))
                else acquired.archive.suffix
            )
            archive = {"name": name, "object": payload.store.publish_file(acquired.archive, suffix).to_json()}
        tree = payload.store.publish_tree(acquired.tree, "")
    return replace(
        job.record,
        output=tree,
        decoders=dict(acquired.tools),
        facts={**job.record.facts, "archive": archive, "files": len(payload.store.tree_files(tree))},
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


def _source_job(context: Context, number: int, source: Source) -> CaseJob[SourcePayload]:
    base = context.catalog.folder(context.entry.id)
    identity = acquirer_of(source, where=context.entry.id).identity(source, base)
    name = f"{number:02d}-{source.kind}"
    key = record_key(
        stage=STAGE,
        code_version=CODE_VERSIONS[STAGE],
        entry=context.entry.id,
        case=name,
        parameters={"identity": identity, "into": source.into},
    )
    record = CaseRecord(
        stage=STAGE,
        entry=context.entry.id,
        case=name,
        key=key,
        code_version=CODE_VERSIONS[STAGE],
        facts={"identity": identity, "into": source.into},
    )
    return CaseJob(record=record, payload=SourcePayload(store=context.store, source=source, base=base))


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
        facts={"identity": parameters, "into": "", "archive": None},
    )
    return CaseJob(
        record=record,
        payload=ReencodePayload(store=context.store, reencode=wish, source=source),
        bytes_needed=8 * source.size,
    )


def _files_of(store: Store, record: CaseRecord) -> list[RawFile]:
    if record.output is None:
        return []
    tree, into = record.output, str(record.facts["into"])
    return [
        RawFile(
            path=f"{into}/{file.path}" if into else file.path,
            location=store.path(tree) / file.path,
            sha256=file.sha256,
            size=file.size,
            record=record.ref,
        )
        for file in store.tree_files(tree)
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
