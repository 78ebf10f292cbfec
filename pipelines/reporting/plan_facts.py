"""What there is to say of a plan: its declaration, the frozen numbers, and where each of them comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from medshard.converters.plan import Plan, declaration_digest, read_plan
from medshard.pipelines.user_plans import plans_of, user_plans
from medshard.registry.schema import Entry
from medshard.registry.store.manifests import read_head
from medshard.registry.store.objects import Store

FINGERPRINT = "fingerprint"
NOT_BUILT = "not frozen: the fingerprint of the entry is not built"
CHANGED = "declared otherwise since it was frozen: the next build freezes it anew"


@dataclass(frozen=True, kw_only=True)
class PlanFacts:
    """declared: fields as the entry or the user states them. source: `entry` or `file`. state: `frozen`, or why not."""

    entry: str
    name: str
    source: str
    declared: dict[str, Any]
    plan: Plan | None
    state: str

    def to_json(self) -> dict[str, Any]:
        return {
            "entry": self.entry,
            "name": self.name,
            "source": self.source,
            "declared": self.declared,
            "state": self.state,
            "digest": self.plan.digest if self.plan else None,
            "plan": self.plan.to_document() if self.plan else None,
        }


def plan_facts(entry: Entry, store: Store | None) -> list[PlanFacts]:
    """Of all plans of an entry and of the user, the entry's first. store: where frozen ones are looked for.

    Raises CatalogError as `plans_of` does.
    """
    beside = user_plans()
    head = read_head(store, entry.id, FINGERPRINT) if store is not None else None
    found = []
    for name, declaration in plans_of(entry).items():
        declared = declaration.stated()
        plan, state = None, NOT_BUILT
        if store is not None and head is not None:
            ref = head.attachments.get(f"plan-{name}")
            plan = read_plan(store, ref) if ref is not None and store.has(ref) else None
            state = "frozen" if plan is not None else "not frozen: it did not fit the entry, or is newer than the build"
            if plan is not None and plan.recipe_digest != declaration_digest(declared):
                state = CHANGED
        source = "file" if name in beside else "entry"
        found.append(PlanFacts(entry=entry.id, name=name, source=source, declared=declared, plan=plan, state=state))
    return found
