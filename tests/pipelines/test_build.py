"""The chain of one entry: complete, repeatable byte for byte, resumable, extensible."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pyarrow.parquet as pq
import pytest
import zarr

from medshard.converters.canonical import read_volume
from medshard.errors import MedshardError
from medshard.pipelines.build import build, is_current, where
from medshard.pipelines.execution.map_cases import Execution
from medshard.registry.store import Store, read_head

STAGES = ["raw", "cases", "volumes", "fingerprint", "shards"]


def contents(store: Path) -> dict[str, str]:
    """Path below a store -> SHA-256, of all that is its state."""
    passing = {"journal", "leases", "scratch"}
    return {
        path.relative_to(store).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(store.rglob("*"))
        if path.is_file() and path.relative_to(store).parts[0] not in passing
    }


def test_every_stage_keeps_every_case(scans: Any, store: Store) -> None:
    results = build(store, "crops", catalog=scans.catalog)
    assert [result.stage for result in results] == STAGES
    assert [len(result.manifest.good) for result in results[1:]] == [4, 4, 4, 4]
    assert all(result.state == "complete" for result in results)


def test_volumes_hold_the_source_voxels_at_the_source_places(scans: Any, store: Store) -> None:
    volumes = build(store, "crops", catalog=scans.catalog, to="volumes")[-1]
    record = volumes.manifest.record("p3")
    assert record is not None
    assert record.output is not None
    volume = read_volume(store.path(record.output))
    source = nib.as_closest_canonical(nib.load(scans.image("p3")))
    image = volume.images["t1"]
    np.testing.assert_array_equal(image.array[0], np.asarray(source.dataobj).transpose(2, 1, 0))
    assert image.array.dtype == np.uint8
    z, y, x = (size - 1 for size in image.shape)
    np.testing.assert_allclose(image.affine @ [z, y, x, 1], source.affine @ [x, y, z, 1], atol=1e-4)
    mask = nib.as_closest_canonical(nib.load(scans.mask("p3")))
    np.testing.assert_array_equal(volume.labels["tissue"].array[0], np.asarray(mask.dataobj).transpose(2, 1, 0))


def test_the_cases_table_says_what_each_case_is_fit_for(scans: Any, store: Store) -> None:
    cases = build(store, "crops", catalog=scans.catalog, to="cases")[-1]
    table = pq.read_table(store.path(cases.head.attachments["table"])).to_pylist()
    assert [row["case"] for row in table] == ["p1", "p2", "p3", "p4"]
    assert all(row["fit_supervised"] and row["fit_self_supervised"] and row["fit_evaluation"] for row in table)
    assert {(row["shape_z"], row["shape_y"], row["shape_x"]) for row in table} == {(32, 40, 36)}


def test_shards_open_with_plain_zarr(scans: Any, store: Store) -> None:
    build(store, "crops", catalog=scans.catalog)
    (shard,) = [path for path in where(store, "crops", "shards") if path.suffix == ".zip"]
    with zarr.storage.ZipStore(shard, mode="r") as opened:
        group = zarr.open_group(opened, mode="r")
        assert sorted(group.group_keys()) == ["p1", "p2", "p3", "p4"]
        image = group["p1/image"]
        assert isinstance(image, zarr.Array)
        assert image.shape == (1, 21, 27, 24)
        assert np.asarray(image[...]).std() > 0
        assert group.attrs["medshard"]["licence"]["id"] == "LicenseRef-MNI-ICBM152"  # type: ignore[index, call-overload]


def test_a_second_build_does_nothing(scans: Any, store: Store) -> None:
    assert not is_current(store, "crops", catalog=scans.catalog)
    build(store, "crops", catalog=scans.catalog)
    before = contents(store.root)
    again = build(store, "crops", catalog=scans.catalog)
    assert [result.done for result in again] == [0, 0, 0, 0, 0]
    assert contents(store.root) == before
    assert is_current(store, "crops", catalog=scans.catalog)


def test_two_builds_are_equal_byte_for_byte_whatever_the_workers(
    make_scans: Callable[[str], Any], tmp_path: Path
) -> None:
    for name, workers in (("one", 1), ("two", 2)):
        build(
            tmp_path / f"store-{name}", "crops", catalog=make_scans(name).catalog, execution=Execution(workers=workers)
        )
    assert contents(tmp_path / "store-one") == contents(tmp_path / "store-two")


def test_a_dask_cluster_gives_the_same_digests(scans: Any, tmp_path: Path) -> None:
    from distributed import LocalCluster

    build(tmp_path / "here", "crops", catalog=scans.catalog)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster:
        execution = Execution(dask_address=cluster.scheduler_address)
        build(tmp_path / "there", "crops", catalog=scans.catalog, execution=execution)
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


def test_a_new_case_costs_one_case_and_rewrites_nothing(scans: Any, store: Store) -> None:
    build(store, "crops", catalog=scans.catalog)
    before = contents(store.root)
    scans.add("p5", (75, 75, 75))
    results = build(store, "crops", catalog=scans.catalog)
    assert [result.done for result in results] == [1, 1, 1, 1, 1]
    after = contents(store.root)
    assert {path: digest for path, digest in after.items() if path in before and not path.startswith("heads/")} == {
        path: digest for path, digest in before.items() if not path.startswith("heads/")
    }
    assert [path.suffix for path in where(store, "crops", "shards")].count(".zip") == 2


def test_the_plan_stays_frozen_when_cases_are_added(scans: Any, store: Store) -> None:
    text = scans.catalog_file.read_text()
    scans.catalog_file.write_text(text.replace("spacing_mm: [1.5, 1.5, 1.5], ", ""))
    build(store, "crops", catalog=scans.catalog)
    plan = read_head(store, "crops", "fingerprint").attachments["plan-default"]  # type: ignore[union-attr]
    scans.add("p5", (75, 75, 75))
    build(store, "crops", catalog=scans.catalog)
    assert read_head(store, "crops", "fingerprint").attachments["plan-default"] == plan  # type: ignore[union-attr]


def test_a_changed_source_replaces_its_case_only(scans: Any, store: Store) -> None:
    build(store, "crops", catalog=scans.catalog)
    scans.add("p2", (91, 91, 61))
    results = build(store, "crops", catalog=scans.catalog)
    assert [result.done for result in results] == [1, 1, 1, 1, 1]
    rows = pq.read_table(store.path(results[-1].head.attachments["table"])).to_pylist()
    assert [row["case"] for row in rows] == ["p1", "p2", "p3", "p4"]
    record = results[-1].manifest.record("p2")
    assert record is not None
    assert rows[1]["record_digest"] == record.digest


def test_a_title_or_licence_note_rebuilds_nothing(scans: Any, store: Store) -> None:
    build(store, "crops", catalog=scans.catalog)
    text = scans.catalog_file.read_text().replace("Real content cut", "Genuine content cut")
    scans.catalog_file.write_text(text)
    assert [result.done for result in build(store, "crops", catalog=scans.catalog)] == [0, 0, 0, 0, 0]


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_build_goes_on_and_ends_with_the_same_bytes(scans: Any, tmp_path: Path, seed: int) -> None:
    build(tmp_path / "whole", "crops", catalog=scans.catalog)
    rng = random.Random(seed)
    command = [
        sys.executable,
        "-m",
        "medshard.cli",
        "build",
        "crops",
        "--root",
        str(tmp_path / "killed"),
        "--workers",
        "2",
    ]
    environment = {**os.environ, "MEDSHARD_CATALOG": str(scans.catalog_file)}
    for _ in range(3):
        victim = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.5, 6.0))
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    last = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert last.returncode == 0, last.stderr
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert not list((tmp_path / "killed" / "leases").glob("*.lease"))


def test_two_builders_of_one_entry_wait_for_each_other(scans: Any, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "medshard.cli",
        "build",
        "crops",
        "--root",
        str(tmp_path / "both"),
        "--workers",
        "1",
    ]
    environment = {**os.environ, "MEDSHARD_CATALOG": str(scans.catalog_file)}
    builders = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [builder.communicate(timeout=200)[0] for builder in builders]
    assert [builder.returncode for builder in builders] == [0, 0]
    build(tmp_path / "alone", "crops", catalog=scans.catalog)
    assert contents(tmp_path / "both") == contents(tmp_path / "alone")
    assert sorted("4 done" in output for output in outputs) == [False, True]


def test_an_unknown_stage_or_plan_is_refused(scans: Any, store: Store) -> None:
    with pytest.raises(MedshardError, match="stage.unknown"):
        build(store, "crops", catalog=scans.catalog, to="shard")
    with pytest.raises(MedshardError, match=r"plan.unknown(.|\n)*default"):
        build(store, "crops", catalog=scans.catalog, plan="fine")


def test_where_names_a_stage_that_is_not_built(store: Store) -> None:
    with pytest.raises(MedshardError, match=r"stage.not_built(.|\n)*medshard build crops"):
        where(store, "crops", "volumes")


def test_state_is_plain_json(scans: Any, store: Store) -> None:
    build(store, "crops", catalog=scans.catalog, to="cases")
    for path in [*store.root.glob("heads/*/*.json"), *store.root.glob("records/*/*.json")]:
        assert json.loads(path.read_bytes())["format_version"] == 1
