"""`medshard verify` lists every fault and fails when there is one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from made_shards import made_sample, plan_of, publish_shards

from medshard.commands.verifying import verify
from medshard.registry.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store.open(tmp_path / "store")
    publish_shards(made, plan_of("organs"), [[made_sample("organs", "case-0")]])
    return made


def test_a_whole_store_passes(store: Store) -> None:
    done = CliRunner().invoke(verify, [str(store.root)])
    assert done.exit_code == 0
    assert "1 shards, 1 samples: all is well" in done.output
    shard = next((store.root / "objects").glob("*/*.zip"))
    assert CliRunner().invoke(verify, [str(shard)]).exit_code == 0


def test_faults_are_listed_and_the_command_fails(store: Store) -> None:
    shard = next((store.root / "objects").glob("*/*.zip"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 3] ^= 1
    shard.write_bytes(data)
    done = CliRunner().invoke(verify, [str(store.root)])
    assert done.exit_code == 1
    assert "object.corrupt" in done.output
    assert str(shard) in done.output
    as_json = CliRunner().invoke(verify, [str(store.root), "--entry", "organs", "--json"])
    assert as_json.exit_code == 1
    assert {each["code"] for each in json.loads(as_json.output)["faults"]} >= {"object.corrupt", "shard.member"}


def test_an_entry_that_was_never_built_is_a_fault(store: Store) -> None:
    assert CliRunner().invoke(verify, [str(store.root), "--entry", "livers"]).exit_code == 1


def test_options_of_stores_are_refused_for_a_file(store: Store) -> None:
    shard = next((store.root / "objects").glob("*/*.zip"))
    assert CliRunner().invoke(verify, [str(shard), "--plan", "default"]).exit_code == 2
