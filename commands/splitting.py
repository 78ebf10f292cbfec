"""Splits: made, shown, checked against what is known today, and held against the split as shipped."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from medshard.commands.choosing import echo_lines, json_option, root_option
from medshard.commands.tables import Column, table, terminal_width

if TYPE_CHECKING:
    from medshard.registry.splits import Leak, Split, SplitCase

DEFAULT_SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}
DEFAULT_SHARES_OF_FOLDS = {"train": 0.8, "val": 0.0, "test": 0.2}
SHOWN = 20
CASES_SHOWN = 4


@click.group()
def split() -> None:
    """Train, val and test, or folds, in which nobody stands on two sides."""


@split.command()
@click.argument("name")
@click.argument("entry_ids", nargs=-1, required=True, metavar="ENTRY...")
@click.option("--fractions", help="Of train, val and test, such as 0.7,0.1,0.2; of train and test with --folds.")
@click.option("--folds", type=click.IntRange(2), help="A cross-validation over what is not in test.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--stratify",
    default="entry,modality,site,class",
    show_default=True,
    help="What each part shall have its share of; `none` for nothing.",
)
@click.option("--previous", help="Name or digest of a split whose parts stay. A taken NAME goes on from itself.")
@click.option("--afresh", is_flag=True, help="A taken NAME is dealt anew: what was tested may be trained on then.")
@click.option(
    "--hold-out", "held_out", multiple=True, metavar="ENTRY", help="Dealt though it shares people with others."
)
@click.option(
    "--unknown-patients",
    type=click.Choice(["together", "separate"]),
    default="together",
    show_default=True,
    help="Entries whose patients nobody can tell apart: never held out, or each case a patient.",
)
@click.option("--suspected", is_flag=True, help="Overlaps that are only suspected count as known ones.")
@click.option("--unlabelled-too", is_flag=True, help="Cases without labels are held out as well.")
@click.option("--shipped", is_flag=True, help="The parts as shipped, without their leaks; no shares then.")
@json_option
@root_option
def make(
    name: str,
    entry_ids: tuple[str, ...],
    fractions: str | None,
    folds: int | None,
    seed: int,
    stratify: str,
    previous: str | None,
    afresh: bool,
    held_out: tuple[str, ...],
    unknown_patients: str,
    suspected: bool,
    unlabelled_too: bool,
    shipped: bool,
    as_json: bool,
    root: str,
) -> None:
    """Split the cases of built entries and keep the table under NAME."""
    from medshard.pipelines.splitting import make_named_shipped_split, make_named_split
    from medshard.registry import Catalog
    from medshard.registry.splits import SplitRules
    from medshard.registry.store import Store

    store, catalog = Store.open(root, create=False), Catalog.load()
    if shipped:
        if fractions or folds or previous or afresh or held_out:
            raise click.UsageError("--shipped takes the parts as they were shipped: no shares, folds or previous split")
        _, made = make_named_shipped_split(store, catalog, name, entry_ids)
    else:
        rules = SplitRules(
            fractions=_shares(fractions, folds or 0),
            seed=seed,
            folds=folds or 0,
            stratify=() if stratify == "none" else tuple(stratify.split(",")),
            unknown_patients="separate" if unknown_patients == "separate" else "together",
            held_out=held_out,
            suspected=suspected,
        )
        _, made = make_named_split(
            store, catalog, name, entry_ids, rules, previous=previous, afresh=afresh, unlabelled_too=unlabelled_too
        )
    _echo_split(name, made, as_json=as_json)


@split.command()
@click.argument("name", required=False)
@json_option
@root_option
def show(name: str | None, as_json: bool, root: str) -> None:
    """The parts of a split: patients, cases, classes, and what is left out and why. Without NAME, the names."""
    from medshard.registry.splits import load_split, split_names
    from medshard.registry.store import Store

    store = Store.open(root, create=False)
    if name is None:
        echo_lines(split_names(store))
        return
    _echo_split(name, load_split(store, name), as_json=as_json)


@split.command()
@click.argument("name", metavar="NAME|FILE")
@click.option("--suspected", is_flag=True, help="Overlaps that are only suspected count as known ones.")
@json_option
@root_option
def check(name: str, suspected: bool, as_json: bool, root: str) -> None:
    """Hold a split against what is known today. Fails when somebody is on two sides."""
    from medshard.pipelines.splitting import check_named_split
    from medshard.registry import Catalog
    from medshard.registry.store import Store

    leaks = check_named_split(Store.open(root, create=False), Catalog.load(), name, suspected=suspected)
    _echo_leaks(name, leaks, as_json=as_json)
    if leaks:
        raise click.exceptions.Exit(1)


@split.command()
@click.argument("entry_ids", nargs=-1, required=True, metavar="ENTRY...")
@json_option
@root_option
def shipped(entry_ids: tuple[str, ...], as_json: bool, root: str) -> None:
    """The split that entries were shipped with, and who is on two sides of it."""
    from medshard.pipelines.splitting import check_shipped_split
    from medshard.registry import Catalog
    from medshard.registry.store import Store

    cases, leaks = check_shipped_split(Store.open(root, create=False), Catalog.load(), entry_ids)
    if not as_json:
        _echo_shipped(cases)
    _echo_leaks("the split as shipped", leaks, as_json=as_json)


def _shares(text: str | None, folds: int) -> dict[str, float]:
    if text is None:
        return dict(DEFAULT_SHARES_OF_FOLDS if folds else DEFAULT_SHARES)
    try:
        shares = [float(part) for part in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"{text!r}: numbers with commas between them", param_hint="--fractions") from None
    parts = ("train", "test") if folds and len(shares) == 2 else ("train", "val", "test")
    if len(shares) != len(parts):
        raise click.BadParameter(f"{text!r}: expected one each of {', '.join(parts)}", param_hint="--fractions")
    return dict(zip(parts, shares, strict=True))


def _echo_split(name: str, shown: Split, *, as_json: bool) -> None:
    if as_json:
        document = {
            "name": name,
            "digest": shown.digest,
            **shown.making.to_json(),
            "cases": shown.counts(),
            "left_out": [case.to_json() for case in shown.left_out],
        }
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    click.echo(f"{name}: {shown.digest}")
    echo_lines(table(_PLACE_COLUMNS, list(_place_rows(shown)), terminal_width()))
    strata = list(_stratum_rows(shown))
    if strata:
        click.echo()
        places = list(dict.fromkeys(place for counts in shown.making.balance.values() for place in counts))
        columns = (Column("components with"), *(Column(place, right=True) for place in _sorted(places)))
        echo_lines(table(columns, strata, terminal_width()))
    for note in shown.making.notes:
        click.echo(f"note: {note}")
    for reason, count in Counter((case.entry, case.left_out, case.reason) for case in shown.left_out).most_common(
        SHOWN
    ):
        entry, code, text = reason
        click.echo(f"left out: {count} of {entry} ({code}): {text}")
    more = len({(case.entry, case.left_out, case.reason) for case in shown.left_out}) - SHOWN
    if more > 0:
        click.echo(f"left out: and for {more} more reasons; --json has them all")


_PLACE_COLUMNS = (
    Column("part"),
    Column("components", right=True),
    Column("patients", right=True),
    Column("cases", right=True),
    Column("synthetic", right=True, rank=1),
)


def _place_rows(shown: Split) -> Iterator[tuple[str, ...]]:
    from medshard.registry.splits import PARTS

    folds = [str(number) for number in range(shown.making.folds)]
    for place in (*PARTS, *(f"fold {number}" for number in folds)):
        rows = [row for row in shown.rows if place in (row.part, f"fold {row.fold}")]
        if rows or place in PARTS:
            yield (
                place,
                f"{len({row.component for row in rows}):,}",
                f"{len({(row.entry, row.patient) for row in rows}):,}",
                f"{len(rows):,}",
                f"{sum(row.synthetic for row in rows):,}",
            )
    yield ("left out", "", "", f"{len(shown.left_out):,}", "")


def _stratum_rows(shown: Split) -> Iterator[tuple[str, ...]]:
    """All that was dealt, then what the parts shall have evenly, the rarest first."""
    balance = shown.making.balance
    places = _sorted(dict.fromkeys(place for counts in balance.values() for place in counts))
    ordered = sorted(balance, key=lambda label: (label != "all", sum(balance[label].values()), label))
    for label in ordered[:SHOWN]:
        text = "a label (dealt)" if label == "all" else label.replace(":", " ", 1)
        yield (text, *(f"{balance[label].get(place, 0):,}" for place in places))
    if len(ordered) > SHOWN:
        yield (f"and {len(ordered) - SHOWN} more", *("" for _ in places))


def _sorted(places: Iterable[str]) -> list[str]:
    order = {"train": 0, "val": 1, "test": 2}
    return sorted(places, key=lambda place: (order.get(place, 3), int(place[5:]) if place.startswith("fold ") else 0))


def _echo_shipped(cases: Iterable[SplitCase]) -> None:
    counts: Counter[tuple[str, str]] = Counter()
    patients: dict[tuple[str, str], set[str]] = {}
    for case in cases:
        key = (case.entry, case.shipped or "not said")
        counts[key] += 1
        patients.setdefault(key, set()).add(case.patient)
    rows = [
        (entry, part, f"{count:,}", f"{len(patients[entry, part]):,}")
        for (entry, part), count in sorted(counts.items())
    ]
    columns = (Column("entry"), Column("shipped as"), Column("cases", right=True), Column("patients", right=True))
    echo_lines(table(columns, rows, terminal_width()))


def _echo_leaks(name: str | Path, leaks: tuple[Leak, ...], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([leak.to_json() for leak in leaks], indent=2, ensure_ascii=False))
        return
    if not leaks:
        click.echo(f"{name}: nobody is on two sides, by what is known today")
        return
    kinds = Counter(leak.kind for leak in leaks)
    click.echo(f"{name}: {len(leaks)} leaks ({', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))})")
    for leak in leaks[:SHOWN]:
        click.echo(f"  {leak.kind} {leak.what}" + (f": {leak.evidence}" if leak.evidence else ""))
        for place, cases in leak.cases.items():
            more = f" and {len(cases) - CASES_SHOWN} more" if len(cases) > CASES_SHOWN else ""
            click.echo(f"    {place}: {', '.join(cases[:CASES_SHOWN])}{more}")
        for link in leak.links:
            click.echo(f"    {link.kind}: {'/'.join(link.one)} = {'/'.join(link.other)} ({link.evidence})")
    if len(leaks) > SHOWN:
        click.echo(f"  and {len(leaks) - SHOWN} more; --json has them all")
