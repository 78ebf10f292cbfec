"""The chain of one entry, from its sources to its shards, without Dagster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from medshard.errors import MedshardError
from medshard.pipelines.execution.map_cases import Execution
from medshard.pipelines.inclusion_gate import refuse_bad_input
from medshard.pipelines.stages.cases import build_cases
from medshard.pipelines.stages.fingerprint import build_fingerprint
from medshard.pipelines.stages.layout_support import refuse_unread_layout
from medshard.pipelines.stages.plan_freezing import require_plan
from medshard.pipelines.stages.raw import build_raw
from medshard.pipelines.stages.shards import build_shards
from medshard.pipelines.stages.stage import STAGES, Context, StageResult
from medshard.pipelines.stages.volumes import build_volumes
from medshard.registry.acquisition.options import AcquisitionOptions
from medshard.registry.catalog import Catalog
from medshard.registry.store.leases import hold_lease
from medshard.registry.store.manifests import Head, read_manifest, require_head
from medshard.registry.store.objects import Store

RECIPE_STAGES = ("split", "pretrained", "finetuned", "evaluation")


def build(
    root: str | Path | Store,
    entry_id: str,
    *,
    to: str = "shards",
    plan: str = "default",
    catalog: Catalog | None = None,
    execution: Execution | None = None,
    progress: bool = False,
    acquisition: AcquisitionOptions | None = None,
    on_stage: Callable[[StageResult], None] | None = None,
) -> list[StageResult]:
    """Build an entry up to a stage; what is there already is not made again.

    on_stage: called after each stage. Raises CatalogError (also when the cases fail a criterion that the entry calls
    blocking), AcquisitionError and StoreError; the faults of single cases are in the results instead.
    """
    store = root if isinstance(root, Store) else Store.open(root)
    catalog = catalog or Catalog.load()
    context = Context(
        store=store,
        catalog=catalog,
        entry=catalog.entry(entry_id),
        execution=execution or Execution(),
        progress=progress,
        acquisition=acquisition or AcquisitionOptions(),
    )
    if to == "shards":
        require_plan(context.entry, plan)
    if to != "raw":
        refuse_unread_layout(context.entry)  # before hours of download, not after
    results: list[StageResult] = []
    with hold_lease(store, entry_id):
        store.sweep_scratch()
        for stage in STAGES[: stage_number(to) + 1]:
            if stage == "volumes":
                refuse_bad_input(store, context.entry)
            results.append(build_stage(context, stage, plan=plan, before=results[-1] if results else None))
            if on_stage is not None:
                on_stage(results[-1])
    return results


def is_current(store: Store, entry_id: str, *, plan: str = "default", catalog: Catalog | None = None) -> bool:
    """Whether a build up to `shards` would find nothing to do. Reads records and hashes local sources, no voxels."""
    catalog = catalog or Catalog.load()
    context = Context(store=store, catalog=catalog, entry=catalog.entry(entry_id), dry=True)
    result: StageResult | None = None
    try:
        for stage in STAGES:
            result = build_stage(context, stage, plan=plan, before=result)
    except MedshardError as error:
        if error.code == "stage.work_needed":
            return False
        raise
    return True


def build_stage(
    context: Context, stage: str, *, plan: str = "default", before: StageResult | None = None
) -> StageResult:
    """One stage; `before` is the result of the stage before it, which is built where it is not given."""
    if stage == "raw":
        return build_raw(context)
    if stage == "shards":
        return build_shards(context, plan, before)
    return _MIDDLE[stage](context, before)


_MIDDLE: Mapping[str, Callable[[Context, StageResult | None], StageResult]] = MappingProxyType(
    {"cases": build_cases, "volumes": build_volumes, "fingerprint": build_fingerprint}
)


def stage_number(stage: str) -> int:
    """Raises MedshardError[stage.unknown]."""
    if stage not in STAGES:
        raise MedshardError(
            "stage.unknown",
            where=stage,
            problem="there is no stage of this name",
            details={"stages": ", ".join(STAGES)},
        )
    return STAGES.index(stage)


def where(store: Store, name: str, stage: str, plan: str = "default") -> list[Path]:
    """The paths of a stage's current objects: of its records, then of what belongs to it.

    name: an entry, or a training recipe with its stages. For `shards` these are the shard files, then the index.
    """
    if stage not in (*STAGES, *RECIPE_STAGES):
        raise MedshardError(
            "stage.unknown",
            where=stage,
            problem="there is no stage of this name",
            details={"of an entry": ", ".join(STAGES), "of a recipe": ", ".join(RECIPE_STAGES)},
        )
    head: Head = require_head(store, name, stage, plan if stage == "shards" else None)
    records = read_manifest(store, head.manifest).records
    # Small cases share one object.
    paths = list(dict.fromkeys(store.path(record.output) for record in records if record.output is not None))
    attached = sorted(head.attachments.items(), key=lambda item: (not item[0].startswith("shard-"), item[0]))
    return list(dict.fromkeys((*paths, *(store.path(ref) for _, ref in attached))))
