"""The real chest CTs that the conversion benchmarks take: named files, or those of an entry in the store."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from medshard.errors import StoreError
from medshard.pipelines.stages.raw import raw_files
from medshard.registry.store import Store
from medshard.registry.store.manifests import read_manifest, require_head

SCANS = ("lung1_image.nrrd", "lung2_image.nrrd")


def add_scan_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", default=os.environ.get("MEDSHARD_ROOT", "data"), help="the store")
    parser.add_argument("--entry", default="pyradiomics-cases", help="the entry whose chest CTs are taken")
    parser.add_argument("--image", type=Path, action="append", help="a scan to take instead; may be repeated")


def scans(options: argparse.Namespace) -> list[Path]:
    """The images of the options, or else the entry's chest CTs. Raises StoreError when the entry has none."""
    if options.image:
        named: list[Path] = options.image
        return named
    store = Store.open(options.root, create=False)
    files = raw_files(store, read_manifest(store, require_head(store, options.entry, "raw").manifest))
    found = [file.location for path, file in sorted(files.items()) if path.endswith(SCANS)]
    if not found:
        raise StoreError(
            "benchmark.no_scan",
            where=options.entry,
            problem="the entry has no chest CT of the names that the benchmark knows",
            details={"expected": ", ".join(SCANS)},
            action="Name a scan with --image.",
        )
    return found
