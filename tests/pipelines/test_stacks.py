"""Small pictures by the hundred: stacks and packs instead of files, with everything that the store promises."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from made_builds import catalog_of, volume_of
from PIL import Image

from medshard.converters.volume import Volume
from medshard.pipelines.build import build, is_current
from medshard.pipelines.execution.map_cases import Execution
from medshard.pipelines.stages import batches, volumes
from medshard.pipelines.stages.stage import StageResult
from medshard.registry import Catalog
from medshard.registry.lineage import trace, verify
from medshard.registry.store import Store

CASES = 150
SIDE = 12
VALUES = {"drusen": "drusen", "normal": "normal"}
FOLDERS: dict[str, Any] = {
    "modality": "OCT",
    "where": {"word": "drusen|normal"},
    "images": {"oct": {"path": "{word}/{case}.png"}},
    "annotations": {"diagnosis": {"kind": "class-folder", "field": "word", "values": VALUES}},
}
MASKED: dict[str, Any] = {
    "modality": "OCT",
    "where": {"word": "drusen|normal"},
    "images": {"oct": {"path": "{word}/{case}.png"}},
    "labels": {"lesions": {"path": "masks/{case}.png", "classes": {1: "drusen"}}},
}
PARTS: dict[str, Any] = {
    "case": "picture-{index}",
    "modality": "OCT",
    "images": {"oct": {"path": "pictures.npz", "key": "images", "pictures": "each"}},
    "labels": {"lesions": {"path": "pictures.npz", "key": "masks", "pictures": "each", "classes": {1: "drusen"}}},
    "annotations": {
        "diagnosis": {
            "kind": "class-table",
            "path": "pictures.npz",
            "rows": "labels",
            "column": "labels",
            "values": {"0": "drusen", "1": "normal"},
        }
    },
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    for word in ("drusen", "normal", "masks"):
        (folder / word).mkdir(parents=True)
    for number in range(CASES):
        picture = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
        Image.fromarray(picture).save(folder / ("drusen" if number % 3 else "normal") / f"case{number:03d}.png")
        Image.fromarray((picture > 128).astype(np.uint8)).save(folder / "masks" / f"case{number:03d}.png")
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of children of a pool the constants are the usual ones, which deal in the parent alone."""
    monkeypatch.setattr(batches, "MOST_CASES", 60)


def stages(
    source: Path, group: dict[str, Any], store: Store, *, to: str = "volumes", workers: int = 1
) -> dict[str, StageResult]:
    catalog = catalog_of(source, group, modalities=["OCT"], dimensions=[2])
    results = build(store, "made-entry", to=to, catalog=catalog, execution=Execution(workers=workers))
    return {result.stage: result for result in results}


def files_of(store: Store) -> dict[str, bytes]:
    parts = [store.root / part for part in ("objects", "records", "heads")]
    return {
        path.relative_to(store.root).as_posix(): path.read_bytes()
        for part in parts
        for path in part.rglob("*")
        if path.is_file()
    }


def present_of(volume: Volume) -> list[str]:
    rows = volume.annotations["diagnosis"].table.to_pylist()
    return [row["concept"] for row in rows if row["state"] == "present"]


def test_pictures_of_one_size_are_stacks_and_packs(source: Path, store: Store) -> None:
    results = stages(source, FOLDERS, store, to="fingerprint")
    assert {stage: len(result.manifest.good) for stage, result in results.items() if stage != "raw"} == {
        "cases": CASES,
        "volumes": CASES,
        "fingerprint": CASES,
    }
    stacks = {record.output for record in results["volumes"].manifest.records}
    assert len(stacks) == 3
    assert len(list((store.root / "records").rglob("*.json*"))) == 1 + 3 * 3
    for number in (0, 59, 60, 149):
        volume = volume_of(results, store, f"case{number:03d}")
        expected = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
        np.testing.assert_array_equal(volume.images["oct"].array[0, 0], expected)
        assert present_of(volume) == ["drusen" if number % 3 else "normal"]
        assert volume.case == f"case{number:03d}"


def test_stacked_cases_are_what_they_are_alone(
    source: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = stages(source, MASKED, store, to="fingerprint")
    monkeypatch.setattr("medshard.pipelines.stages.stage.FEWEST_CASES", CASES + 1)
    alone_store = Store.open(tmp_path / "alone")
    alone = stages(source, MASKED, alone_store, to="fingerprint")
    assert not any("row" in record.facts for record in alone["volumes"].manifest.records)
    for one, other in zip(alone["volumes"].manifest.records, together["volumes"].manifest.records, strict=True):
        assert {**one.facts, "row": other.facts["row"]} == dict(other.facts)
        assert (one.key, one.warnings, one.decoders) == (other.key, other.warnings, other.decoders)
        single = volume_of(alone, alone_store, one.case)
        stacked = volume_of(together, store, one.case)
        np.testing.assert_array_equal(single.images["oct"].array, stacked.images["oct"].array)
        np.testing.assert_array_equal(single.labels["lesions"].array, stacked.labels["lesions"].array)
        assert single.labels["lesions"].classes == stacked.labels["lesions"].classes


def test_stores_are_equal_byte_for_byte_whatever_the_workers(source: Path, store: Store, tmp_path: Path) -> None:
    other = Store.open(tmp_path / "other")
    stages(source, FOLDERS, store, to="shards")
    stages(source, FOLDERS, other, to="shards", workers=2)
    assert files_of(store) == files_of(other)


def test_nothing_is_done_twice_and_new_cases_make_new_stacks(source: Path, store: Store) -> None:
    first = stages(source, FOLDERS, store)
    assert stages(source, FOLDERS, store)["volumes"].done == 0
    shutil.copy(source / "drusen" / "case001.png", source / "drusen" / "case0005.png")
    second = stages(source, FOLDERS, store)
    assert second["volumes"].done == 1
    kept = {record.case: record.output for record in second["volumes"].manifest.records}
    assert all(kept[record.case] == record.output for record in first["volumes"].manifest.records)


def test_what_an_interrupted_build_lacks_is_done_in_the_same_batches(
    source: Path, store: Store, tmp_path: Path
) -> None:
    stages(source, FOLDERS, store)
    whole = files_of(store)
    packs = sorted((store.root / "records" / "packs").rglob("*.jsonl"), key=lambda path: path.read_bytes()[:200])
    for lost in packs[::2]:
        lost.unlink()
    stages(source, FOLDERS, store)
    assert files_of(store) == whole


def test_a_build_that_is_killed_resumes_to_the_same_bytes(source: Path, store: Store, tmp_path: Path) -> None:
    catalog_of(source, FOLDERS, modalities=["OCT"], dimensions=[2])
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from medshard.pipelines.build import build\n"
        "from medshard.pipelines.stages import batches, stage\n"
        "from medshard.registry import Catalog\n"
        "from medshard.registry.store import Store\n"
        "batches.MOST_CASES = 60\n"
        "write, done = stage.write_pack, []\n"
        "def write_pack(store, records):\n"
        "    write(store, records)\n"
        "    done.append(1)\n"
        "    if len(done) == 5:\n"
        "        os.kill(os.getpid(), 9)\n"
        "stage.write_pack = write_pack\n"
        "build(Store.open(sys.argv[1]), 'made-entry', to='volumes', catalog=Catalog.load([Path(sys.argv[2])]))\n"
    )
    command = [sys.executable, "-c", script, str(store.root), str(source.with_name("catalog.yaml"))]
    killed = subprocess.run(command, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    resumed = stages(source, FOLDERS, store)
    assert (resumed["cases"].done, resumed["volumes"].done) == (0, CASES - 120)
    other = Store.open(tmp_path / "other")
    stages(source, FOLDERS, other)
    assert files_of(store) == files_of(other)


def test_a_bad_picture_is_named_alone(source: Path, store: Store) -> None:
    (source / "drusen" / "case001.png").write_bytes((source / "drusen" / "case001.png").read_bytes()[:60])
    results = stages(source, FOLDERS, store, to="fingerprint")
    (bad,) = results["cases"].manifest.excluded or results["volumes"].manifest.excluded
    assert bad.case == "case001"
    assert bad.error is not None
    assert bad.error["code"].startswith("read.")
    assert len(results["fingerprint"].manifest.good) == CASES - 1


def dying(job: Any) -> Any:
    """`convert_case`, whose process dies at one case."""
    if job.record.case == "case077":
        os.kill(os.getpid(), signal.SIGKILL)
    return volumes.convert_case(job)


def dying_together(jobs: Any) -> Any:
    if any(job.record.case == "case077" for job in jobs):
        os.kill(os.getpid(), signal.SIGKILL)
    return volumes.convert_batch(jobs)


def test_a_picture_that_kills_its_worker_is_named_alone(
    source: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(Path(__file__).parent), os.environ.get("PYTHONPATH", ""))))
    run = volumes.run_jobs
    monkeypatch.setattr(
        volumes,
        "run_jobs",
        lambda context, stage, jobs, _, **options: run(
            context, stage, jobs, dying, **{**options, "together": dying_together}
        ),
    )
    results = stages(source, FOLDERS, store, workers=2)
    (culprit,) = results["volumes"].manifest.excluded
    assert culprit.case == "case077"
    assert culprit.error is not None
    assert culprit.error["code"] == "case.crashed"
    monkeypatch.setattr(volumes, "run_jobs", run)
    mended = stages(source, FOLDERS, store)["volumes"]
    assert (mended.done, mended.excluded) == (1, ())


def test_pictures_of_other_sizes_have_stacks_of_their_own(source: Path, store: Store) -> None:
    for number in range(0, CASES, 2):
        path = source / ("drusen" if number % 3 else "normal") / f"case{number:03d}.png"
        Image.fromarray(np.full((SIDE, 2 * SIDE), number, np.uint8)).save(path)
    Image.fromarray(np.zeros((3, 5), np.uint8)).save(source / "drusen" / "case001.png")
    results = stages(source, FOLDERS, store)
    assert len({record.output for record in results["volumes"].manifest.good}) == 7
    assert volume_of(results, store, "case002").images["oct"].shape == (1, SIDE, 2 * SIDE)
    assert volume_of(results, store, "case001").images["oct"].shape == (1, 3, 5)


def test_samples_and_lineage_reach_each_picture(source: Path, store: Store) -> None:
    results = stages(source, FOLDERS, store, to="shards")
    assert not list((store.root / "objects").rglob("*piece*"))
    assert is_current(store, "made-entry", catalog=Catalog.load([source.with_name("catalog.yaml")]))
    shard = store.path(results["shards"].head.attachments["shard-00000"])
    lineage = trace(shard, store)
    assert len(verify(lineage, store)) > CASES
    traced = {case.case: [item.path for item in case.sources] for case in lineage.cases}
    assert traced == {f"case{n:03d}": [f"{'drusen' if n % 3 else 'normal'}/case{n:03d}.png"] for n in range(CASES)}
    stack = results["volumes"].manifest.records[0].output
    assert stack is not None
    assert len(trace(store.path(stack), store).cases) == 60


def _npz(folder: Path) -> None:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (CASES, SIDE, SIDE), dtype=np.uint8)
    labels = rng.integers(0, 2, (CASES, 1), dtype=np.uint8)
    np.savez_compressed(folder / "pictures.npz", images=images, masks=(images > 99).astype(np.uint8), labels=labels)


def test_each_picture_of_an_array_is_a_case_with_its_mask_and_its_row(tmp_path: Path, store: Store) -> None:
    source = tmp_path / "arrays"
    source.mkdir()
    _npz(source)
    results = stages(source, PARTS, store, to="shards")
    stored = np.load(source / "pictures.npz")
    assert len(results["volumes"].manifest.good) == CASES
    assert sum(path.is_file() for path in store.root.glob("records/packs/*/*")) == 4 * 3
    for number in (0, 7, 149):
        volume = volume_of(results, store, f"picture-{number}")
        np.testing.assert_array_equal(volume.images["oct"].array[0, 0], stored["images"][number])
        np.testing.assert_array_equal(volume.labels["lesions"].array[0, 0], stored["masks"][number])
        word = ("drusen", "normal")[stored["labels"][number, 0]]
        assert present_of(volume) == [word]


def test_rows_that_are_not_as_many_as_the_pictures_are_trusted_for_none(tmp_path: Path, store: Store) -> None:
    source = tmp_path / "arrays"
    source.mkdir()
    images = np.zeros((5, SIDE, SIDE), np.uint8)
    np.savez(source / "pictures.npz", images=images, masks=images, labels=np.zeros((4, 1), np.uint8))
    results = stages(source, PARTS, store, to="cases")
    record = results["cases"].manifest.record("picture-0")
    assert record is not None
    assert "there are not as many" in record.facts["annotations"]["diagnosis"]["error"]


def _tiff(folder: Path, pictures: np.ndarray[Any, Any]) -> str:
    first, *others = (Image.fromarray(picture) for picture in pictures)
    first.save(folder / "pictures.tif", save_all=True, append_images=others)
    return "pictures.tif"


def _h5(folder: Path, pictures: np.ndarray[Any, Any]) -> str:
    with h5py.File(folder / "pictures.h5", "w") as file:
        file.create_dataset("films", data=pictures, compression="gzip")
    return "pictures.h5"


def _gif(folder: Path, pictures: np.ndarray[Any, Any]) -> str:
    first, *others = (Image.fromarray(picture) for picture in pictures)
    first.save(folder / "pictures.gif", save_all=True, append_images=others)
    return "pictures.gif"


@pytest.fixture(params=[_tiff, _h5, _gif])
def write(request: pytest.FixtureRequest) -> Callable[[Path, np.ndarray[Any, Any]], str]:
    return request.param


def test_each_page_of_a_file_is_a_case(
    write: Callable[[Path, np.ndarray[Any, Any]], str], tmp_path: Path, store: Store
) -> None:
    source = tmp_path / "pages"
    source.mkdir()
    pictures = np.stack([np.full((SIDE, SIDE), 40 * number, np.uint8) for number in range(5)])
    pictures[:, :3] = 255
    name = write(source, pictures)
    group = {"case": "page-{index}", "modality": "OCT", "images": {"oct": {"path": name, "pictures": "each"}}}
    results = stages(source, group, store)
    assert len(results["volumes"].manifest.good) == 5
    for number, picture in enumerate(pictures):
        np.testing.assert_array_equal(volume_of(results, store, f"page-{number}").images["oct"].array[0, 0], picture)
