"""Plans are resolved once, when an entry's fingerprint is first there, and stay as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from medshard.converters.fingerprint import Facts
from medshard.converters.plan import Plan, declaration_digest, read_plan
from medshard.converters.plan_resolution import resolve_plan
from medshard.errors import CatalogError
from medshard.pipelines.stages.stage import Context, current_head
from medshard.pipelines.user_plans import plans_of
from medshard.registry.schema import Entry, PlanDeclaration
from medshard.registry.store.digests import canonical_json
from medshard.registry.store.objects import ObjectRef

FINGERPRINT = "fingerprint"
PREFIX = "plan-"
DEFAULT = "default"


@dataclass(frozen=True, kw_only=True)
class FrozenPlans:
    """attachments: `plan-<name>` -> the plan, for the HEAD of the fingerprint. left_out: name -> why it has none."""

    attachments: Mapping[str, ObjectRef]
    left_out: Mapping[str, str]


def freeze_plans(context: Context, fingerprints: Mapping[str, Facts]) -> FrozenPlans:
    """Resolve and publish the plans of an entry and those of the user.

    A plan that was frozen before stays while its declaration does, also when cases are added; one that is not declared
    at present is kept, so that it is the same when it is declared again. A plan that does not fit the entry is left
    out, and `frozen_plan` says why; the plan `default` has to fit.
    Raises CatalogError as `resolve_plan` and `plans_of` do.
    """
    head = current_head(context, FINGERPRINT)
    before = {name: ref for name, ref in (head.attachments if head else {}).items() if name.startswith(PREFIX)}
    attachments = {name: ref for name, ref in before.items() if context.store.has(ref)}
    left_out: dict[str, str] = {}
    if not fingerprints:
        return FrozenPlans(attachments={}, left_out={})
    for name, declaration in plans_of(context.entry).items():
        stated = declaration.stated()
        frozen = attachments.get(f"{PREFIX}{name}")
        if frozen and read_plan(context.store, frozen).recipe_digest == declaration_digest(stated):
            continue
        attachments.pop(f"{PREFIX}{name}", None)
        try:
            plan = resolve_plan(name, context.entry.id, stated, fingerprints)
        except CatalogError as error:
            if name == DEFAULT:
                raise
            left_out[name] = error.problem
        else:
            document = canonical_json(plan.to_document())
            attachments[f"{PREFIX}{name}"] = context.store.publish_bytes(document, ".plan.json")
    return FrozenPlans(attachments=dict(sorted(attachments.items())), left_out=left_out)


def require_plan(entry: Entry, name: str) -> PlanDeclaration:
    """Raises CatalogError[plan.unknown] for a plan that neither the entry nor the user declares."""
    plans = plans_of(entry)
    if name not in plans:
        raise CatalogError(
            "plan.unknown",
            where=f"{entry.id}@{name}",
            problem="there is no plan of this name",
            details={"there are": ", ".join(plans)},
            action="Declare it under `plans` of the entry, or in a file that MEDSHARD_PLANS names.",
        )
    return plans[name]


def frozen_plan(
    context: Context, name: str, attachments: Mapping[str, ObjectRef], fingerprints: Mapping[str, Facts]
) -> tuple[ObjectRef, Plan]:
    """The plan as it was frozen. Raises CatalogError[plan.kind], and what else kept it from being so."""
    declaration = require_plan(context.entry, name)
    if (ref := attachments.get(f"{PREFIX}{name}")) is not None:
        return ref, read_plan(context.store, ref)
    resolve_plan(name, context.entry.id, declaration.stated(), fingerprints)
    raise CatalogError(
        "plan.not_frozen",
        where=f"{context.entry.id}@{name}",
        problem="the plan fits the entry, and its fingerprint was built before it was declared",
        action="Build the fingerprint again.",
    )
