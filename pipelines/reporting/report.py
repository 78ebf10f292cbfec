"""The report of a demo: one HTML file that shows what the store holds, as its manifests say it."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from medshard.converters.volume import spacing_of
from medshard.loaders.sample_row import SampleRow
from medshard.loaders.shard_reader import SampleIndex
from medshard.pipelines.reporting.fingerprints import fingerprint_section, sketch_of_entry
from medshard.pipelines.reporting.montage import contact_sheet
from medshard.pipelines.reporting.report_html import (
    Html,
    details,
    digest,
    element,
    figure,
    join,
    link,
    megabytes,
    page,
    table,
)
from medshard.pipelines.reporting.report_training import training_section
from medshard.pipelines.stages.raw import raw_files
from medshard.pipelines.stages.stage import STAGES
from medshard.registry.catalog import Catalog
from medshard.registry.schema import Entry
from medshard.registry.store.manifests import Head, Manifest, read_head, read_manifest
from medshard.registry.store.objects import Store, write_atomically
from medshard.registry.store.records import CaseRecord
from medshard.registry.vocabulary import Purpose

SHEET_TILE = (620, 240)
SHEET_BYTES = 400_000
BY = "\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}"
PACKAGES = (
    *("medshard", "numpy", "scipy", "zarr", "numcodecs", "pyarrow", "SimpleITK", "nibabel", "pydicom", "pillow"),
    *("dagster", "great-expectations", "torch", "monai"),
)


@dataclass(frozen=True, kw_only=True)
class BuiltStage:
    """The current state of one stage of an entry. plan: of the stage `shards`."""

    stage: str
    plan: str | None
    head: Head
    manifest: Manifest

    @property
    def title(self) -> str:
        return f"{self.stage}@{self.plan}" if self.plan else self.stage

    @property
    def bytes(self) -> int:
        """Of all objects that belong to it now."""
        outputs = {record.output for record in self.manifest.records if record.output is not None}
        return sum(ref.size for ref in outputs | set(self.head.attachments.values()))


@dataclass(frozen=True, kw_only=True)
class BuiltEntry:
    """What the store holds of one entry. as_acquired: the catalog entry as it was when `raw` was built."""

    entry: Entry
    as_acquired: Mapping[str, Any]
    stages: tuple[BuiltStage, ...]

    def stage(self, name: str) -> BuiltStage | None:
        return next((stage for stage in self.stages if stage.stage == name), None)

    @property
    def cases(self) -> tuple[CaseRecord, ...]:
        stage = self.stage("cases")
        return stage.manifest.records if stage else ()


def write_report(store: Store, catalog: Catalog, recipe_id: str | None, output: Path) -> Path:
    """Write `report.html`, which needs no other file, into the folder `output`, and return its path.

    Every entry of the catalog with a built stage gets a section, and so does the recipe where its stages are in the
    store. Links to data docs are relative to the report.
    Raises StoreError when a HEAD names an object that is gone.
    """
    built = [found for entry in catalog if (found := _built(store, entry)) is not None]
    training = training_section(store, recipe_id) if recipe_id else None
    parts = [
        *_opening(built),
        _sizes(store, built),
        *(element("section", join(*_entry_section(store, found, output)), anchor=found.entry.id) for found in built),
        *([element("section", training, anchor="training")] if training else []),
        *_closing(store, built),
    ]
    target = output / "report.html"
    output.mkdir(parents=True, exist_ok=True)
    write_atomically(target, page("medshard: report of the demo", parts).encode())
    return target


def _built(store: Store, entry: Entry) -> BuiltEntry | None:
    names = [(stage, None) for stage in STAGES if stage != "shards"] + [("shards", plan) for plan in entry.plans]
    heads = [(stage, plan, read_head(store, entry.id, stage, plan)) for stage, plan in names]
    stages = tuple(
        BuiltStage(stage=stage, plan=plan, head=head, manifest=read_manifest(store, head.manifest))
        for stage, plan, head in heads
        if head is not None
    )
    if not stages or stages[0].stage != "raw":
        return None
    snapshot = json.loads(store.read_bytes(stages[0].head.attachments["entry"]))
    return BuiltEntry(entry=entry, as_acquired=snapshot, stages=stages)


def _opening(built: list[BuiltEntry]) -> Iterator[Html]:
    cases = sum(len(found.cases) for found in built)
    scored = [record for found in built for record in found.cases if record.fit_for(Purpose.EVALUATION.value)]
    people = {
        (record.entry, record.facts["patient"])
        for record in scored
        if record.facts.get("subject", "patient") == "patient"
    }
    yield element("h1", "medshard: from catalog entries to a scored checkpoint")
    statement = (
        f"This report covers {cases} cases of {len(built)} data sets; "
        f"the annotated ones come from {len(people)} patients. So few cases prove that the machinery runs "
        "from the source files to a scored checkpoint. "
        "They support no claim of accuracy, and no score below should be quoted as one."
    )
    yield element("p", statement, kind="statement")
    links = [link(f"#{found.entry.id}", found.entry.id) for found in built]
    yield element("nav", join(*links, link("#training", "training"), link("#software", "software"), separator=" "))


def _sizes(store: Store, built: list[BuiltEntry]) -> Html:
    rows = []
    for found in built:
        source, shards = _source_bytes(store, found), _shard_bytes(found)
        rows.append(
            (
                link(f"#{found.entry.id}", found.entry.id),
                found.as_acquired["licence"]["id"],
                len(found.cases),
                sum(record.error is not None for record in found.cases),
                megabytes(source),
                megabytes(shards) if shards else None,
                shards / source if source and shards else None,
            )
        )
    header = ("entry", "licence", "cases", "excluded", "source files of the cases", "shards", "shards / source")
    return join(element("h2", "Data sets and sizes"), table(header, rows))


def _source_bytes(store: Store, found: BuiltEntry) -> int:
    """Bytes of the source files that a case was made from, each counted once."""
    files = raw_files(store, found.stages[0].manifest)
    used = {path for record in found.cases for path in record.sources}
    return sum(files[path].size for path in used if path in files)


def _shard_bytes(found: BuiltEntry) -> int:
    stage = found.stage("shards")
    if stage is None:
        return 0
    return sum(ref.size for name, ref in stage.head.attachments.items() if name.startswith("shard-"))


def _entry_section(store: Store, found: BuiltEntry, output: Path) -> Iterator[Html]:
    snapshot, licence = found.as_acquired, found.as_acquired["licence"]
    yield element("h2", f"{snapshot['title']} ({found.entry.id})")
    yield element("p", snapshot["description"])
    terms = ", ".join(
        f"{name.replace('_', ' ')} {licence[name]}" for name in ("commercial_use", "redistribution", "derivatives")
    )
    facts = [("licence", f"{licence['id']}: {terms}")]
    facts += [("notice", licence["notice"])] if licence["notice"] else []
    facts += [("version", snapshot["version"]), ("maturity", snapshot["maturity"])]
    facts += [("citation", snapshot["citation"]["text"])] if snapshot["citation"] else []
    yield table(("", ""), facts)
    yield element("h3", "Stages")
    yield table(
        ("stage", "records in", "ok", "excluded", "bytes", "manifest (data version)"),
        [
            (
                stage.title,
                len(stage.manifest.records),
                len(stage.manifest.good),
                len(stage.manifest.excluded),
                megabytes(stage.bytes),
                digest(stage.head.data_version),
            )
            for stage in found.stages
        ],
    )
    yield from _exclusions(found)
    yield from _cases(store, found)
    yield from _pictures(store, found)
    yield from _data_docs(store, found, output)


def _exclusions(found: BuiltEntry) -> Iterator[Html]:
    """Cases that a stage excluded, and what speaks against a case for one purpose or another."""
    rows = [
        (stage.title, record.case, "everything", str(record.error["code"]), str(record.error["problem"]))
        for stage in found.stages
        for record in stage.manifest.excluded
        if record.error is not None
    ]
    rows += [
        ("cases", record.case, " and ".join(fault["against"]), fault["code"], fault["reason"])
        for record in found.cases
        for fault in record.facts.get("faults", [])
    ]
    if rows:
        yield element("h3", "Excluded")
        yield table(("stage", "case", "from", "code", "reason"), rows)
    else:
        yield element("p", "No case is excluded, from any purpose.", kind="dim")


def _cases(store: Store, found: BuiltEntry) -> Iterator[Html]:
    """One table a plan: the grid of each case before and after."""
    yield element("h3", "Cases, and their grids before and after resampling")
    for stage in found.stages:
        if stage.stage == "shards":
            yield _grids(store, found, stage)
    if found.stage("shards") is None:
        rows = [(record.case, record.facts.get("patient"), record.facts.get("modality")) for record in found.cases]
        yield table(("case", "patient", "modality"), rows)


def _grids(store: Store, found: BuiltEntry, stage: BuiltStage) -> Html:
    index = SampleIndex.open(store, found.entry.id, stage.plan or "default")
    after = {row.case: row for row in (index.row(number) for number in range(len(index)))}
    converted = found.stage("volumes")
    rows = [
        (
            case.case,
            case.facts.get("patient"),
            case.facts.get("modality"),
            *_grid_before_and_after(case, converted.manifest.record(case.case) if converted else None, after),
            *_stored(stage.manifest.record(case.case)),
        )
        for case in found.cases
    ]
    header = (
        *("case", "patient", "modality", "voxels before", "after", "spacing before, mm", "after"),
        *("stored as", "volume after / before", "record"),
    )
    plan = index.plan
    spacing = f"{_steps(plan.spacing_mm)} mm" if plan.spacing_mm else "the grid of each case"
    caption = f"Plan {plan.name}: {spacing}, kernel {plan.kernel}; axes z, y, x, canonical. Digest {plan.digest[:12]}."
    return table(header, rows, caption=caption)


def _grid_before_and_after(
    case: CaseRecord, volume: CaseRecord | None, after: Mapping[str, SampleRow]
) -> tuple[str | None, ...]:
    """Voxels before and after, spacing before and after, of the first image; no spacing where none is trusted."""
    image: Mapping[str, Any] = next(iter((volume.facts["images"] if volume else {}).values()), {})
    sample = after.get(case.case)
    if not image or sample is None or not sample.channels:
        return None, None, None, None
    voxels = _times(image["shape"][-3:]), _times(sample.shape)
    if not all(stated["trusted_geometry"] for stated in case.facts["images"].values()):
        return *voxels, None, None
    return *voxels, _steps(image["spacing_mm"]), _steps(spacing_of(sample.affine))


def _stored(record: CaseRecord | None) -> tuple[str | None, str | None, Html]:
    if record is None:
        return None, None, digest(None)
    return record.facts.get("dtype"), _ratios(record), digest(record.digest)


def _ratios(record: CaseRecord) -> str | None:
    ratios = record.facts.get("volume_ratio", {})
    return ", ".join(f"{name} {ratio:.3f}" for name, ratio in ratios.items()) or None


def _pictures(store: Store, found: BuiltEntry) -> Iterator[Html]:
    volumes, fingerprint, shards = (found.stage(name) for name in ("volumes", "fingerprint", "shards"))
    if volumes is not None and volumes.manifest.good:
        sheet = contact_sheet(store, found.entry.id, tile=SHEET_TILE, most_bytes=SHEET_BYTES)
        yield figure(sheet, "The cases as converted: original voxels, canonical orientation.")
    if shards is not None and shards.manifest.good:
        sheet = contact_sheet(store, found.entry.id, stage="shards", plan=shards.plan)
        yield details("The same cases as read back from the shards", figure(sheet, f"Plan {shards.plan}."))
    if fingerprint is not None and "sketch" in fingerprint.head.attachments:
        yield from fingerprint_section(sketch_of_entry(store, found.entry.id))


def _data_docs(store: Store, found: BuiltEntry, output: Path) -> Iterator[Html]:
    index = store.root / "reports" / found.entry.id / "data-docs" / "index.html"
    if index.is_file():
        address = Path(os.path.relpath(index, output.resolve())).as_posix()
        yield element("p", join("Great Expectations on the table of cases: ", link(address, "data docs"), separator=""))


def _closing(store: Store, built: list[BuiltEntry]) -> Iterator[Html]:
    yield element("h2", "Use it", anchor="use")
    yield element(
        "p", join("The runs, with their metadata and checks, stand in the Dagster UI: ", element("code", "make ui"))
    )
    largest = max(built, key=_shard_bytes, default=None)
    if largest is not None and _shard_bytes(largest):
        yield element("p", "The shards in PyTorch:")
        yield element("pre", element("code", _five_lines(store, largest.entry.id)))
    yield element("h2", "Software", anchor="software")
    yield table(("package", "version"), [("Python", platform.python_version()), *_versions()])
    decoders = sorted({item for found in built for record in found.cases for item in record.decoders.items()})
    if decoders:
        yield table(("decoder of source files", "version"), decoders)


def _five_lines(store: Store, entry_id: str) -> str:
    return (
        "from torch.utils.data import DataLoader\n"
        "from medshard.loaders import ShardDataset\n"
        f'dataset = ShardDataset("{store.root}", ["{entry_id}"], patch_size=(32, 96, 96))\n'
        "for batch in DataLoader(dataset, batch_size=2, num_workers=2):\n"
        '    print(batch["case_id"], batch["image"].shape, batch["label"].shape)'
    )


def _versions() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            yield package, "not installed"


def _times(shape: Any) -> str:
    return BY.join(str(size) for size in shape)


def _steps(spacing_mm: Any) -> str:
    return BY.join(f"{step:.3g}" for step in spacing_mm)
