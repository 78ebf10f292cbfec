"""A made entry behind a fake of Zenodo on loopback: two archives and a table."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from record_fakes import Serving, record_answers, serve

from medshard.pipelines.build import build
from medshard.pipelines.stages.stage import StageResult
from medshard.registry import Catalog
from medshard.registry.acquisition.options import AcquisitionOptions
from medshard.registry.acquisition.provenance import Provenance, read_provenance
from medshard.registry.store import Store

RECORD = "https://zenodo.org/api/records/77"


def zipped(*members: tuple[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return packed.getvalue()


FILES: dict[str, bytes] = {
    "images.zip": zipped(*((f"images/p{n}.nii.gz", gzip.compress(bytes([n]) * 5000, mtime=0)) for n in range(4))),
    "labels.zip": zipped(*((f"labels/p{n}.nii.gz", gzip.compress(bytes([n]) * 900, mtime=0)) for n in range(4))),
    "patients.csv": b"case,age\np0,50\np1,60\n",
}


def made_remote_entry(*sources: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "id": "remote",
        "title": "A data set behind a host",
        "description": "Made for a test.",
        "version": "1",
        "groups": ["abdomen"],
        "modalities": ["CT"],
        "tasks": ["segmentation"],
        "dimensions": [3],
        "licence": {"id": "CC-BY-4.0", "confidence": "verified"},
        "access": {"kind": "open"},
        "maturity": "described",
        "acquisition": list(sources) or [{"kind": "zenodo", "record": "77"}],
        **changes,
    }


@dataclass
class Remote:
    """A catalog with the one entry `remote`, a store, and what its host has."""

    root: Path
    entry: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=lambda: dict(FILES))
    environment: dict[str, str] = field(default_factory=dict)
    options: AcquisitionOptions = field(default_factory=AcquisitionOptions)

    @property
    def store(self) -> Store:
        return Store.open(self.root / "store")

    @property
    def inbox(self) -> Path:
        folder = self.store.root / "inbox" / "remote"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def catalog(self) -> Catalog:
        path = self.root / "catalog.yaml"
        path.write_text(yaml.safe_dump({"format_version": 1, "entries": [self.entry]}, sort_keys=False))
        catalog = Catalog.load([path])
        assert catalog.problems == (), [str(problem) for problem in catalog.problems]
        return catalog

    def use_as_catalog(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """For commands: the entry beside the public ones."""
        assert self.catalog
        monkeypatch.setenv("MEDSHARD_CATALOG", str(self.root / "catalog.yaml"))

    @contextmanager
    def hosts(self, *more: Any) -> Iterator[Serving]:
        """What the sources' hosts answer now, on loopback."""
        sources = self.catalog.entry("remote").acquisition
        answers = [record_answers(source, list(self.files.items())) for source in sources if source.kind == "zenodo"]
        with serve(*more, *answers) as serving:
            yield serving

    def build(self, serving: Serving | None = None, *, to: str = "raw", **said: Any) -> StageResult:
        mirrors = " ".join(f"{asked}={instead}" for asked, instead in (serving.mirrors if serving else {}).items())
        environment = {"MEDSHARD_MIRRORS": mirrors, "MEDSHARD_USER": "tester@here", **self.environment}
        options = replace(self.options, environment=environment, accept=frozenset({"remote"}))
        options = replace(options, **said)
        return build(self.store, "remote", to=to, catalog=self.catalog, acquisition=options)[-1]

    def manifest(self, result: StageResult) -> dict[str, Provenance]:
        table = read_provenance(self.store.read_bytes(result.head.attachments["files"]))
        return {row.path: row for row in table}

    def raw_file(self, result: StageResult, path: str) -> Path:
        (record,) = [r for r in result.manifest.records if (self.store.path(r.output) / path).parent.exists()]  # type: ignore[arg-type]
        assert record.output is not None
        return self.store.path(record.output) / path
