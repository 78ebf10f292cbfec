"""A folder on disk -> the draft of an entry, with a remark beside every guess and `TODO` where only a person knows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medshard.pipelines.adding.attached import Group
from medshard.pipelines.adding.case_groups import DraftedGroup, Material, bare_names, drafted_group
from medshard.pipelines.adding.conventions import declared
from medshard.pipelines.adding.families import families
from medshard.pipelines.adding.groups import groups
from medshard.pipelines.adding.keys import common_start
from medshard.pipelines.adding.kinds import Kind, KnownFamily, series_asker, with_kinds
from medshard.pipelines.adding.labels import Reading
from medshard.pipelines.adding.notes import Noted, as_yaml, plain, sentences
from medshard.pipelines.adding.row_files import read_table
from medshard.pipelines.adding.samples import grid_asker
from medshard.pipelines.adding.walk import FoundFiles, walk
from medshard.registry.concepts import load_concepts
from medshard.registry.vocabulary import Group as Field
from medshard.registry.vocabulary import Modality, Region

_DIMENSIONS = {Kind.PICTURE: 2, Kind.SLIDE: 2, Kind.SIGNAL: 1, Kind.VIDEO: 2, Kind.TABLE: 1}
HEAD = ("Drafted by `medshard add`. Every guess says why; `TODO` is for a person.", "Then: medshard check FILE")
_MOST_GROUPS = 40
_MOST_TABLES = 30
_REGIONS = {
    "liver": (Region.LIVER, Field.ABDOMEN),
    "pancreas": (Region.PANCREAS, Field.ABDOMEN),
    "kidney": (Region.KIDNEY, Field.ABDOMEN),
    "prostate": (Region.PROSTATE, Field.ABDOMEN),
    "spleen": (Region.ABDOMEN, Field.ABDOMEN),
    "abdomen": (Region.ABDOMEN, Field.ABDOMEN),
    "polyp": (Region.COLORECTUM, Field.ABDOMEN),
    "colon": (Region.COLORECTUM, Field.ABDOMEN),
    "brain": (Region.BRAIN, Field.BRAIN),
    "hippocampus": (Region.BRAIN, Field.BRAIN),
    "lung": (Region.LUNG, Field.THORAX),
    "heart": (Region.HEART, Field.THORAX),
    "chest": (Region.THORAX, Field.THORAX),
    "breast": (Region.BREAST, Field.THORAX),
    "retina": (Region.EYE, Field.EYES),
    "fundus": (Region.EYE, Field.EYES),
    "optic": (Region.EYE, Field.EYES),
    "vertebra": (Region.SPINE, Field.SKELETON),
    "spine": (Region.SPINE, Field.SKELETON),
    "tooth": (Region.TEETH, Field.HEAD_AND_NECK),
    "thyroid": (Region.THYROID, Field.HEAD_AND_NECK),
    "skin": (Region.SKIN, Field.LESION),
}
_MODALITY_GROUPS = {Modality.ECG: Field.SIGNALS, Modality.EEG: Field.SIGNALS, Modality.PHYSIOLOGY: Field.SIGNALS}


@dataclass(frozen=True, kw_only=True)
class Draft:
    """text: the catalog file. entry: its id. summary: lines for the terminal. cases: in all groups."""

    text: str
    entry: str
    summary: tuple[str, ...]
    cases: int


@dataclass(frozen=True)
class Source:
    """The folder: its name, and its path as the entry gives it."""

    name: str
    path: str


def draft(folder: Path, *, entry_id: str | None = None, modality: Modality | None = None, beside: Path) -> Draft:
    """Look at a folder and draft its entry. Nothing is written anywhere.

    beside: the folder that the catalog file will lie in; the source's path is relative to it where it can be.
    Raises AcquisitionError[folder.missing].
    """
    found = walk(folder)
    vocabulary = load_concepts()
    known = with_kinds(families(found.paths, series_asker(found)), found)
    made, left = groups(known, grid_asker(found))
    shown = made[:_MOST_GROUPS]
    said = declared(found)
    tables = [table for one in left if one.kind is Kind.TABLE for row in one.family.rows
              if (table := read_table(found, row.path)) is not None][:_MOST_TABLES]  # fmt: skip
    name = folder.resolve().name
    material = Material(
        reading=Reading(found, vocabulary, said.label_names),
        declared=said,
        tables=tables,
        left=left,
        about=f"{name} {common_start(list(found.paths))}",
        modality=modality,
    )
    drafted = [drafted_group(group, prefix, material) for group, prefix in zip(shown, _prefixes(shown), strict=True)]
    entry = entry_id or _id_of(name)
    document = _document(entry, Source(name, _path(folder, beside)), drafted, known, material.about)
    summary = _summary(found, drafted, made, left, said.conventions)
    head = "".join(f"# {line}\n" for line in (*HEAD, *summary))
    text = f"{head}format_version: 1\nentries:\n{_listed(document)}"
    return Draft(text=text, entry=entry, summary=summary, cases=sum(len(group.cases) for group in drafted))


def _listed(document: Mapping[str, Any]) -> str:
    """The entry as the one item of a list."""
    lines = as_yaml(document, 4).splitlines()
    lines[0] = f"  - {lines[0].lstrip()}"
    return "\n".join(lines) + "\n"


def _id_of(name: str) -> str:
    made = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return made if re.match(r"[a-z0-9]", made) else "my-data-set"


def _prefixes(made: Sequence[Group]) -> list[str]:
    """What keeps names of cases apart where groups would share them: the part of the split, or a number."""
    names = [set(bare_names(group)) for group in made]
    prefixes: list[str] = []
    for number, group in enumerate(made):
        clash = any(names[number] & other for place, other in enumerate(names) if place != number)
        prefix = (f"{group.split}_" if group.split else f"group{number + 1}_") if clash else ""
        if prefix in prefixes and prefix:
            prefix = f"{prefix}{number + 1}_"
        prefixes.append(prefix)
    return prefixes


def _document(
    entry: str, source: Source, drafted: Sequence[DraftedGroup], known: Sequence[KnownFamily], about: str
) -> dict[str, Any]:
    modalities = list(dict.fromkeys(str(one) for group in drafted for one in group.modalities)) or ["other"]
    concepts = _concepts(drafted)
    regions, fields = _regions(concepts, about, drafted)
    cases = sum(len(group.cases) for group in drafted)
    document: dict[str, Any] = {
        "id": entry,
        "title": Noted(source.name.replace("_", " "), "TODO the name in words"),
        "description": Noted(f"Files of the folder {source.name}.", "TODO what it shows, who made it, for what"),
        "version": Noted("1", "TODO the release"),
        "groups": Noted([str(field) for field in fields], "TODO guessed from the labels and names"),
        "modalities": modalities,
        **(
            {"regions": Noted([str(region) for region in regions], "guessed from the labels and names")}
            if regions
            else {}
        ),
        "tasks": Noted(_tasks(drafted), "guessed: what the annotations are good for"),
        "dimensions": sorted({_DIMENSIONS.get(group.kind, 3) for group in drafted}) or [3],
        "source": {
            "cases": cases,
            "labelled": _labelled(drafted, cases),
            "formats": sorted({"wfdb" if one.format.startswith(".") else one.format for one in known if one.format}),
        },
        "licence": Noted({"id": "LicenseRef-unknown"}, "TODO an SPDX id such as CC-BY-4.0, or LicenseRef-<name>"),
        "access": {
            "kind": Noted("agreement", "TODO open, account, agreement or unavailable"),
            "instructions": Noted("Ask whoever brought this folder.", "TODO what others have to do for the data"),
        },
        "maturity": "described",
        "confidence": "partly",
        "doubts": list(dict.fromkeys(doubt for group in drafted for doubt in group.doubts)) or ["No case was found."],
        "acquisition": [{"kind": "folder", "path": source.path}],
        "cases": [group.fields for group in drafted],
    }
    document["source"] = {field: value for field, value in document["source"].items() if value not in (None, [])}
    return document


def _path(folder: Path, beside: Path) -> str:
    """Relative to the catalog file where the folder lies beside or below it."""
    full = folder.resolve()
    try:
        return full.relative_to(beside.resolve()).as_posix()
    except ValueError:
        return full.as_posix()


def _concepts(drafted: Sequence[DraftedGroup]) -> list[str]:
    names = []
    for group in drafted:
        fields = plain(group.fields)
        for spec in (*fields.get("labels", {}).values(), *fields.get("annotations", {}).values()):
            names += [*spec.get("classes", {}).values(), *spec.get("values", {}).values()]
            names += [one["concept"] for one in spec.get("maps", ())]
    return [name for name in dict.fromkeys(names) if not name.startswith("TODO")]


def _regions(concepts: Sequence[str], about: str, drafted: Sequence[DraftedGroup]) -> tuple[list[Region], list[Field]]:
    counted: Counter[tuple[Region, Field]] = Counter()
    for text in (*concepts, about.lower()):
        counted.update(pair for word, pair in _REGIONS.items() if word in text.lower())
    signals = [_MODALITY_GROUPS[one] for group in drafted for one in group.modalities if one in _MODALITY_GROUPS]
    if signals:
        return [], signals[:1]
    regions = list(dict.fromkeys(region for (region, _), _ in counted.most_common(3)))
    fields = list(dict.fromkeys(field for (_, field), _ in counted.most_common(3)))
    return regions, fields or [Field.MIXED]


def _tasks(drafted: Sequence[DraftedGroup]) -> list[str]:
    kinds = {spec["kind"] for group in drafted for spec in plain(group.fields).get("annotations", {}).values()}
    tasks = ["segmentation"] if any("labels" in group.fields for group in drafted) else []
    tasks += ["classification"] if kinds & {"class-folder", "class-table"} else []
    tasks += ["detection"] if "boxes" in kinds else []
    tasks += ["report-generation"] if "report" in kinds else []
    return tasks or ["self-supervised"]


def _labelled(drafted: Sequence[DraftedGroup], cases: int) -> int | None:
    """None where annotations are optional: then only a build knows."""
    if not any("labels" in group.fields or "annotations" in group.fields for group in drafted):
        return 0
    return cases if all("labels" in group.fields for group in drafted) and not any(
        spec.get("optional") for group in drafted for spec in plain(group.fields)["labels"].values()
    ) else None  # fmt: skip


def _summary(
    found: FoundFiles,
    drafted: Sequence[DraftedGroup],
    made: Sequence[Group],
    left: Sequence[KnownFamily],
    conventions: Sequence[str],
) -> tuple[str, ...]:
    cases = sum(len(group.cases) for group in drafted)
    patients = sum(group.patients for group in drafted)
    lines = [f"{len(found.paths)} files: {cases} cases in {len(drafted)} groups, {patients} patients by this reading"]
    lines += [f"looks like {convention}" for convention in conventions]
    if len(made) > len(drafted):
        lines.append(f"{len(made) - len(drafted)} further groups are left out; the layout may be beyond guessing")
    used = frozenset().union(*(group.used for group in drafted))
    unused = [row.path for one in left if one.kind is not Kind.DATA for row in one.family.rows if row.path not in used]
    if unused:
        lines.append(f"{len(unused)} files belong to no case: {sentences(sorted(unused))}")
    for what, paths in (
        ("passed over (desktop leftovers)", found.junk),
        ("for people", found.about),
        ("archives, not looked into: unpack them", found.archives),
        ("empty files", found.empty),
        ("links, not followed", found.links),
    ):
        if paths:
            lines.append(f"{len(paths)} {what}: {sentences(paths)}")
    if found.cut:
        lines.append("there are more files than are looked at; the rest follows the same templates, or nobody knows")
    return tuple(lines)
