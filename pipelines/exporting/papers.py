"""What goes with every export: on what terms the data are given, what was changed, and what each file came from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medshard import __version__
from medshard.errors import MedshardError
from medshard.pipelines.exporting.cases import Chosen, ExportCase
from medshard.pipelines.exporting.permission import obstacles
from medshard.registry.acquisition.gates.acceptance import accepted
from medshard.registry.acquisition.gates.terms import facts_of, terms_of
from medshard.registry.places import doi_address, home_of
from medshard.registry.schema import Entry
from medshard.registry.store.objects import Store
from medshard.registry.vocabulary import Access

FORMAT_VERSION = 1
NOTICE, LINEAGE, REPORT = "NOTICE.md", "lineage.json", "export.json"
PAPERS = (NOTICE, LINEAGE, REPORT)


@dataclass(kw_only=True)
class Report:
    """What an export did. cases: case -> what was written of it. left_out: case -> why; notes: what a user must know.

    changes: what differs from the source, for the notice.
    """

    form: str
    entry: str
    cases: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def to_json(self) -> dict[str, Any]:
        return {
            "format_version": FORMAT_VERSION,
            "form": self.form,
            "entry": self.entry,
            "medshard": __version__,
            **self.facts,
            "cases": self.cases,
            "left_out": self.left_out,
            "notes": self.notes,
        }


def case_facts(case: ExportCase, **more: Any) -> dict[str, Any]:
    """What the report says of a case: `name` is the one that its files have."""
    return {
        "name": case.name,
        "patient": case.patient,
        "part": case.part,
        **({"fold": case.fold} if case.fold is not None else {}),
        **({"synthetic": True} if case.synthetic else {}),
        **more,
    }


def write_papers(
    folder: Path, store: Store, entry: Entry, chosen: Chosen, report: Report, *, for_own_use: bool
) -> None:
    """NOTICE.md, lineage.json and export.json. What was written is what `report.cases` names.

    Raises MedshardError[export.no_cases] when nothing was.
    """
    if not report.cases:
        raise MedshardError(
            "export.no_cases",
            where=entry.id,
            problem="no case could be exported",
            details=dict(list(report.left_out.items())[:5]),
            action="Look at --image, --concept and --modality: they have to name what the entry has.",
        )
    report.left_out = dict(sorted({**chosen.left_out, **report.left_out}.items()))
    written = [case for case in chosen.cases if case.case in report.cases]
    _say_what_stays_behind(written, report)
    if chosen.split is not None:
        report.facts["split"] = chosen.split
    notice = "\n".join(_notice(store, entry, report, for_own_use=for_own_use)) + "\n"
    (folder / NOTICE).write_text(notice, encoding="utf8")
    write_json(folder / LINEAGE, _lineage(entry, chosen, written))
    write_json(folder / REPORT, report.to_json())


def _say_what_stays_behind(written: Sequence[ExportCase], report: Report) -> None:
    """Cases may have more than images and label layers, for which the other tools have no place."""
    for kind in ("meshes", "slides", "videos", "signals", "tables", "texts", "annotations"):
        count = sum(bool(case.record.facts.get(kind)) for case in written)
        if count:
            report.note(f"{kind} of {count} case(s) are not exported; they are in the store and in its shards")


def write_json(path: Path, document: Any) -> None:
    """For people and programs: in the order given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf8")


def write_tsv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Tab-separated, `n/a` where nothing is known."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [columns, *rows]
    text = "".join("\t".join(_cell(value) for value in line) + "\n" for line in lines)
    path.write_text(text, encoding="utf8")


def citation_of(entry: Entry) -> str:
    """Text and address of the publication; empty where none is known."""
    if entry.citation is None:
        return ""
    doi = doi_address(entry.citation.doi) if entry.citation.doi else ""
    return ". ".join(part.rstrip(".") for part in (entry.citation.text, doi) if part)


def _cell(value: Any) -> str:
    return "n/a" if value is None or value == "" else " ".join(str(value).split())


def _notice(store: Store, entry: Entry, report: Report, *, for_own_use: bool) -> Iterator[str]:
    against = obstacles(entry)
    yield f"# {entry.title}"
    yield ""
    yield f"A copy of the data set `{entry.id}`, version {entry.version}, in the layout of {report.form}. It was made"
    yield f"by medshard {__version__} and is not the work of the makers of the data set."
    yield ""
    if against and for_own_use:
        yield f"**Not to be handed on.** The licence does not allow it ({' and '.join(against)}: see below)."
        yield "Whoever made this copy said that it is for their own use."
        yield ""
    yield "## Terms"
    yield ""
    for label, words in facts_of(entry):
        yield f"- {label}: {' '.join(words.split())}"
    yield ""
    yield from _acceptance(store, entry)
    yield "## Attribution"
    yield ""
    yield f"- data set: {entry.title}"
    yield f"- to cite: {citation_of(entry) or 'no publication is known'}"
    yield f"- home: {home_of(entry) or 'not known'}"
    yield ""
    yield "## Changes"
    yield ""
    for change in (*CHANGES, *report.changes):
        yield f"- {change}"
    yield ""
    yield f"`{LINEAGE}` names the source files of every case by SHA-256; `{REPORT}` says which file is which case,"
    yield "which cases were left out and why."


CHANGES = (
    "read from the source's own format; of its headers only grid, rescale and the kind of acquisition are kept",
    "axes permuted and flipped so that they run to right, anterior and superior; no voxel value was interpolated",
    "cases and patients are named as medshard names them",
)


def _acceptance(store: Store, entry: Entry) -> Iterator[str]:
    """Who accepted is not said: a copy may go to others."""
    terms = terms_of(entry)
    if not terms.consent and entry.access.kind is Access.OPEN:
        return
    found = accepted(store, entry)
    yield "## Acceptance"
    yield ""
    if found is None:
        yield "In the store that this was made from, nobody's acceptance of these terms is recorded."
    else:
        yield f"The terms (SHA-256 {found.digest}) were accepted on {found.when} for {found.use.value} use."
    yield "Whoever gets this copy has to accept them at the source in their own name."
    yield ""


def _lineage(entry: Entry, chosen: Chosen, written: Sequence[ExportCase]) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "entry": {"id": entry.id, "version": entry.version, "licence": entry.licence.id, "digest": entry.digest},
        "volumes_manifest": chosen.manifest,
        "split": chosen.split,
        "cases": {case.case: _case_lineage(case) for case in written},
    }


def _case_lineage(case: ExportCase) -> Mapping[str, Any]:
    record = case.record
    return {
        "name": case.name,
        "record": {"stage": record.stage, **record.ref.to_json()},
        "inputs": [ref.to_json() for ref in record.inputs],
        "volume": record.output.to_json() if record.output else None,
        "row": record.facts.get("row"),
        "sources": dict(sorted(record.sources.items())),
        "decoders": dict(sorted(record.decoders.items())),
    }
