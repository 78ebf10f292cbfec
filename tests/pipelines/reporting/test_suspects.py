"""Planted faults come first: a few seeds of what tests/soak/test_suspects.py measures, and what the words say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner
from made_suspects import Cohort, Fault, brain, faults_for, fundus, sides_exchanged, swollen

from medshard.cli import cli
from medshard.converters.suspicion import Facts, suspicion_facts
from medshard.converters.volume import Volume
from medshard.pipelines.build import build
from medshard.pipelines.reporting.suspects import KINDS, rank
from medshard.pipelines.reporting.suspects.comparing import scatters
from medshard.registry.store import Store

SEED = 1
PLANTED = 2
BRAINS, PICTURES = 80, 100


@pytest.fixture(scope="module")
def brains() -> Cohort:
    cohort = Cohort(scans=[brain(6)], size=BRAINS)
    cohort.measured()
    return cohort


@pytest.fixture(scope="module")
def pictures() -> Cohort:
    cohort = Cohort(scans=[fundus()], size=PICTURES)
    cohort.measured()
    return cohort


@pytest.mark.parametrize("name", ["brains", "pictures"])
def test_planted_faults_are_among_the_worst_twentieth(name: str, request: pytest.FixtureRequest) -> None:
    cohort: Cohort = request.getfixturevalue(name)
    missed: list[tuple[str, dict[str, int]]] = []
    planted = 0
    for fault, (_, plant) in _faults(cohort).items():
        hits, ranks = cohort.found([plant] * PLANTED, SEED)
        planted += PLANTED
        missed += [(fault, ranks)] * (PLANTED - hits)
    assert len(missed) <= planted // 20, missed


@pytest.mark.parametrize("name", ["brains", "pictures"])
def test_the_kind_of_a_fault_is_named(name: str, request: pytest.FixtureRequest) -> None:
    cohort: Cohort = request.getfixturevalue(name)
    for fault, (kind, plant) in _faults(cohort).items():
        case = suspicion_facts(plant(cohort.volume(7), np.random.default_rng(3)))
        worst = rank({**cohort.measured(), "p0007": case})[0]
        assert worst.case == "p0007", fault
        assert kind in {suspect.kind for suspect in worst.suspects}, fault


def test_a_suspect_is_explained_with_numbers(brains: Cohort) -> None:
    grown = suspicion_facts(swollen(brains.volume(4), np.random.default_rng(0)))
    worst = rank({**brains.measured(), "p0004": grown}, kind="volume")[0]
    assert worst.case == "p0004"
    reasons = " | ".join(suspect.reason for suspect in worst.suspects)
    assert " ml; nine tenths of 80 cases: " in reasons


def test_in_an_entry_of_which_half_is_exchanged_anatomy_decides(brains: Cohort) -> None:
    random = np.random.default_rng(0)
    chosen = list(range(0, 20, 2))
    cases = dict(list(brains.measured().items())[:20])
    cases |= {f"p{n:04}": suspicion_facts(sides_exchanged(brains.volume(n), random)) for n in chosen}
    worst = rank(cases, kind="swapped")[: len(chosen)]
    assert {suspect.case for suspect in worst} == {f"p{n:04}" for n in chosen}


def test_too_few_cases_are_judged_by_rules_alone_and_it_is_said(brains: Cohort) -> None:
    few: dict[str, Facts] = dict(list(brains.measured().items())[:5])
    few["p0001"] = suspicion_facts(_without_labels_marked(brains.volume(1)))
    worst = rank(few)
    assert not worst[0].compared
    assert (worst[0].case, worst[0].suspects[0].kind) == ("p0001", "empty")


def test_equal_voxels_in_two_cases_are_told(brains: Cohort) -> None:
    digests = {case: {"scan": case} for case in brains.measured()}
    digests["p0003"] = {"scan": "p0011"}
    found = rank(brains.measured(), digests, kind="duplicate")
    assert [(case.case, case.suspects[0].reason) for case in found[:2]] == [
        ("p0003", "the same voxels as p0011/scan"),
        ("p0011", "the same voxels as p0003/scan"),
    ]
    assert not found[2].suspects


def test_the_order_does_not_depend_on_the_order_of_cases(brains: Cohort) -> None:
    cases = brains.measured()
    backwards = dict(reversed(list(cases.items())))
    assert rank(cases) == rank(backwards)


def test_scatter_is_that_of_the_side_and_never_below_the_floor() -> None:
    values = np.concatenate([np.full(50, 1.0), [1.001, 5.0]])
    away = scatters(values, floor=0.1)
    assert away[50] == pytest.approx(0.01)
    assert away[51] == pytest.approx(40)


def test_the_command_lists_suspects_of_what_is_built(
    scans: Any, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blank = nib.load(scans.mask("p2"))
    nib.save(nib.Nifti1Image(np.zeros(blank.shape, np.uint8), blank.affine), scans.mask("p2"))
    build(store, "crops", catalog=scans.catalog, to="fingerprint")
    monkeypatch.setenv("MEDSHARD_CATALOG", str(scans.catalog_file))
    arguments = ["suspects", "crops", "--root", str(tmp_path / "store")]
    run = CliRunner().invoke(cli, [*arguments, "--json"])
    assert run.exit_code == 0, run.output
    worst = json.loads(run.stdout)[0]
    assert (worst["case"], worst["suspects"][0]["kind"]) == ("p2", "empty")
    shown = CliRunner().invoke(cli, arguments).output
    assert "too few cases to compare" in shown


def test_the_command_knows_every_kind() -> None:
    shown = CliRunner().invoke(cli, ["suspects", "--help"]).output
    assert all(kind in shown for kind in KINDS)


def _faults(cohort: Cohort) -> dict[str, tuple[str, Fault]]:
    """All but words on planes of 33 pixels, which nobody could read."""
    return {
        name: (kind, plant)
        for name, (kind, plant) in faults_for(cohort.scans[0]).items()
        if kind != "text" or cohort.scans[0].image.shape[-1] > 60
    }


def _without_labels_marked(volume: Volume) -> Volume:
    layer = volume.labels["structures"]
    return replace(volume, labels={"structures": replace(layer, array=np.zeros_like(layer.array))})
