"""What licences bar, and what stands in the notice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from made_exports import Source, organs

from medshard.errors import MedshardError
from medshard.pipelines.exporting.monai import export_monai
from medshard.pipelines.exporting.permission import check_permission
from medshard.pipelines.exporting.request import ExportRequest


def request_of(home: Path, licence: dict[str, str], **fields: object) -> ExportRequest:
    source = Source(home, fields={"licence": licence, **fields})
    source.add_case("a", organs())
    return source.build()


@pytest.mark.parametrize("licence", ["CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC0-1.0"])
def test_a_licence_that_allows_copies_bars_nothing(tmp_path: Path, licence: str) -> None:
    check_permission(request_of(tmp_path, {"id": licence}).entry, for_own_use=False)


@pytest.mark.parametrize("licence", ["CC-BY-ND-4.0", "CC-BY-NC-ND-4.0", "LicenseRef-unknown"])
def test_a_licence_that_does_not_bars_the_export_before_anything_is_written(tmp_path: Path, licence: str) -> None:
    request = request_of(tmp_path, {"id": licence})
    with pytest.raises(MedshardError) as caught:
        export_monai(request)
    assert caught.value.code == "export.licence"
    assert "--for-own-use" in caught.value.action
    assert not request.output.exists()


def test_an_export_for_own_use_says_that_it_stays(tmp_path: Path) -> None:
    request = request_of(tmp_path, {"id": "CC-BY-ND-4.0"})
    export_monai(replace(request, for_own_use=True))
    notice = (request.output / "NOTICE.md").read_text()
    assert "Not to be handed on" in notice
    assert "derivatives" in notice


def test_the_notice_has_licence_citation_and_changes(tmp_path: Path) -> None:
    licence = {"id": "CC-BY-4.0", "notice": "Copyright the makers."}
    request = request_of(tmp_path, licence, citation={"text": "Maker et al. 2020", "doi": "10.1234/abc"})
    export_monai(request)
    notice = (request.output / "NOTICE.md").read_text()
    for words in ("CC-BY-4.0", "Copyright the makers.", "Maker et al. 2020", "https://doi.org/10.1234/abc", "Changes"):
        assert words in notice
    assert "Not to be handed on" not in notice


def test_of_gated_data_the_notice_says_what_acceptance_stands_behind_it(tmp_path: Path) -> None:
    access = {"kind": "agreement", "instructions": "Sign it."}
    request = request_of(tmp_path, {"id": "CC-BY-NC-4.0"}, access=access)
    export_monai(request)
    assert "## Acceptance" in (request.output / "NOTICE.md").read_text()


def test_lineage_names_the_source_files_by_digest(tmp_path: Path) -> None:
    request = request_of(tmp_path, {"id": "CC0-1.0"})
    export_monai(request)
    lineage = json.loads((request.output / "lineage.json").read_text())
    sources = lineage["cases"]["a"]["sources"]
    assert {Path(path).name for path in sources} == {"a_ct.nii", "a_organs.nii"}
    assert all(len(digest) == 64 for digest in sources.values())
    assert str(tmp_path) not in json.dumps(lineage)
