"""What the fields of an entry say about one another: the rules that no single field can check.

Each rule yields the field that is wrong and a sentence; all are reported at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from medshard.registry.concepts import Vocabulary
from medshard.registry.schema import CaseGroup, Entry, SplitColumn, SplitField
from medshard.registry.vocabulary import (
    IMPLIED_MODALITIES,
    Confidence,
    Group,
    Maturity,
    Modality,
    PaperField,
    PatientBasis,
    Region,
    SplitName,
    Task,
)

FieldPath = tuple[Any, ...]


@dataclass(frozen=True)
class EntryFault:
    field: FieldPath
    message: str


def check_entry(entry: Entry, vocabulary: Vocabulary) -> tuple[EntryFault, ...]:
    """All faults of one entry that its own fields and the vocabulary of labels can tell."""
    return (*_unknown_concepts(entry, vocabulary), *(fault for rule in _RULES for fault in rule(entry)))


def _unknown_concepts(entry: Entry, vocabulary: Vocabulary) -> Iterator[EntryFault]:
    for field, concept in _named_concepts(entry):
        if concept not in vocabulary:
            near = vocabulary.find(concept)
            names = (near.name,) if near else vocabulary.nearest(concept)
            hint = f"; did you mean {' or '.join(f'`{name}`' for name in names)}?" if names else ""
            yield EntryFault(field, f"no concept is called {concept!r}{hint}")


def _named_concepts(entry: Entry) -> Iterator[tuple[FieldPath, str]]:
    for number, group in enumerate(entry.cases):
        for layer, label in group.labels.items():
            at = ("cases", number, "labels", layer)
            yield from (((*at, "classes", value), concept) for value, concept in label.classes.items())
            yield from (((*at, "also", value), concept) for value, more in label.also.items() for concept in more)
            yield from (((*at, "maps", place, "concept"), soft.concept) for place, soft in enumerate(label.maps))
        for name, annotation in group.annotations.items():
            at = ("cases", number, "annotations", name)
            yield from (((*at, "values", word), concept) for word, concept in annotation.values.items())
            yield from (((*at, "also", word), concept) for word, more in annotation.also.items() for concept in more)
            for concept in annotation.examined or ():
                if concept not in annotation.concepts:
                    yield (*at, "examined"), concept


def _modalities_agree(entry: Entry) -> Iterator[EntryFault]:
    known = {part for modality in entry.modalities for part in parts_of(modality)}
    for number, group in enumerate(entry.cases):
        at = ("cases", number)
        if not set(parts_of(group.modality)) & known:
            yield EntryFault((*at, "modality"), f"{group.modality} is not among the entry's `modalities`")
        for kind in ("images", "meshes", "videos", "signals", "tables", "texts"):
            for name, image in getattr(group, kind).items():
                modality = image.modality or group.modality
                if modality not in known | {Modality.TEXT, Modality.MESH, Modality.OTHER}:
                    yield EntryFault((*at, kind, name, "modality"), f"{modality} is not among the entry's `modalities`")
                if image.sequence is not None and Modality.MR not in parts_of(modality):
                    yield EntryFault((*at, kind, name, "sequence"), f"only MR has a sequence, this is {modality}")


def parts_of(modality: Modality) -> tuple[Modality, ...]:
    """The modality, and what it implies: PET-CT has PT and CT."""
    return (modality, *IMPLIED_MODALITIES.get(modality, ()))


PAPER_MODALITIES = {
    "CT": {Modality.CT, Modality.CTA, Modality.PET_CT, Modality.CBCT},
    "CTA": {Modality.CTA},
    "PET-CT": {Modality.PET_CT},
    "MRI": {Modality.MR},
    "MR": {Modality.MR},
    "CT / MRI": {Modality.CT, Modality.MR},
    "X-ray": {Modality.XRAY},
    "Ultrasound": {Modality.US},
    "Pathology": {Modality.PATHOLOGY},
    "Endoscope": {Modality.ENDOSCOPY},
    "Fundus images": {Modality.FUNDUS},
    "OCT": {Modality.OCT},
    "OCTA": {Modality.OCTA},
    "IOS": {Modality.IOS},
}


def _disagreements_are_told(entry: Entry) -> Iterator[EntryFault]:
    """Where a row of the platform's tables and the source differ, `differences` has to say so."""
    told = {difference.field for difference in entry.differences}
    if PaperField.IDENTITY in told:
        return
    for number, row in enumerate(entry.paper):
        if row.group is None:
            continue
        at = ("paper", number)
        if entry.source.cases is not None and row.images != entry.source.cases and PaperField.SIZE not in told:
            message = f"the row says {row.size}, the source {entry.source.cases}: `differences` has to say why"
            yield EntryFault((*at, "size"), message)
        meant = PAPER_MODALITIES.get(row.modality or "")
        if meant is None:
            yield EntryFault((*at, "modality"), f"the tables have no modality {row.modality!r}")
        elif not meant & set(entry.modalities) and PaperField.MODALITY not in told:
            stated = ", ".join(entry.modalities)
            message = f"the row says {row.modality}, the entry {stated}: `differences` has to say why"
            yield EntryFault((*at, "modality"), message)
        dimension = int(str(row.dimension)[0]) if str(row.dimension) in {"2D", "3D"} else None
        if dimension is None:
            yield EntryFault((*at, "dimension"), f"expected 2D or 3D, found {row.dimension!r}")
        elif dimension not in entry.dimensions and PaperField.DIMENSION not in told:
            message = f"the row says {row.dimension}, the entry {list(entry.dimensions)}: `differences` has to say why"
            yield EntryFault((*at, "dimension"), message)
        if row.group not in entry.groups:
            yield EntryFault(("groups",), f"table {row.table} puts the data set into `{row.group}`")


_REGIONS_OF_GROUP = {
    Group.BRAIN: {Region.BRAIN},
    Group.EYES: {Region.EYE},
    Group.THORAX: {Region.THORAX, Region.LUNG, Region.HEART, Region.BREAST},
    Group.ABDOMEN: {
        Region.ABDOMEN,
        Region.LIVER,
        Region.PANCREAS,
        Region.KIDNEY,
        Region.GASTROINTESTINAL_TRACT,
        Region.COLORECTUM,
        Region.PELVIS,
        Region.PROSTATE,
        Region.PLACENTA,
    },
    Group.SKELETON: {Region.SPINE, Region.RIBS, Region.PELVIS},
    Group.HEAD_AND_NECK: {Region.HEAD_AND_NECK, Region.TEETH, Region.THYROID, Region.VESSEL},
    Group.WHOLE_BODY: {Region.WHOLE_BODY},
}


def _regions_fit_the_groups(entry: Entry) -> Iterator[EntryFault]:
    told = {difference.field for difference in entry.differences}
    if not entry.regions or PaperField.GROUP in told or Region.MULTI_REGION in entry.regions:
        return
    for group in entry.groups:
        fitting = _REGIONS_OF_GROUP.get(group)
        if fitting is not None and not fitting & set(entry.regions):
            regions = ", ".join(entry.regions)
            message = f"group `{group}` does not fit the regions {regions}: mend one, or say why in `differences`"
            yield EntryFault(("regions",), message)


def _classes_are_as_many_as_stated(entry: Entry) -> Iterator[EntryFault]:
    """Two values may mean one concept and two layers may share one, so the count lies between concepts and values.

    A word of a table that stands for none, such as that of a withheld class, may be counted or not.
    """
    stated = entry.source.classes
    if stated is None or not any(group.labels or group.annotations for group in entry.cases):
        return
    values = _labelled_values(entry)
    silent = {(name, word) for group in entry.cases for name, one in group.annotations.items() for word in one.unmapped}
    meanings = {concept or key[1] for key, concept in values.items() if concept or key not in silent}
    if not len(meanings) <= stated <= len(values):
        found = str(len(values)) if len(meanings) == len(values) else f"{len(meanings)} to {len(values)}"
        message = f"{stated} classes are stated, the layers and annotations under `cases` have {found}"
        yield EntryFault(("source", "classes"), message)


def _labelled_values(entry: Entry) -> dict[tuple[str, str], str | None]:
    """(layer, value or word) -> concept, None for a value that stands for none; layers of one name are one."""
    found: dict[tuple[str, str], str | None] = {}
    for group in entry.cases:
        for name, label in group.labels.items():
            found |= {(name, str(value)): concept for value, concept in label.concepts.items()}
            found |= {(name, str(value)): None for value in label.unmapped}
        for name, annotation in group.annotations.items():
            found |= {(name, word): concept for word, concept in annotation.values.items()}
            found |= {(name, word): None for word in annotation.unmapped}
    return found


_PROOF_OF_TASK: dict[Task, Callable[[CaseGroup], bool]] = {
    Task.SEGMENTATION: lambda group: bool(group.labels) or _has(group, "contours", "mesh-labels", "landmarks"),
    Task.CLASSIFICATION: lambda group: (
        bool(group.labels)
        or _has(group, "class-folder", "class-table", "score-table", "events", "report", "boxes", "question-answers")
    ),
    Task.DETECTION: lambda group: (
        bool(group.labels) or _has(group, "boxes", "landmarks", "contours", "events", "class-table", "class-folder")
    ),
    Task.LANDMARKS: lambda group: _has(group, "landmarks", "contours"),
    Task.VQA: lambda group: _has(group, "question-answers"),
    Task.QA: lambda group: _has(group, "question-answers") or bool(group.texts or group.tables),
    Task.REPORT: lambda group: _has(group, "report", "question-answers") or bool(group.texts or group.tables),
}


def _has(group: CaseGroup, *kinds: str) -> bool:
    return any(annotation.kind in kinds for annotation in group.annotations.values())


def _tasks_have_annotations(entry: Entry) -> Iterator[EntryFault]:
    for number, task in enumerate(entry.tasks if entry.cases else ()):
        proof = _PROOF_OF_TASK.get(task)
        if proof is not None and not any(proof(group) for group in entry.cases):
            yield EntryFault(("tasks", number), f"nothing under `cases` is an annotation for {task}")


def _splits_are_possible(entry: Entry) -> Iterator[EntryFault]:
    counted = [split.cases for split in entry.splits if split.cases is not None]
    if entry.source.cases is not None and sum(counted) > entry.source.cases:
        message = f"the parts have {sum(counted)} cases, the source {entry.source.cases}"
        yield EntryFault(("splits",), message)
    if not entry.splits:
        return
    known = {split.name for split in entry.splits}
    for number, group in enumerate(entry.cases):
        named = _parts_named(group) - {SplitName.UNLABELLED, SplitName.EXTRA}
        if missing := sorted(named - known):
            yield EntryFault(("cases", number, "split"), f"`splits` has no part called {', '.join(missing)}")


def _parts_named(group: CaseGroup) -> set[SplitName]:
    split = group.split
    if split is None:
        return set()
    if isinstance(split, SplitName):
        return {split}
    return set(split.values.values()) if isinstance(split, SplitField | SplitColumn) else set(split.files)


def _labels_are_counted(entry: Entry) -> Iterator[EntryFault]:
    if entry.source.labelled == 0 and any(group.labels for group in entry.cases):
        yield EntryFault(("source", "labelled"), "no case is labelled, yet `cases` has label layers")


def _doubt_is_told(entry: Entry) -> Iterator[EntryFault]:
    if entry.confidence in {Confidence.PARTLY, Confidence.MEMORY} and not entry.doubts:
        yield EntryFault(("doubts",), f"confidence `{entry.confidence}` needs `doubts`: what is not certain")
    if entry.confidence is Confidence.VERIFIED and not entry.evidence and entry.maturity is not Maturity.ACQUIRED:
        yield EntryFault(("confidence",), "`verified` by what? `evidence` says where it was read")
    if entry.licence.confidence in {Confidence.PARTLY, Confidence.MEMORY} and not entry.licence.note:
        yield EntryFault(
            ("licence", "note"), f"confidence `{entry.licence.confidence}` needs a `note`: what is not certain"
        )


def _patients_are_no_more_than_cases(entry: Entry) -> Iterator[EntryFault]:
    patients, cases = entry.source.patients, entry.source.cases
    if patients is not None and cases is not None and patients > cases:
        yield EntryFault(
            ("source", "patients"), f"{patients} patients in {cases} {entry.source.unit}: more than there are"
        )


def _channels_are_images(entry: Entry) -> Iterator[EntryFault]:
    kinds = ("images", "meshes", "videos", "signals")
    known = {name for group in entry.cases for kind in kinds for name in getattr(group, kind)}
    for name, plan in entry.plans.items():
        if missing := sorted(set(plan.channels or ()) - known):
            message = f"`cases` has no image called {', '.join(missing)}; it has {', '.join(sorted(known))}"
            yield EntryFault(("plans", name, "channels"), message)


def _patients_are_told(entry: Entry) -> Iterator[EntryFault]:
    for number, group in enumerate(entry.cases):
        if group.patient is None and group.patient_basis is PatientBasis.IDENTIFIED:
            yield EntryFault(("cases", number, "patient_basis"), "identified by what? `patient` is not given")


def _overlaps_are_with_others(entry: Entry) -> Iterator[EntryFault]:
    seen: set[str] = set()
    for number, overlap in enumerate(entry.overlaps):
        if overlap.entry == entry.id:
            yield EntryFault(("overlaps", number, "entry"), "an entry does not overlap itself")
        if overlap.entry in seen:
            yield EntryFault(("overlaps", number, "entry"), f"the overlap with {overlap.entry} stands here twice")
        seen.add(overlap.entry)


_RULES: tuple[Callable[[Entry], Iterator[EntryFault]], ...] = (
    _modalities_agree,
    _disagreements_are_told,
    _regions_fit_the_groups,
    _classes_are_as_many_as_stated,
    _tasks_have_annotations,
    _splits_are_possible,
    _labels_are_counted,
    _doubt_is_told,
    _patients_are_told,
    _patients_are_no_more_than_cases,
    _channels_are_images,
    _overlaps_are_with_others,
)
