"""How long small pictures by the thousand take from files to volumes (or shards), and how many files that makes.

    python benchmarks/convert_pictures.py --cases 5000 --side 28
    python benchmarks/convert_pictures.py --cases 109309 --side 28 --form npz --to fingerprint

form: `png`, one file a picture in folders of its class; `npz`, one file with all pictures and their classes. The
pictures are noise of a fixed seed, which nothing compresses: what is measured is what a case costs, not its pixels.
One JSON object: seconds of each stage, files and bytes in the store by folder, peak memory of
parent and workers, processor seconds of all, the making of the pictures among them.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medshard.pipelines.build import build
from medshard.pipelines.execution.map_cases import Execution
from medshard.registry import Catalog
from medshard.registry.store import Store

CLASSES = ("choroidal neovascularisation", "diabetic macular oedema", "drusen", "normal")

WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)

ENTRY = """
format_version: 1
entries:
- id: pictures
  title: Small pictures
  description: Many small pictures of four classes.
  version: "1"
  groups: [eyes]
  modalities: [OCT]
  tasks: [classification]
  dimensions: [2]
  licence: {id: CC0-1.0}
  access: {kind: open}
  maturity: described
  acquisition: [{kind: folder, path: %s}]
  cases: [%s]
"""
GROUPS = {
    "png": """{case: "{class_folder}-{case}", modality: OCT, images: {oct: {path: "{class_folder}/{case}.png"}},
      annotations: {diagnosis: {kind: class-folder, field: class_folder, values: {%s}}}}""",
    "npz": """{case: "picture-{index}", modality: OCT,
      images: {oct: {path: pictures.npz, key: images, pictures: each}},
      annotations: {diagnosis: {kind: class-table, path: pictures.npz, rows: labels, column: labels, values: {%s}}}}""",
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--side", type=int, default=28)
    parser.add_argument("--form", choices=sorted(GROUPS), default="png")
    parser.add_argument("--to", default="volumes")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="work here, and leave everything; a temporary folder otherwise")
    options = parser.parse_args(arguments)
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
        report(options, options.folder)
        return 0
    with tempfile.TemporaryDirectory(prefix="convert-pictures-") as folder:
        report(options, Path(folder))
    return 0


def report(options: argparse.Namespace, folder: Path) -> None:
    catalog = make_pictures(folder, options.form, options.cases, options.side)
    store = Store.open(folder / "store")
    results = build(store, "pictures", to=options.to, catalog=catalog, execution=Execution(workers=options.workers))
    print(
        json.dumps(
            {
                "cases": options.cases,
                "side": options.side,
                "form": options.form,
                "workers": options.workers,
                "seconds": {result.stage: round(result.seconds, 1) for result in results},
                "good": {result.stage: len(result.manifest.good) for result in results},
                "store": {part: _size(store.root / part) for part in ("objects", "records", "heads")},
                "stacks_and_volumes": len(list((store.root / "objects").glob("*/*.zarr"))),
                "cpu_seconds": round(sum(sum(resource.getrusage(who)[:2]) for who in WHO), 1),
                "peak_mib": {"parent": _peak_mib(resource.RUSAGE_SELF), "worker": _peak_mib(resource.RUSAGE_CHILDREN)},
            },
            indent=1,
        )
    )


def make_pictures(folder: Path, form: str, cases: int, side: int) -> Catalog:
    source = folder / "source"
    if not source.exists():
        rng = np.random.default_rng(6)
        pictures = rng.integers(0, 256, (cases, side, side), dtype=np.uint8)
        labels = rng.integers(0, len(CLASSES), (cases, 1), dtype=np.uint8)
        source.mkdir()
        if form == "npz":
            np.savez_compressed(source / "pictures.npz", images=pictures, labels=labels)
        else:
            _write_pngs(source, pictures, labels)
    word = "{}" if form == "npz" else "class{}"
    values = ", ".join(f"'{word.format(number)}': {name}" for number, name in enumerate(CLASSES))
    file = folder / "catalog.yaml"
    file.write_text(ENTRY % (source, GROUPS[form] % values), encoding="utf8")
    catalog = Catalog.load([file])
    if catalog.problems:
        raise SystemExit("\n".join(map(str, catalog.problems)))
    return catalog


def _write_pngs(source: Path, pictures: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> None:
    for number in range(len(CLASSES)):
        (source / f"class{number}").mkdir()
    for number, (picture, label) in enumerate(zip(pictures, labels[:, 0], strict=True)):
        Image.fromarray(picture).save(source / f"class{label}" / f"{number:06d}.png", compress_level=1)


def _size(folder: Path) -> dict[str, int]:
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return {"files": len(sizes), "bytes": sum(sizes)}


def _peak_mib(who: int) -> int:
    return resource.getrusage(who).ru_maxrss >> 10


if __name__ == "__main__":
    raise SystemExit(main())
