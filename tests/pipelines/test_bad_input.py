"""One bad case never stops the others, and its error says which file, what was expected and what to do."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medshard.errors import AcquisitionError, CatalogError, StoreError
from medshard.pipelines.build import build, build_stage
from medshard.pipelines.stages.stage import Context, StageResult
from medshard.registry import Catalog
from medshard.registry.store import Store
from medshard.registry.store.records import CaseRecord

OTHERS = ["p1", "p3", "p4"]


def results_of(scans: Any, store: Store) -> dict[str, StageResult]:
    return {result.stage: result for result in build(store, "crops", catalog=scans.catalog)}


def record(result: StageResult, case: str = "p2") -> CaseRecord:
    found = result.manifest.record(case)
    assert found is not None
    return found


def truncate(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


def without_gzip(path: Path, data: bytes) -> None:
    with gzip.open(path, "wb") as stream:
        stream.write(data)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        pytest.param(truncate, "read.truncated", id="a truncated gzip"),
        pytest.param(lambda path: path.write_bytes(b""), "read.truncated", id="an empty file"),
        pytest.param(
            lambda path: path.write_bytes(b"<html>Not found</html>" * 99), "read.unknown_format", id="a web page"
        ),
        pytest.param(lambda path: without_gzip(path, b"\x00" * 4000), "read.unknown_format", id="zeros in a good gzip"),
    ],
)
def test_an_unreadable_image_excludes_its_case_and_no_other(scans: Any, store: Store, spoil: Any, code: str) -> None:
    spoil(scans.image("p2"))
    results = results_of(scans, store)
    errors = [found.error for result in results.values() for found in result.excluded]
    assert [error["code"] for error in errors if error] == [code]
    error = errors[0]
    assert error is not None
    assert "p2_t1.nii.gz" in error["text"]
    assert "crops/p2" in error["text"]
    assert error["action"]
    assert [found.case for found in results["shards"].manifest.good] == OTHERS
    assert [result.state for result in results.values()].count("degraded") == 1


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        pytest.param(truncate, "read.truncated", id="a truncated gzip"),
        pytest.param(lambda path: path.unlink(), "annotation.missing", id="no file"),
        pytest.param(lambda path: path.write_bytes(b"not an image"), "read.unknown_format", id="text"),
    ],
)
def test_a_bad_mask_costs_supervision_and_leaves_the_scan_to_pretraining(
    scans: Any, store: Store, spoil: Any, code: str
) -> None:
    spoil(scans.mask("p2"))
    results = results_of(scans, store)
    bad = record(results["cases"])
    assert bad.verdicts == {"supervised": [code], "evaluation": [code], "self-supervised": []}
    assert "tissue" in bad.facts["faults"][0]["reason"]
    assert [found.case for found in results["shards"].manifest.good] == ["p1", "p2", "p3", "p4"]
    assert all(record(results["cases"], case).fit_for("supervised") for case in OTHERS)


def test_a_mask_of_another_shape_is_a_mismatch_with_both_shapes(scans: Any, store: Store) -> None:
    mask = nib.load(scans.mask("p2"))
    nib.save(nib.Nifti1Image(np.asarray(mask.dataobj)[:, :, :-1], mask.affine), scans.mask("p2"))
    bad = record(results_of(scans, store)["cases"])
    assert bad.verdicts["supervised"] == ["geometry.mismatch"]
    text = bad.facts["labels"]["tissue"]["error"]
    assert "36x40x32" in text
    assert "36x40x31" in text


def test_a_mask_that_is_shifted_is_not_trusted(scans: Any, store: Store) -> None:
    mask = nib.load(scans.mask("p2"))
    affine = mask.affine.copy()
    affine[0, 3] += 5
    nib.save(nib.Nifti1Image(np.asarray(mask.dataobj), affine), scans.mask("p2"))
    assert record(results_of(scans, store)["cases"]).verdicts["supervised"] == ["geometry.shift"]


def test_label_values_that_the_entry_does_not_name_are_reported(scans: Any, store: Store) -> None:
    mask = nib.load(scans.mask("p2"))
    array = np.asarray(mask.dataobj).copy()
    array[0, 0, 0] = 7
    nib.save(nib.Nifti1Image(array, mask.affine), scans.mask("p2"))
    bad = record(results_of(scans, store)["cases"])
    assert bad.verdicts["supervised"] == ["annotation.unknown_values"]
    assert "values 7" in bad.facts["faults"][0]["reason"]


def test_an_empty_mask_may_be_trained_on_but_not_scored(scans: Any, store: Store) -> None:
    mask = nib.load(scans.mask("p2"))
    nib.save(nib.Nifti1Image(np.zeros(mask.shape, np.uint8), mask.affine), scans.mask("p2"))
    verdicts = record(results_of(scans, store)["cases"]).verdicts
    assert verdicts == {"supervised": [], "evaluation": ["annotation.empty"], "self-supervised": []}


def test_a_repaired_case_comes_back_with_the_next_build(scans: Any, store: Store) -> None:
    good = scans.image("p2").read_bytes()
    truncate(scans.image("p2"))
    assert len(results_of(scans, store)["shards"].manifest.good) == 3
    scans.image("p2").write_bytes(good)
    assert len(results_of(scans, store)["shards"].manifest.good) == 4


def test_a_known_defect_excludes_its_case_with_its_reason(scans: Any, store: Store) -> None:
    text = scans.catalog_file.read_text()
    scans.catalog_file.write_text(
        text + "    known_defects:\n      - {cases: [p2], problem: the head is upside down, action: exclude}\n"
    )
    results = results_of(scans, store)
    assert record(results["cases"]).verdicts["self-supervised"] == ["defect.listed"]
    assert [found.case for found in results["volumes"].manifest.good] == OTHERS


def test_a_wrong_checksum_stops_the_entry_before_anything_is_built(scans: Any, store: Store) -> None:
    text = scans.catalog_file.read_text()
    pinned = f"path: scans\n        files: {{p2_t1.nii.gz: {'a' * 64}}}"
    scans.catalog_file.write_text(text.replace("path: scans", pinned))
    with pytest.raises(AcquisitionError) as caught:
        results_of(scans, store)
    assert caught.value.code == "checksum.mismatch"
    assert caught.value.details["file"] == "p2_t1.nii.gz"
    assert not list(store.root.glob("heads/**/*.json"))


def test_a_layout_that_matches_nothing_says_what_is_there(scans: Any, store: Store) -> None:
    text = scans.catalog_file.read_text().replace("_t1.nii.gz", "_T1.nii.gz")
    scans.catalog_file.write_text(text)
    with pytest.raises(CatalogError, match=r"layout.no_cases(.|\n)*p1_mask.nii.gz"):
        results_of(scans, store)


def test_when_no_case_is_left_the_chain_says_so(scans: Any, store: Store) -> None:
    for case in ("p1", "p2", "p3", "p4"):
        truncate(scans.image(case))
    with pytest.raises(Exception, match="stage.no_cases"):
        results_of(scans, store)


def test_a_scaled_mask_means_its_scaled_values(scans: Any, store: Store) -> None:
    mask = nib.load(scans.mask("p2"))
    scaled = nib.Nifti1Image(np.asarray(mask.dataobj), mask.affine)
    scaled.header.set_slope_inter(2.0, 0.0)
    nib.save(scaled, scans.mask("p2"))
    assert nib.load(scans.mask("p2")).dataobj.slope == 2.0
    bad = record(results_of(scans, store)["cases"])
    assert bad.verdicts["supervised"] == ["annotation.unknown_values"]
    assert "values 2" in bad.facts["faults"][0]["reason"]


def test_two_images_for_one_path_are_refused(scans: Any, store: Store) -> None:
    (scans.folder / "p2_t1.copy.nii.gz").write_bytes(scans.image("p1").read_bytes())
    text = scans.catalog_file.read_text().replace('"{case}_t1.nii.gz"', '"{case}_t1*.nii.gz"')
    scans.catalog_file.write_text(text)
    error = record(results_of(scans, store)["cases"]).error
    assert error is not None
    assert error["code"] == "read.several_images"


def test_a_header_of_another_modality_is_not_used(tmp_path: Path, store: Store) -> None:
    text = """\
format_version: 1
entries:
  - id: wrong
    title: A CT that the entry calls MR, and an object that is no scan
    description: Wrong on purpose.
    version: "1"
    groups: [mixed]
    modalities: [MR]
    tasks: [self-supervised]
    dimensions: [3]
    licence: {id: MIT}
    access: {kind: open}
    maturity: described
    acquisition:
      - {kind: package, package: pydicom, include: ["*/CT_small.dcm", "*/MR_small.dcm", "*/rtdose.dcm"]}
    cases:
      - {case: "{name}", modality: MR, images: {image: {path: "pydicom/data/test_files/{name}.dcm"}}}
    inclusion: {most_excluded: 1.0}
"""
    (tmp_path / "wrong.yaml").write_text(text)
    catalog = Catalog.load([tmp_path / "wrong.yaml"])
    results = {result.stage: result for result in build(store, "wrong", catalog=catalog)}
    for case in ("CT_small", "rtdose"):
        assert record(results["cases"], case).verdicts["self-supervised"] == ["image.modality"]
    assert [found.case for found in results["shards"].manifest.good] == ["MR_small"]


def test_volumes_refuse_files_that_were_not_validated(scans: Any, store: Store) -> None:
    build(store, "crops", catalog=scans.catalog, to="cases")
    context = Context(store=store, catalog=scans.catalog, entry=scans.catalog.entry("crops"))
    validated = build_stage(context, "cases", before=build_stage(context, "raw"))
    scans.add("p2", (91, 91, 61))
    build_stage(context, "raw")
    with pytest.raises(StoreError, match=r"stage.outdated(.|\n)*p2"):
        build_stage(context, "volumes", before=validated)


def test_a_defect_of_a_case_that_is_not_there_is_named(scans: Any, store: Store) -> None:
    text = scans.catalog_file.read_text()
    scans.catalog_file.write_text(
        text + "    known_defects:\n      - {cases: [p2, p99], problem: the head is upside down, action: exclude}\n"
    )
    assert results_of(scans, store)["cases"].details["defects_of_no_case"] == ["p99"]


def test_a_split_as_shipped_is_counted_and_an_adapter_is_refused(scans: Any, store: Store) -> None:
    text = scans.catalog_file.read_text()
    scans.catalog_file.write_text(text.replace("- modality: MR", "- modality: MR\n        split: test"))
    assert results_of(scans, store)["cases"].details["shipped_split"] == {"test": 4}
    scans.catalog_file.write_text(text + "    adapter: {function: 'mine.reader:cases', reason: It is a puzzle.}\n")
    with pytest.raises(CatalogError, match="adapters in Python"):
        results_of(scans, store)
