"""Several builders of one entry at once: they take turns by a lease, and nothing is lost or done twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from medshard.loaders.shard_reader import SampleIndex
from medshard.pipelines.build import build
from medshard.registry.store import Store
from medshard.registry.store.manifests import read_manifest, require_head

BUILDERS = 8


def build_at_once(root: Path, catalog_file: Path, builders: int) -> list[str]:
    """Start so many builders of the entry in one store and wait for all. Returns what they printed."""
    command = [sys.executable, "-m", "medshard.cli", "build", "crops", "--root", str(root), "--workers", "1"]
    environment = {**os.environ, "MEDSHARD_CATALOG": str(catalog_file)}
    started = [
        subprocess.Popen(
            command, env=environment, cwd=catalog_file.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(builders)
    ]
    printed = []
    for process in started:
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        printed.append(out)
    return printed


def digests(root: Path) -> dict[str, Any]:
    """What names the state of a store: its HEADs."""
    return {path.relative_to(root).as_posix(): json.loads(path.read_text()) for path in root.glob("heads/*/*.json")}


def test_eight_builders_of_one_entry_make_what_one_makes(scans: Any, tmp_path: Path) -> None:
    build(tmp_path / "alone", "crops", catalog=scans.catalog)
    build_at_once(tmp_path / "together", scans.catalog_file, BUILDERS)
    assert digests(tmp_path / "together") == digests(tmp_path / "alone")

    store = Store.open(tmp_path / "together")
    manifest = read_manifest(store, require_head(store, "crops", "shards", "default").manifest)
    index = SampleIndex.open(store, "crops")
    assert Counter(index.cases) == Counter(record.case for record in manifest.good) == Counter(["p1", "p2", "p3", "p4"])
    assert not list((tmp_path / "together" / "leases").glob("*.lease"))


def test_builders_that_meet_a_new_case_add_it_once_and_rewrite_no_shard(scans: Any, tmp_path: Path) -> None:
    build_at_once(tmp_path / "store", scans.catalog_file, 1)
    store = Store.open(tmp_path / "store")
    before = SampleIndex.open(store, "crops")
    first = {name: before.read_array(before.find(name), "image") for name in before.cases}

    scans.add("p5", (90, 60, 60))
    build_at_once(tmp_path / "store", scans.catalog_file, 3)
    after = SampleIndex.open(store, "crops")
    assert sorted(after.cases) == ["p1", "p2", "p3", "p4", "p5"]
    assert set(before.shard_digests) < set(after.shard_digests)
    assert len(after.shard_digests) == len(before.shard_digests) + 1
    for name, voxels in first.items():
        np.testing.assert_array_equal(after.read_array(after.find(name), "image"), voxels)
