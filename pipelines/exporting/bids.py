"""A BIDS data set: images as raw data, label layers as a derivative, persons in `participants.tsv`.

Source: the Brain Imaging Data Structure, version 1.10.0. What it has no name for is written all the same, in folders
that `.bidsignore` names.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medshard import __version__
from medshard.converters.volume import Array, Image, LabelLayer
from medshard.errors import CaseError
from medshard.pipelines.exporting.bids_names import BIDS_VERSION, BidsName, bids_name, sidecar
from medshard.pipelines.exporting.cases import Chosen, ExportCase
from medshard.pipelines.exporting.label_map import same_grid
from medshard.pipelines.exporting.names import safe_names
from medshard.pipelines.exporting.nifti_file import write_nifti
from medshard.pipelines.exporting.papers import (
    PAPERS,
    Report,
    case_facts,
    citation_of,
    write_json,
    write_papers,
    write_tsv,
)
from medshard.pipelines.exporting.permission import check_permission
from medshard.pipelines.exporting.request import ExportRequest
from medshard.pipelines.exporting.target import new_folder
from medshard.registry.places import doi_address, home_of

DERIVATIVE = Path("derivatives/medshard")
ORDER = ("acq", "ce", "run")
PEOPLE: Mapping[str, Mapping[str, Any]] = {
    "sex": {"Description": "sex as stated", "Levels": {"F": "female", "M": "male", "O": "other"}},
    "age_band": {"Description": "age in bands of ten years; exact ages are not kept"},
    "synthetic": {"Description": "whether a program made the images", "Levels": {"true": "yes", "false": "no"}},
}


@dataclass(frozen=True, kw_only=True)
class _Place:
    """An image of a case in the data set. stem: path without the suffix and ending, below the root."""

    image: Image
    name: BidsName
    stem: str

    @property
    def path(self) -> str:
        return f"{self.stem}_{self.name.suffix}.nii.gz"


@dataclass(frozen=True, kw_only=True)
class _Job:
    folder: Path
    request: ExportRequest
    report: Report
    subjects: Mapping[str, str]
    with_sessions: bool
    ignored: set[str] = field(default_factory=set)
    has_labels: set[str] = field(default_factory=set)


def export_bids(request: ExportRequest) -> Path:
    """Write the data set into the output folder. Returns the path of `dataset_description.json`.

    A case is a session where any patient has several. Raises MedshardError[export.licence | export.not_empty].
    """
    check_permission(request.entry, for_own_use=request.for_own_use)
    chosen = request.choose("bids")
    report = Report(form="BIDS", entry=request.entry.id)
    with new_folder(request.output) as folder:
        job = _Job(
            folder=folder,
            request=request,
            report=report,
            subjects=safe_names((case.patient for case in chosen.cases), "bids"),
            with_sessions=max(Counter(case.patient for case in chosen.cases).values()) > 1,
        )
        for case in chosen.cases:
            try:
                report.cases[case.case] = case_facts(case, files=_write_case(job, case))
            except CaseError as error:
                report.left_out[case.case] = f"{error.code}: {error.problem}"
            if request.tell:
                request.tell(case.case)
        _write_documents(job, chosen)
        write_papers(folder, request.store, request.entry, chosen, report, for_own_use=request.for_own_use)
    return request.output / "dataset_description.json"


def _write_case(job: _Job, case: ExportCase) -> dict[str, Any]:
    volume = case.read()
    images = {
        name: image for name, image in volume.images.items() if not job.request.images or name in job.request.images
    }
    if not images:
        raise CaseError("export.no_image", where=case.case, problem="it has no image asked for")
    files: dict[str, Any] = {}
    places = _places(job, case, images)
    for name, place in places.items():
        files[place.path] = {"image": name, **_write_image(job, case, place)}
    for name in case.layer_names:
        layer = volume.labels[name]
        if job.request.wanted and not set(layer.classes.values()) & job.request.wanted:
            continue
        path, facts = _write_layer(job, case, name, layer, list(places.values()))
        files[path] = {"layer": name, **facts}
    return files


def _places(job: _Job, case: ExportCase, images: Mapping[str, Image]) -> dict[str, _Place]:
    """Images that would have one name get a run number, in the order of the case."""
    names = {name: bids_name(image, case.modality) for name, image in images.items()}
    alike: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for name, found in names.items():
        alike[found.datatype, found.suffix, *sorted(found.entities.items())].append(name)
    places = {}
    for name, found in names.items():
        same = alike[found.datatype, found.suffix, *sorted(found.entities.items())]
        entities = {**found.entities, **({"run": str(same.index(name) + 1)} if len(same) > 1 else {})}
        first = [f"sub-{job.subjects[case.patient]}", *([f"ses-{case.name}"] if job.with_sessions else [])]
        parts = [*first, *(f"{key}-{entities[key]}" for key in ORDER if key in entities)]
        stem = "/".join([*first, found.datatype, "_".join(parts)])
        places[name] = _Place(image=images[name], name=found, stem=stem)
        if not found.official:
            job.ignored.add(found.datatype)
            job.report.note(f"image {name}: in {found.datatype}/, which .bidsignore names: {found.why}")
    return places


def _write_image(job: _Job, case: ExportCase, place: _Place) -> dict[str, Any]:
    image = place.image
    written = write_nifti(
        job.folder / place.path,
        image.array,
        image.affine,
        rescale=image.rescale,
        leading=image.leading,
        trusted=image.trusted_geometry,
        exact=job.request.exact,
        where=case.case,
    )
    beside = job.folder / place.path.removesuffix(".nii.gz")
    write_json(beside.with_name(beside.name + ".json"), sidecar(image))
    if place.name.datatype == "dwi":
        beside.with_name(beside.name + ".bval").write_text("0\n", encoding="utf8")
        beside.with_name(beside.name + ".bvec").write_text("0\n0\n0\n", encoding="utf8")
    return written.to_json()


def _write_layer(
    job: _Job, case: ExportCase, name: str, layer: LabelLayer, places: list[_Place]
) -> tuple[str, dict[str, Any]]:
    """A segmentation of the image on whose grid it lies, or of the first one. Returns its path and facts."""
    on_grid = (place for place in places if same_grid(place.image.shape, place.image.affine, layer.shape, layer.affine))
    place = next(on_grid, None)
    drawn_on = place or places[0]
    soft = layer.kind == "soft"
    job.has_labels.add(name)
    desc = safe_names([name], "bids")[name]
    stem = DERIVATIVE / f"{drawn_on.stem}_desc-{desc}_{'probseg' if soft else 'dseg'}"
    array: Array = layer.array[:, None] if soft and len(layer.array) > 1 else layer.array
    written = write_nifti(
        job.folder / f"{stem}.nii.gz",
        array,
        layer.affine,
        rescale=layer.rescale,
        trusted=drawn_on.image.trusted_geometry,
        exact=job.request.exact,
        where=case.case,
    )
    rows = [[value, concept, " ".join(layer.also.get(value, ()))] for value, concept in sorted(layer.classes.items())]
    rows += [[value, "not judged", ""] for value in sorted(layer.ignore)]
    if not soft and not any(value == 0 for value, *_ in rows):
        rows.insert(0, [0, "background", ""])
    write_tsv(job.folder / f"{stem}.tsv", ("index", "name", "also"), rows)
    write_json(
        job.folder / f"{stem}.json",
        {
            "Description": f"label layer {name}, {layer.kind}",
            "Sources": [f"bids::{drawn_on.path}"],
            **({"SpatialReference": f"bids::{drawn_on.path}"} if place else {}),
            "Examined": list(layer.examined),
            **({"Rater": layer.rater} if layer.rater else {}),
            **({"LabelMap": [layer.classes.get(number, "") for number in range(len(layer.array))]} if soft else {}),
        },
    )
    return f"{stem.as_posix()}.nii.gz", written.to_json()


def _write_documents(job: _Job, chosen: Chosen) -> None:
    entry, folder = job.request.entry, job.folder
    made_by = [{"Name": "medshard", "Version": __version__, "Description": "export from canonical volumes"}]
    home = home_of(entry)
    doi = entry.citation.doi if entry.citation and entry.citation.doi else None
    description = {
        "Name": entry.title,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "raw",
        "License": entry.licence.id,
        **({"HowToAcknowledge": citation_of(entry)} if citation_of(entry) else {}),
        **({"ReferencesAndLinks": [doi_address(doi)]} if doi else {}),
        "GeneratedBy": made_by,
        **({"SourceDatasets": [{"URL": home, "Version": entry.version}]} if home else {}),
    }
    write_json(folder / "dataset_description.json", description)
    _write_readme(job)
    ignored = [*PAPERS, *(f"{datatype}/" for datatype in sorted(job.ignored))]
    (folder / ".bidsignore").write_text("".join(f"{line}\n" for line in ignored), encoding="utf8")
    _write_people(job, chosen)
    if job.has_labels:
        derivative = {
            "Name": f"Labels of {entry.title}",
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "derivative",
            "License": entry.licence.id,
            "GeneratedBy": made_by,
        }
        write_json(folder / DERIVATIVE / "dataset_description.json", derivative)


def _write_readme(job: _Job) -> None:
    entry = job.request.entry
    lines = [
        f"# {entry.title}",
        "",
        " ".join(entry.description.split()),
        "",
        f"Terms, attribution and changes: {PAPERS[0]}. Sources of each case: {PAPERS[1]}. Which file is which case:",
        f"{PAPERS[2]}. Labels as they came are in `{DERIVATIVE.as_posix()}`; their tables name their values.",
        "",
        *(f"- {note}" for note in job.report.notes),
    ]
    (job.folder / "README.md").write_text("\n".join(lines).rstrip() + "\n", encoding="utf8")


def _write_people(job: _Job, chosen: Chosen) -> None:
    """One row for each patient, with what all of their cases agree on."""
    cases: dict[str, list[ExportCase]] = defaultdict(list)
    for case in chosen.cases:
        if case.case in job.report.cases:
            cases[case.patient].append(case)
    rows = []
    for patient, of_patient in sorted(cases.items(), key=lambda item: job.subjects[item[0]]):
        stated = [_agreed([case.person.get(fact) for case in of_patient]) for fact in ("sex", "age_band")]
        synthetic = _agreed(["true" if case.synthetic else "false" for case in of_patient])
        rows.append([f"sub-{job.subjects[patient]}", *stated, synthetic])
    write_tsv(job.folder / "participants.tsv", ("participant_id", *PEOPLE), rows)
    write_json(job.folder / "participants.json", PEOPLE)
    job.report.facts["subjects"] = {f"sub-{job.subjects[patient]}": patient for patient in sorted(cases)}


def _agreed(values: list[Any]) -> Any:
    found = {value for value in values if value is not None}
    return found.pop() if len(found) == 1 else None
