"""What a stage that is run alone starts from: the current HEAD of the stage before it, if that is still valid.

A build of the whole chain hands each stage the result of the one before. A stage that a person picks in the UI must not
redo earlier stages behind that person's back, nor work on leftovers of another catalog entry: it takes what is current
and refuses what is not.
"""

from __future__ import annotations

import json
from typing import Any

from medshard.converters.plan import declaration_digest, read_plan
from medshard.errors import StoreError
from medshard.pipelines.inclusion_gate import refuse_bad_input
from medshard.pipelines.stages.stage import STAGES, Context, StageResult
from medshard.pipelines.user_plans import plans_of
from medshard.registry.store.manifests import Head, read_manifest, require_head

# The parts of an entry that decide what files and cases there are.
SOURCE_SECTIONS = ("acquisition", "reencode", "cases", "known_defects")
GATED_STAGES = ("volumes", "fingerprint", "shards")


def stage_input(context: Context, stage: str, plan: str | None = None) -> StageResult | None:
    """The stage before `stage`, as it is in the store; None for `raw`, which has none. Nothing is built.

    plan: of the stage `shards`; it counts as `fingerprint` has frozen it.

    Raises StoreError[stage.not_built, stage.outdated] when it is not there or the catalog entry has changed since, and
    CatalogError[inclusion.blocked] when the cases fail a blocking criterion.
    """
    number = STAGES.index(stage)
    if number == 0:
        return None
    before = current_stage(context, STAGES[number - 1])
    _refuse_edited_entry(context)
    if stage in GATED_STAGES:
        refuse_bad_input(context.store, context.entry)
    if plan is not None:
        _refuse_outdated_plan(context, before.head, plan)
    return before


def current_stage(context: Context, stage: str) -> StageResult:
    """The current state of a stage, in the form in which a build returns it. Raises StoreError[stage.not_built]."""
    head = require_head(context.store, context.entry.id, stage)
    manifest = read_manifest(context.store, head.manifest)
    return StageResult(
        entry=context.entry.id,
        stage=stage,
        plan=None,
        head=head,
        manifest=manifest,
        done=0,
        reused=len(manifest.records),
        seconds=0.0,
        bytes_out=sum(ref.size for ref in {record.output for record in manifest.records if record.output is not None}),
    )


def _refuse_edited_entry(context: Context) -> None:
    head = require_head(context.store, context.entry.id, "raw")
    acquired: dict[str, Any] = json.loads(context.store.read_bytes(head.attachments["entry"]))
    now = context.entry.parameters(*SOURCE_SECTIONS)
    changed = [section for section in SOURCE_SECTIONS if acquired.get(section) != now[section]]
    if changed:
        raise _outdated(
            context, f"the catalog entry says something else under {', '.join(changed)} since `raw` was built"
        )


def _refuse_outdated_plan(context: Context, fingerprint: Head, plan: str) -> None:
    frozen = fingerprint.attachments.get(f"plan-{plan}")
    declared = declaration_digest(plans_of(context.entry)[plan].stated())
    if frozen is None or read_plan(context.store, frozen).recipe_digest != declared:
        raise _outdated(context, f"`fingerprint` was built before plan {plan} was declared as it now is")


def _outdated(context: Context, problem: str) -> StoreError:
    return StoreError(
        "stage.outdated",
        where=context.entry.id,
        problem=problem,
        details={"store": context.store.root},
        action="Build the entry from its first stage on; what has not changed is not made again.",
    )
