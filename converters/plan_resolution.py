"""From what an entry declares and what its volumes look like to a frozen plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from medshard.converters.fingerprint import Facts
from medshard.converters.plan import Kind, Plan, declaration_digest
from medshard.converters.plan_declaration import checked_declaration
from medshard.converters.plan_kinds import RULES, Asked, Fields
from medshard.converters.plan_spacing import median_spacing
from medshard.errors import CatalogError

__all__ = ["fitting_kinds", "median_spacing", "resolve_plan"]

STATED = "stated"


def resolve_plan(name: str, entry: str, declaration: Mapping[str, Any], fingerprints: Mapping[str, Facts]) -> Plan:
    """The plan that a declaration becomes on the volumes of an entry.

    declaration: fields of `PlanDeclaration`; what is left out, or None, follows from the fingerprints. Its digest is
        the plan's `recipe_digest`.
    fingerprints: case -> facts of `fingerprint_volume`.

    kind: `volume` without a declaration; `tiles` or `frames` where the first channel is a slide or a video.
    channels: without a declaration the first image name that all cases with images share, else the most common.
    What the kinds do stands in docs/plans.md. Numbers are rounded, so that plans are stable: spacing to 4 decimals (of
    `nnunet` to 6 significant digits, which are its numbers), intensities to 6 significant digits.
    Raises CatalogError[plan.unknown_key], [plan.wrong_value], [plan.kind] where the entry has nothing for the kind, and
    [plan.no_such_image].
    """
    where = f"{entry} plans.{name}"
    given = checked_declaration(declaration, where)
    channels = tuple(given.get("channels") or _default_channels(fingerprints))
    kind = _kind(given, channels, fingerprints, where)
    asked = Asked(given=given, channels=channels, fingerprints=fingerprints)
    fields: Fields = {
        "channels": channels,
        "kernel": given.get("kernel", "cubic"),
        "antialias": given.get("antialias", True),
        **RULES[kind](asked),
    }
    fields["reasons"] = {"channels": STATED if "channels" in given else _why_channels(channels), **fields["reasons"]}
    for size in ("patch_size", "inner_chunk"):
        if size in given:
            fields[size] = tuple(given[size])
            fields["reasons"][size] = STATED
    return Plan(
        name=name,
        entry=entry,
        recipe_digest=declaration_digest(declaration),
        kind=kind,
        shard_bytes=int(given.get("shard_mib", 512)) << 20,
        **fields,
    )


def fitting_kinds(channels: Sequence[str], fingerprints: Mapping[str, Facts]) -> tuple[Kind, ...]:
    """The kinds of plans that the first channel has something for, `volume` first."""
    name = channels[0] if channels else ""
    cases = fingerprints.values()
    if any(name in facts.get("slides", {}) for facts in cases):
        return "volume", "tiles"
    if any(name in facts.get("videos", {}) for facts in cases):
        return "volume", "frames", "clips"
    images = [facts["images"][name] for facts in cases if name in facts["images"]]
    if not images:
        return "volume", "native"
    moving = any(image.get("frames", 1) > 1 for image in images)
    if all(image.get("frames", 1) > 1 for image in images):
        return "volume", "clips"
    in_space = any(image["trusted_geometry"] and image["shape"][0] > 1 for image in images)
    several = any(len(facts["images"]) > 1 for facts in cases)
    fitting: tuple[tuple[Kind, bool], ...] = (
        ("volume", True),
        ("nnunet", True),
        ("isotropic", in_space),
        ("native", True),
        ("slices2d", True),
        ("clips", moving),
        ("pairs", several),
    )
    return tuple(kind for kind, fits in fitting if fits)


def _kind(given: Mapping[str, Any], channels: Sequence[str], fingerprints: Mapping[str, Facts], where: str) -> Kind:
    fitting = fitting_kinds(channels, fingerprints)
    asked: Kind = given.get("kind", "volume")
    if asked == "volume":
        return "tiles" if "tiles" in fitting else "frames" if "frames" in fitting else "volume"
    if asked not in fitting:
        raise CatalogError(
            "plan.kind",
            where=f"{where}.kind",
            problem=f"the entry has nothing for a plan of the kind {asked}",
            details={"fitting": ", ".join(fitting), "channels": ", ".join(channels) or "none"},
            action="Declare a kind that fits, or other channels.",
        )
    known = {name for facts in fingerprints.values() for name in facts["image_order"]}
    if missing := [name for name in channels if name not in known]:
        raise CatalogError(
            "plan.no_such_image",
            where=f"{where}.channels",
            problem=f"no case has an image {', '.join(missing)}",
            details={"images": ", ".join(sorted(known))},
        )
    return asked


def _why_channels(channels: Sequence[str]) -> str:
    return "the image that most cases have, the first of them" if channels else "no case has an image"


def _default_channels(fingerprints: Mapping[str, Facts]) -> tuple[str, ...]:
    orders = [facts["image_order"] for _, facts in sorted(fingerprints.items()) if facts["image_order"]]
    # A Counter keeps the order of first sight, and so do ties of `most_common`.
    counts = Counter(name for order in orders for name in order)
    return tuple(name for name, _ in counts.most_common(1))


assert set(RULES) == set(get_args(Kind))
