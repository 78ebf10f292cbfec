"""A tree built from what its source packs, and what came out compared with what was drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from trees.annotation_checks import check_annotations
from trees.content_checks import check_columns, check_signals
from trees.offering import offer
from trees.phantom import NOISE
from trees.tree import Expected, MadeTree, Tree

from medshard.converters.canonical import read_volume
from medshard.converters.volume import LabelLayer, Volume
from medshard.errors import CatalogError
from medshard.pipelines.build import build
from medshard.pipelines.stages.layout_support import refuse_unread_layout
from medshard.pipelines.stages.pictures_of_files import each_picture
from medshard.pipelines.stages.raw import raw_files
from medshard.pipelines.stages.shared_rows import with_tabled_facts
from medshard.pipelines.stages.stage import StageResult
from medshard.registry import Catalog
from medshard.registry.acquisition.options import AcquisitionOptions
from medshard.registry.layout import discover
from medshard.registry.schema import Entry
from medshard.registry.store import Store
from medshard.registry.store.records import CaseRecord


@dataclass(frozen=True)
class Built:
    results: Mapping[str, StageResult]
    expected: Expected
    store: Store
    catalog: Catalog
    entry: str

    def record(self, stage: str, case: str) -> CaseRecord:
        record = self.results[stage].manifest.record(case)
        assert record is not None, f"{stage} has no case {case}"
        return record

    def volume(self, case: str) -> Volume:
        record = self.record("volumes", case)
        assert record.error is None, record.error
        assert record.output is not None, f"{case} was not converted: {self.record('cases', case).facts.get('faults')}"
        return read_volume(self.store.path(record.output), record.facts.get("row"))

    @property
    def converted(self) -> list[str]:
        """The cases that have to have a volume: all but those that a fault keeps from every purpose."""
        records = self.results["volumes"].manifest.records
        there = {record.case for record in records if record.output is not None}
        return [case for case in self.expected.cases if case not in self.expected.excluded or case in there]


def build_and_check(made: MadeTree, catalog: Catalog, folder: Path) -> str:
    """Write the tree below `folder`, build its entry from it as far as it goes today, and compare.

    Returns why only names and files were looked at, "" where everything was. Raises AssertionError where a case, a
    patient, a file, a voxel, a row, a fault or a part of a split is not as drawn, and what the build raises.
    """
    entry = catalog.entry(made.entry)
    (folder / "tree" / "root").mkdir(parents=True)
    root = Tree(folder / "tree" / "root")
    expected = made.write(root)
    store = Store.open(folder / "store")
    offered = offer(root, entry, catalog, store)
    options = AcquisitionOptions(accept=frozenset({entry.id}), optional=True, environment={"MEDSHARD_USER": "test"})
    code, missing = not_yet(offered.entry(entry.id))
    results = build(store, entry.id, catalog=offered, acquisition=options, to="raw" if code else "volumes")
    built = Built({result.stage: result for result in results}, expected, store, offered, entry.id)
    check_layout(built)
    if code:
        return f"cases and files are right, the rest waits: {code}: {missing}"
    check_cases(built)
    check_faults(built)
    for case in built.converted:
        check_volume(built, case)
    check_shards(built, options)
    return ""


def not_yet(entry: Entry) -> tuple[str, str]:
    """Code and words of what keeps an entry from being built today; twice "" where nothing does."""
    try:
        refuse_unread_layout(entry)
    except CatalogError as error:
        return error.code, ", ".join(str(value) for value in error.details.values())
    return "", ""


def check_layout(built: Built) -> None:
    """Names, patients and split of the cases, and that every file is claimed by one of them or said to be of no use."""
    entry = built.catalog.entry(built.entry)
    located = {path: file.location for path, file in raw_files(built.store, built.results["raw"].manifest).items()}
    paths = sorted(located)
    found = discover(entry, paths)
    cases = each_picture(entry, found.cases, located).cases
    expected = built.expected
    assert {case.case for case in cases} == set(expected.cases), f"of the files {paths}"
    claimed = set(paths) - set(found.unmatched)
    astray = [
        path
        for path in found.unmatched
        if not is_data_of(path, claimed) and not any(fnmatchcase(path, left) for left in expected.left)
    ]
    assert not astray, "no case needs these files"
    idle = [left for left in expected.left if not any(fnmatchcase(path, left) for path in found.unmatched)]
    assert not idle, "these patterns of `left` match no file that is left"
    many = len(set(expected.cases.values())) > 1 or len(expected.cases) == 1
    assert many, "a tree has two patients at least, but where all of it is one case"
    if expected.split:
        tabled = with_tabled_facts(entry, cases, located)
        assert {case.case: case.split for case in tabled.cases if case.split} == dict(expected.split)


def is_data_of(path: str, headers: set[str]) -> bool:
    """Whether a file holds the voxels or samples of a header that a case has."""
    stem, _, end = path.rpartition(".")
    return any(f"{stem}.{header}" in headers for header in _HEADERS_OF.get(end, ()))


_HEADERS_OF = {
    "raw": ("mhd", "nhdr"),
    "zraw": ("mhd",),
    "img": ("hdr",),
    "hdr": ("img",),
    "dat": ("hea",),
    "mat": ("hea",),
}


def check_cases(built: Built) -> None:
    found = built.results["cases"].manifest.records
    assert {record.case for record in found} == set(built.expected.cases)
    patients = {record.case: record.facts["patient"] for record in found if record.error is None}
    assert patients == {case: built.expected.cases[case] for case in patients}
    modalities = {record.case: record.facts["modality"] for record in found if record.error is None}
    assert {case: modalities[case] for case in built.expected.modality} == built.expected.modality


def check_faults(built: Built) -> None:
    """Planted defects are found by name, cases without any label are told so, and nothing else is held against one."""
    for case in built.expected.cases:
        record = built.record("cases", case)
        codes = {str(record.error["code"])} if record.error else {fault["code"] for fault in record.facts["faults"]}
        wanted = {built.expected.excluded[case]} if case in built.expected.excluded else set()
        unlabelled = not built.expected.labels.get(case) and not built.expected.annotations.get(case)
        allowed = wanted | {"annotation.none"} if unlabelled else wanted
        assert wanted <= codes <= allowed, f"{case}: expected {sorted(allowed)}, found {said(record)}"


def said(record: CaseRecord) -> Any:
    return record.error or record.facts["faults"]


def check_volume(built: Built, case: str) -> None:
    volume, expected = built.volume(case), built.expected
    if case in expected.images:
        shapes = {name: tuple(image.shape) for name, image in volume.images.items()}
        assert shapes == {name: tuple(shape) for name, shape in expected.images[case].items()}
    if case in expected.spacing:
        first = next(iter(volume.images.values()))
        steps = np.sqrt((first.affine[:3, :3] ** 2).sum(axis=0))
        np.testing.assert_allclose(steps, expected.spacing[case], rtol=1e-3)
    if case in expected.labels:
        drawn = {name: {concept: count for concept, count in counts_of(layer).items() if count}
                 for name, layer in volume.labels.items()}  # fmt: skip
        assert drawn == {name: dict(counts) for name, counts in expected.labels[case].items()}, case
    if case in expected.contents:
        kinds = (volume.meshes, volume.slides, volume.videos, volume.signals, volume.tables, volume.texts)
        assert {name for kind in kinds for name in kind} == set(expected.contents[case]), case
    check_columns(volume, expected.columns.get(case, {}), case)
    check_signals(volume, expected.signals.get(case, {}), case)
    if case in expected.annotations:
        check_annotations(volume, expected.annotations[case], case, aligned=expected.aligned)
    if expected.aligned:
        for name, layer in volume.labels.items():
            check_place(volume, layer, f"{case} {name}")


def counts_of(layer: LabelLayer) -> dict[str, int]:
    """concept -> voxels; every instance counts to the concept of its layer."""
    if layer.kind == "soft":
        return {concept: int((layer.array[channel] > 0).sum()) for channel, concept in layer.classes.items()}
    if layer.kind == "instance" and len(set(layer.classes.values())) == 1:
        return {next(iter(layer.classes.values())): int((layer.array > 0).sum())}
    counts: dict[str, int] = {}
    for value, concept in layer.classes.items():
        counts[concept] = counts.get(concept, 0) + int((layer.array == value).sum())
    return counts


def check_place(volume: Volume, layer: LabelLayer, where: str) -> None:
    """A structure has one grey value on the scan that it was drawn on: under a mask that lies elsewhere it has more."""
    if layer.kind == "soft":
        return
    images = [image for image in volume.images.values() if image.shape == layer.shape]
    spreads = []
    for image in images:
        voxels = np.asarray(image.array, float).reshape(-1, *image.shape)[0]
        values = [value for value in np.unique(layer.array) if value]
        spreads.append(max((np.ptp(voxels[layer.array[0] == value]) for value in values), default=0.0))
    assert not spreads or min(spreads) <= 2 * NOISE, f"{where} lies elsewhere than it was drawn"


def check_shards(built: Built, options: AcquisitionOptions) -> None:
    """Every case is a sample of a plan; the plans of an entry may be for one kind of its cases each."""
    sharded: set[str] = set()
    errors: dict[str, object] = {}
    for plan in built.catalog.entry(built.entry).plans:
        shards = build(built.store, built.entry, plan=plan, catalog=built.catalog, acquisition=options)[-1]
        for record in shards.manifest.records:
            if record.error is None:
                sharded.add(record.case)
            else:
                errors[record.case] = record.error["text"]
    wanted = {case for case in built.expected.cases if case not in built.expected.excluded}
    assert wanted <= sharded, {case: errors.get(case) for case in wanted - sharded}
