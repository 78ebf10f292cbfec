"""The report: everything that the manifests say, in one file that asks for no other."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from medshard.pipelines.build import build
from medshard.pipelines.reporting.montage import CONCEPT_COLOURS, contact_sheet
from medshard.pipelines.reporting.report import write_report
from medshard.pipelines.reporting.report_html import Html, element, megabytes, page, table
from medshard.pipelines.stages.stage import STAGES
from medshard.registry import Catalog
from medshard.registry.splits import Split, SplitRow
from medshard.registry.store import CaseRecord, Head, Manifest, Store, publish_manifest, read_manifest, swap_head
from medshard.registry.store.manifests import require_head

EXTERNAL = re.compile(
    r"(?:src|href|action|data|poster)\s*=\s*[\"']?(?!data:|#)[a-z]+://|@import|url\(|<script|<link", re.I
)


@pytest.fixture
def built(store: Store, scans: Any) -> tuple[Store, Catalog]:
    """Four cases through the chain, and a fifth whose image is no NIfTI."""
    scans.image("p5").write_bytes(b"no image at all")
    scans.mask("p5").write_bytes(scans.mask("p4").read_bytes())
    build(store, "crops", catalog=scans.catalog)
    return store, scans.catalog


def test_the_report_names_every_case_stage_digest_licence_and_exclusion(
    built: tuple[Store, Catalog], tmp_path: Path
) -> None:
    store, catalog = built
    text = write_report(store, catalog, None, tmp_path / "demo").read_text()
    assert [case for case in ("p1", "p2", "p3", "p4", "p5") if f"<td>{case}</td>" not in text] == []
    for stage in STAGES:
        head = require_head(store, "crops", stage, "default" if stage == "shards" else None)
        assert head.data_version in text
    assert "LicenseRef-MNI-ICBM152" in text
    excluded = read_manifest(store, require_head(store, "crops", "cases").manifest).excluded
    assert [record.case for record in excluded] == ["p5"]
    assert excluded[0].error is not None
    assert excluded[0].error["code"] in text
    assert "1.5\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}1.5\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}1.5" in text


def test_the_report_says_that_so_few_cases_support_no_claim(built: tuple[Store, Catalog], tmp_path: Path) -> None:
    text = write_report(*built, None, tmp_path / "demo").read_text()
    assert "come from 4 patients" in text
    assert "support no claim of accuracy" in text


def test_the_report_asks_for_no_other_file(built: tuple[Store, Catalog], tmp_path: Path) -> None:
    text = write_report(*built, None, tmp_path / "demo").read_text()
    assert EXTERNAL.search(text) is None
    assert text.count("data:image/png;base64,") == 6
    assert [path.name for path in (tmp_path / "demo").iterdir()] == ["report.html"]


def test_data_docs_are_linked_where_they_are(built: tuple[Store, Catalog], tmp_path: Path) -> None:
    store, catalog = built
    index = store.root / "reports" / "crops" / "data-docs" / "index.html"
    index.parent.mkdir(parents=True)
    index.write_text("docs")
    report = write_report(store, catalog, None, tmp_path / "demo")
    links = re.findall(r'href="([^"#][^"]*)"', report.read_text())
    assert [(report.parent / link).resolve() for link in links] == [index]


def test_the_same_store_gives_the_same_report(built: tuple[Store, Catalog], tmp_path: Path) -> None:
    first = write_report(*built, None, tmp_path / "demo").read_bytes()
    assert write_report(*built, None, tmp_path / "demo").read_bytes() == first


def test_a_split_is_shown_before_anything_is_trained(built: tuple[Store, Catalog], tmp_path: Path) -> None:
    store, catalog = built
    rows = tuple(
        SplitRow(entry="crops", case=case, patient=case, component=f"crops/{case}", part=part)
        for case, part in (("p1", "train"), ("p2", "val"), ("p3", "test"))
    )
    table_ref = store.publish_bytes(Split(rows).to_bytes(), ".split.jsonl")
    record = CaseRecord(stage="split", entry="recipe", case="recipe", key="k", code_version="1", output=table_ref)
    manifest = Manifest(stage="split", entry="recipe", code_version="1", records=(record,))
    swap_head(
        store, "recipe", "split", Head(manifest=publish_manifest(store, manifest), attachments={"split": table_ref})
    )
    text = write_report(store, catalog, "recipe", tmp_path / "demo").read_text()
    assert "<td>train</td><td>crops</td><td>p1</td>" in text
    assert "<td>test</td><td>crops</td><td>p3</td>" in text
    assert Split(rows).digest[:12] in text


def test_an_entry_that_was_never_built_is_left_out(store: Store, scans: Any, tmp_path: Path) -> None:
    text = write_report(store, scans.catalog, None, tmp_path / "demo").read_text()
    assert "crops" not in text


def test_shards_show_the_same_anatomy_in_the_same_place(built: tuple[Store, Catalog]) -> None:
    store, _ = built
    places = []
    for stage in ("volumes", "shards"):
        sheet = np.asarray(Picture.open(io.BytesIO(contact_sheet(store, "crops", stage=stage))).convert("RGB"))  # type: ignore[arg-type]
        outline = np.all(sheet == CONCEPT_COLOURS[0], axis=-1)
        places.append(np.argwhere(outline).mean(axis=0))
    assert np.abs(places[0] - places[1]).max() < 6


def test_text_is_escaped_and_markup_is_not() -> None:
    made = page("<title>", [element("p", "a < b & c"), table(("x",), [["<td>"], [Html("<b>bold</b>")]])])
    assert "&lt;title&gt;" in made
    assert "<p>a &lt; b &amp; c</p>" in made
    assert "<td>&lt;td&gt;</td>" in made
    assert "<td><b>bold</b></td>" in made


@pytest.mark.parametrize(("size", "text"), [(900, "0.9 kB"), (5_100_000, "5.1 MB"), (2_340_000_000, "2.34 GB")])
def test_sizes_are_written_for_people(size: int, text: str) -> None:
    assert megabytes(size) == text
