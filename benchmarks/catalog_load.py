"""How long the whole catalog takes to load, beside the least that any reader of the same YAML needs.

Interleaved, so that a busy machine slows all alike; the collector runs before each turn. Run: make bench
"""

from __future__ import annotations

import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import yaml

from medshard.registry import Catalog
from medshard.registry.catalog import PUBLIC_CATALOG
from medshard.registry.concepts import load_concepts

TURNS = 15


def load_catalog() -> None:
    assert not Catalog.load([PUBLIC_CATALOG]).problems


def load_catalog_and_concepts() -> None:
    load_concepts.__globals__["_load_once"].cache_clear()
    load_catalog()


def parse_with_libyaml() -> None:
    yaml.load(PUBLIC_CATALOG.read_text(encoding="utf8"), Loader=yaml.CSafeLoader)


def list_command() -> None:
    subprocess.run([sys.executable, "-m", "medshard.cli", "list"], check=True, capture_output=True)


def import_only() -> None:
    subprocess.run([sys.executable, "-c", "import medshard.cli, medshard.registry"], check=True)


MEASURED: dict[str, Callable[[], None]] = {
    "libyaml alone: text to plain dictionaries": parse_with_libyaml,
    "Catalog.load: entries checked, with lines": load_catalog,
    "the same with the vocabulary read anew": load_catalog_and_concepts,
    "python -c 'import medshard.registry'": import_only,
    "medshard list, a new process": list_command,
}


def main() -> None:
    seconds: dict[str, list[float]] = {name: [] for name in MEASURED}
    for _ in range(TURNS):
        for name, action in MEASURED.items():
            gc.collect()
            started = time.perf_counter()
            action()
            seconds[name].append(time.perf_counter() - started)
    entries = len(Catalog.load([PUBLIC_CATALOG]))
    size = PUBLIC_CATALOG.stat().st_size
    print(f"{entries} entries, {size / 1e3:.0f} kB of YAML, {TURNS} interleaved turns; seconds")
    floor = statistics.median(seconds["libyaml alone: text to plain dictionaries"])
    for name, taken in seconds.items():
        median = statistics.median(taken)
        print(f"{name:<45} median {median:.3f}  least {min(taken):.3f}  {median / floor:4.1f} x libyaml")


if __name__ == "__main__":
    main()
