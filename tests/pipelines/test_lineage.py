"""Lineage: every source file with its digest, and a tampered byte anywhere on the way is found."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from medshard.errors import StoreError
from medshard.pipelines.build import build, where
from medshard.registry import Catalog
from medshard.registry.lineage import trace, verify
from medshard.registry.store import Store, read_head, read_manifest


@pytest.fixture
def shard(scans: Any, store: Store) -> Path:
    build(store, "crops", catalog=scans.catalog)
    return next(path for path in where(store, "crops", "shards") if path.suffix == ".zip")


def test_a_shard_leads_to_every_file_of_every_patient(scans: Any, shard: Path) -> None:
    traced = trace(shard)
    assert [case.patient for case in traced.cases] == ["p1", "p2", "p3", "p4"]
    found = {source.path: source.sha256 for case in traced.cases for source in case.sources}
    assert found == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in scans.folder.iterdir()}
    assert traced.entries["crops"]["licence"]["id"] == "LicenseRef-MNI-ICBM152"
    assert [record.stage for record in traced.cases[0].records] == ["shards", "volumes", "cases", "raw"]


def test_everything_verifies_as_it_was_built(shard: Path, store: Store) -> None:
    checked = verify(trace(shard), store)
    assert sum(line.startswith("source") for line in checked) == 8


def test_a_copy_of_a_shard_elsewhere_is_traced_with_its_store(shard: Path, store: Store, tmp_path: Path) -> None:
    copy = shutil.copy(shard, tmp_path / "copied.zip")
    with pytest.raises(StoreError, match=r"lineage.no_store(.|\n)*--root"):
        trace(Path(copy))
    assert len(trace(Path(copy), store).cases) == 4


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def test_a_flipped_bit_in_the_shard_is_found(shard: Path, store: Store) -> None:
    traced = trace(shard)
    assert traced.artefact.expected_sha256 == traced.artefact.sha256
    flip_a_byte(shard)
    with pytest.raises(StoreError, match=r"object.corrupt"):
        verify(trace(shard, store), store)


def test_a_flipped_bit_in_a_source_file_is_found_and_named(shard: Path, store: Store) -> None:
    (tree,) = where(store, "crops", "raw")[:1]
    flip_a_byte(tree / "p3_t1.nii.gz")
    with pytest.raises(StoreError, match=r"object.corrupt(.|\n)*p3_t1.nii.gz"):
        verify(trace(shard), store)


def test_a_changed_record_breaks_the_chain(shard: Path, store: Store) -> None:
    head = read_head(store, "crops", "volumes")
    assert head is not None
    record = read_manifest(store, head.manifest).records[0]
    file = store.root / "records" / record.key[:2] / f"{record.key}.json"
    file.write_bytes(file.read_bytes().replace(b'"p1"', b'"p9"'))
    with pytest.raises(StoreError, match="record.changed"):
        trace(shard)


def test_a_volume_and_a_raw_tree_are_traced_too(scans: Any, store: Store) -> None:
    build(store, "crops", catalog=scans.catalog, to="volumes")
    volume = trace(where(store, "crops", "volumes")[0])
    assert (volume.artefact.kind, volume.cases[0].case) == ("volumes", "p1")
    raw = trace(where(store, "crops", "raw")[0])
    assert len(raw.cases[0].sources) == 8


def test_what_medshard_did_not_make_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "stranger.zip").write_bytes(b"PK")
    with pytest.raises(StoreError, match="lineage.unknown"):
        trace(tmp_path / "stranger.zip", store)
    with pytest.raises(StoreError, match="lineage.missing"):
        trace(tmp_path / "absent.pt", store)


def test_the_surface_of_a_shipped_example_names_its_file_and_licence(store: Store) -> None:
    build(store, "format-families", catalog=Catalog.load())
    traced = trace(next(path for path in where(store, "format-families", "shards") if path.suffix == ".zip"))
    surface = next(case for case in traced.cases if case.case == "lung2_tumour_surface")
    assert surface.patient == "lung2"
    assert [source.path for source in surface.sources] == ["lung2_tumour_surface.obj"]


def test_the_command_prints_files_digests_and_licences(shard: Path) -> None:
    command = [sys.executable, "-m", "medshard.cli", "lineage", str(shard), "--verify"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ)).stdout
    assert "patient p3, case p3" in printed
    assert "licence LicenseRef-MNI-ICBM152" in printed
    assert "verified:" in printed
    document = json.loads(
        subprocess.run([*command, "--json"], capture_output=True, text=True, check=True, env=dict(os.environ)).stdout
    )
    assert {source["path"] for case in document["cases"] for source in case["sources"]} >= {
        "p1_t1.nii.gz",
        "p4_mask.nii.gz",
    }


def test_a_raw_tree_that_is_gone_does_not_verify(shard: Path, store: Store) -> None:
    shutil.rmtree(where(store, "crops", "raw")[0])
    with pytest.raises(StoreError, match=r"object.missing"):
        verify(trace(shard), store)


def test_a_torn_shard_is_called_corrupt(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(StoreError, match=r"object.corrupt"):
        trace(shard)


def test_the_licence_is_that_of_the_shard_not_of_a_later_catalog(scans: Any, shard: Path, store: Store) -> None:
    text = scans.catalog_file.read_text().replace("LicenseRef-MNI-ICBM152", "CC0-1.0")
    scans.catalog_file.write_text(text)
    build(store, "crops", catalog=scans.catalog)
    assert trace(shard).entries["crops"]["licence"]["id"] == "LicenseRef-MNI-ICBM152"
