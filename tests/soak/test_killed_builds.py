"""Builds killed at random moments, many times over: nothing torn, nothing lost, and the same bytes in the end.

MEDSHARD_SOAK_KILLS says how many kills (default 100). docs/soak.md keeps dated results.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medshard.pipelines.build import build, where
from medshard.registry import Catalog
from medshard.registry.lineage import trace, verify
from medshard.registry.store import Store

pytestmark = pytest.mark.soak

ENTRY = "pyradiomics-cases"
KILLS_PER_STORE = 5


def contents(store: Path) -> dict[str, str]:
    return {
        path.relative_to(store).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(store.rglob("*"))
        if path.is_file() and path.relative_to(store).parts[0] not in {"journal", "leases", "scratch"}
    }


def test_builds_of_real_scans_survive_being_killed(tmp_path: Path) -> None:
    started = time.monotonic()
    build(tmp_path / "whole", ENTRY, catalog=Catalog.load())
    undisturbed_s = time.monotonic() - started
    expected = contents(tmp_path / "whole")
    kills = int(os.environ.get("MEDSHARD_SOAK_KILLS", "100"))
    rng = random.Random(0)
    landed = 0
    for number in range(-(-kills // KILLS_PER_STORE)):
        root = tmp_path / f"killed-{number}"
        command = [sys.executable, "-m", "medshard.cli", "build", ENTRY, "--root", str(root), "--workers", "2"]
        for _ in range(KILLS_PER_STORE):
            victim = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(rng.uniform(0.3, undisturbed_s))
            landed += victim.poll() is None
            victim.send_signal(signal.SIGKILL)
            victim.wait()
        subprocess.run(command, check=True, capture_output=True, timeout=600)
        assert contents(root) == expected
        store = Store.open(root)
        for shard in where(store, ENTRY, "shards")[:1]:
            verify(trace(shard, store), store)
    print(f"{landed} of {kills} kills met a running build; an undisturbed build took {undisturbed_s:.1f} s")  # noqa: T201
    assert landed > kills // 4
