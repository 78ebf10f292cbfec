"""`medshard doctor` and `medshard bench` on a small store, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from made_shards import made_sample, plan_of, publish_shards

from medshard.commands.benchmarking import bench
from medshard.commands.doctoring import doctor
from medshard.errors import CatalogError, StoreError
from medshard.loaders.diagnosis import speed
from medshard.loaders.diagnosis.measurements import STEPS
from medshard.registry.store import Store

SHAPE = (20, 50, 40)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    store = Store.open(tmp_path_factory.mktemp("doctor") / "store")
    samples = [made_sample("organs", f"case-{number}", seed=number, shape=SHAPE) for number in range(3)]
    publish_shards(store, plan_of("organs"), [samples])
    return str(store.root)


def same(item: dict[str, object]) -> dict[str, object]:
    return item


def run_doctor(root: str, *options: str) -> str:
    asked = ["organs", "--root", root, "--patch", "16", "32", "32", "--seconds", "1", *options]
    done = CliRunner().invoke(doctor, asked, catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_the_doctor_says_what_limits_and_what_to_change(root: str) -> None:
    output = run_doctor(root, "--workers", "0", "--consumer-ms", "400")
    assert "limit: consumer" in output
    assert "change:\n  - nothing" in output
    assert "as stated" in output


def test_all_steps_are_in_the_json(root: str) -> None:
    transform = f"{__name__}:same"
    options = ["--workers", "1", "--int8-labels", "--normalise-on-device", "--transform", transform, "--json"]
    found = json.loads(run_doctor(root, *options))
    measured = found["measurements"]
    assert set(measured["steps"]) | {"storage"} == set(STEPS)
    assert all(step["seconds"]["median"] >= 0 for step in measured["steps"].values())
    assert measured["receive"]["seconds"]["median"] > 0
    assert measured["observed"] > 0
    # Of an item: int16 and int8 of 16x32x32, and what is beside them.
    assert 2 * 3 * 16 * 32 * 32 <= measured["batch_bytes"] < 2 * 4 * 16 * 32 * 32
    assert 0 < measured["storage"]["needed_bytes"] <= measured["storage"]["read_bytes"]
    assert measured["decoding"]["used_bytes"] == 2 * 3 * 16 * 32 * 32
    assert measured["decoding"]["patch"] == [16, 32, 32]
    assert found["verdict"]["limit"]


@pytest.mark.parametrize("name", ["no_module_of_this_name:same", "json", "json:nothing", f"{__name__}:SHAPE"])
def test_a_transform_that_is_not_there_is_refused(root: str, name: str) -> None:
    with pytest.raises(CatalogError) as raised:
        run_doctor(root, "--transform", name)
    assert raised.value.code == "doctor.transform"


def test_a_device_that_is_not_there_is_refused(root: str) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is one here")
    with pytest.raises(CatalogError) as raised:
        run_doctor(root, "--device", "cuda")
    assert raised.value.code == "doctor.loader"


def test_an_entry_that_was_never_built_is_refused(root: str) -> None:
    for command in (doctor, bench):
        with pytest.raises(StoreError) as raised:
            CliRunner().invoke(command, ["livers", "--root", root], catch_exceptions=False)
        assert raised.value.code == "stage.not_built"


def test_the_benchmark_counts_bytes_and_items(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "REPETITIONS", 2)
    options = ["organs", "--root", root, "--patch", "16", "32", "32", "--seconds", "1", "--workers", "1", "--json"]
    done = CliRunner().invoke(bench, options, catch_exceptions=False)
    found = json.loads(done.output)
    voxels = SHAPE[0] * SHAPE[1] * SHAPE[2]
    rows = 3 * 16 * len(range(0, 5 * 10 * 10 + 2 * 4 * 3, 5))  # int32 (value, z, y, x) of every fifth labelled voxel
    sizes = found["sizes"]
    assert sizes["decoded"] == 3 * 3 * voxels + rows  # int16 and uint8
    assert sizes["stored"] == sum(path.stat().st_size for path in Path(root).glob("objects/*/*.zip"))
    assert sizes["source"] is None
    views = {each["view"]: each for each in found["views"]}
    assert set(views) == {"window", "axial slice", "2 + 6 crops", "whole volume"}
    for each in views.values():
        assert each["items_per_s"]["count"] == 2
        assert 0 < each["items_per_s"]["low"] <= each["items_per_s"]["median"] <= each["items_per_s"]["high"]
        assert each["with_workers"]["median"] > 0
        assert each["over_read"] >= 1.0
    assert found["first_cold_ms"]["median"] > 0


def test_the_benchmark_says_how_it_measured(root: str) -> None:
    options = ["organs", "--root", root, "--patch", "16", "32", "32", "--seconds", "1"]
    output = CliRunner().invoke(bench, options, catch_exceptions=False).output
    assert "3 samples" in output
    assert "Median (quartiles) of 7 repetitions" in output
    assert "whole volume" in output
