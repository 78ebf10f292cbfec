"""The commands that ask the catalog: what they print, what they refuse, and with which exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from medshard.cli import cli
from medshard.commands.asking import counts_by_maturity
from medshard.registry import Catalog
from medshard.registry.catalog import PUBLIC_CATALOG
from medshard.registry.catalog.json_schema import schema_text
from medshard.registry.store import CaseRecord, Head, Manifest, Store, publish_manifest, swap_head

SMALL = """\
# Two entries for the tests of the command line.
format_version: 1
entries:
  - id: arteries
    title: Arteries of the heart
    names: [Twins]
    description: Contrast agent in every scan.
    version: "1"
    groups: [vessel]
    modalities: [CTA]
    regions: [heart]
    tasks: [segmentation]
    dimensions: [3]
    source: {formats: [nii.gz]}
    licence: {id: CC-BY-NC-4.0}
    access: {kind: account, instructions: Register at the site.}
    maturity: described
    confidence: partly
    doubts: [Nobody counted the scans.]
    acquisition:
      - {kind: kaggle, dataset: owner/arteries}
    cases:
      - modality: CTA
        images:
          image: {path: "{case}.nii.gz"}
        labels:
          tree: {path: "{case}_tree.nii.gz", classes: {1: coronary artery}, examined: []}

  - id: livers
    title: Livers of two hospitals
    names: [Twins, "Liver (Task99)"]
    description: Made for tests.
    version: "1"
    groups: [abdomen, lesion]
    modalities: [CT]
    regions: [liver]
    tasks: [segmentation]
    dimensions: [3]
    paper:
      - table: 15
        name: Hepar
        dimension: 3D
        modality: CT
        task: Organ segmentation
        targets: "1"
        size: 1,200
        format: nii.gz
    source: {cases: 1201, labelled: 1201, classes: 1, formats: [nii.gz]}
    differences:
      - {field: size, note: One scan was added later.}
    licence: {id: CC-BY-4.0}
    access: {kind: open}
    maturity: described
    acquisition:
      - kind: zenodo
        record: "1"
        files:
          - {name: livers.zip, size: 45000000000}
    cases:
      - modality: CT
        images:
          image: {path: "{case}.nii.gz"}
        labels:
          organs: {path: "{case}_seg.nii.gz", classes: {1: liver}}
"""

Run = Callable[..., Result]


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalog of two entries in the place of the public one."""
    file = tmp_path / "catalog.yaml"
    file.write_text(SMALL, encoding="utf8")
    for module in ("medshard.registry.catalog", "medshard.registry.catalog.catalog"):
        monkeypatch.setattr(f"{module}.PUBLIC_CATALOG", file)
    monkeypatch.delenv("MEDSHARD_CATALOG", raising=False)
    monkeypatch.delenv("MEDSHARD_ROOT", raising=False)
    return file


@pytest.fixture
def run() -> Run:
    def invoke(*arguments: object, code: int = 0) -> Result:
        result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    return invoke


def line_of(text: str, fragment: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), start=1) if fragment in line)


@pytest.mark.usefixtures("small")
class TestList:
    def test_prints_a_line_for_each_entry_and_counts_them(self, run: Run) -> None:
        result = run("list")
        header, *rows = result.stdout.splitlines()
        assert header.split() == [
            *("id", "modality", "dim", "region", "cases", "access", "licence", "maturity", "title")
        ]
        assert rows[0].startswith("arteries  CTA       3D   heart       ?  account")
        assert rows[1].split()[:5] == ["livers", "CT", "3D", "liver", "1,201"]
        assert result.stderr == "2 of 2 entries: 0 acquired, 0 layout-tested, 2 described\n"

    @pytest.mark.parametrize(
        ("options", "ids"),
        [
            (["--group", "lesion"], ["livers"]),
            (["--group", "vessel", "--group", "lesion"], ["arteries", "livers"]),
            (["--modality", "CT"], ["arteries", "livers"]),
            (["--modality", "cta"], ["arteries"]),
            (["--region", "heart"], ["arteries"]),
            (["--task", "segmentation"], ["arteries", "livers"]),
            (["--sequence", "T1"], []),
            (["--access", "account"], ["arteries"]),
            (["--maturity", "acquired"], []),
            (["--commercial-use", "allowed"], ["livers"]),
            (["--commercial-use", "allowed", "--commercial-use", "forbidden"], ["arteries", "livers"]),
            (["--dimension", "3"], ["arteries", "livers"]),
            (["--dimension", "2"], []),
            (["--concept", "artery"], ["arteries"]),
            (["--examines", "artery"], []),
            (["--examines", "liver"], ["livers"]),
            (["--licence", "CC-BY-4.0"], ["livers"]),
            (["--kind", "kaggle"], ["arteries"]),
            (["--text", "contrast agent"], ["arteries"]),
            (["--modality", "CT", "--concept", "liver", "--commercial-use", "allowed"], ["livers"]),
        ],
    )
    def test_options_choose_entries(self, run: Run, options: list[str], ids: list[str]) -> None:
        assert [row["id"] for row in json.loads(run("list", *options, "--json").stdout)] == ids

    def test_json_rows_say_at_least_what_was_promised(self, run: Run) -> None:
        _, livers = json.loads(run("list", "--json").stdout)
        assert livers["id"] == "livers"
        assert livers["name"] == "Livers of two hospitals"
        assert livers["paper"] == [{"table": 15, "name": "Hepar", "size": "1,200"}]
        assert livers["groups"] == ["abdomen", "lesion"]
        assert livers["modality"] == ["CT"]
        assert livers["tasks"] == ["segmentation"]
        assert livers["dimension"] == [3]
        assert livers["access"] == "open"
        assert livers["licence"] == {
            "id": "CC-BY-4.0",
            "confidence": "unstated",
            "commercial_use": "allowed",
            "redistribution": "allowed",
            "derivatives": "allowed",
        }
        assert livers["counts"]["cases"] == 1201
        assert livers["maturity"] == "described"

    @pytest.mark.parametrize(
        ("options", "code", "says"),
        [
            (["--modality", "MRI"], 2, "Invalid value for '--modality'"),
            (["--kind", "zenod"], 1, "zenodo"),
            (["--licence", "CC BY"], 1, "LicenseRef-"),
            (["--concept", "livr"], 1, "did you mean"),
        ],
    )
    def test_a_word_that_nobody_knows_is_refused(self, run: Run, options: list[str], code: int, says: str) -> None:
        result = run("list", *options, code=code)
        assert says in result.stderr
        assert result.stdout == ""

    def test_an_invalid_entry_is_mentioned_and_the_others_are_listed(self, run: Run, small: Path) -> None:
        small.write_text(SMALL.replace("modalities: [CTA]", "modalities: [CTX]"), encoding="utf8")
        result = run("list")
        assert len(result.stdout.splitlines()) == 2
        assert "arteries: not valid, 1 problem(s)" in result.stderr


@pytest.mark.usefixtures("small")
class TestShow:
    @pytest.mark.parametrize("name", ["livers", "Hepar", "hepar", "Liver (Task99)", "Livers of two hospitals"])
    def test_an_entry_is_found_by_id_title_other_name_and_name_in_the_paper(self, run: Run, name: str) -> None:
        card = run("show", name).stdout
        assert "Livers of two hospitals" in card
        assert "CC-BY-4.0" in card
        assert card.endswith(f"catalog.yaml:{line_of(SMALL, 'id: livers')}\n")

    def test_a_card_fits_the_page(self, run: Run) -> None:
        assert max(len(line) for line in run("show", "livers").stdout.splitlines()) <= 120

    def test_json_is_the_whole_entry(self, run: Run) -> None:
        document = json.loads(run("show", "livers", "--json").stdout)
        assert document["differences"] == [{"field": "size", "note": "One scan was added later."}]

    def test_a_name_of_several_entries_is_refused_with_their_ids(self, run: Run) -> None:
        message = run("show", "twins", code=1).stderr
        assert "entry.ambiguous" in message
        assert "arteries" in message
        assert "livers" in message

    def test_an_unknown_name_is_refused_with_near_ones(self, run: Run) -> None:
        message = run("show", "liver", code=1).stderr
        assert "entry.unknown" in message
        assert "livers" in message

    def test_an_invalid_entry_says_where_it_is_wrong(self, run: Run, small: Path) -> None:
        text = SMALL.replace("modalities: [CTA]", "modalities: [CTX]")
        small.write_text(text, encoding="utf8")
        assert f"catalog.yaml:{line_of(text, 'CTX')}" in run("show", "arteries", code=1).stderr


@pytest.mark.usefixtures("small")
class TestCheck:
    def test_a_good_catalog_passes(self, run: Run, small: Path) -> None:
        assert run("check").stderr == "2 valid entries, 0 problems\n"
        assert run("check", small).stderr == "2 valid entries, 0 problems\n"

    def test_every_problem_of_an_overlay_is_named_with_file_and_line(self, run: Run, tmp_path: Path) -> None:
        text = SMALL.replace("id: arteries", "id: mine").replace("id: livers", "id: ours").replace("Hepar", "Jecur")
        text = text.replace("modalities: [CT]", "modalities: [CTT]").replace("{1: coronary artery}", "{1: liverr}")
        overlay = tmp_path / "lab.yaml"
        overlay.write_text(text, encoding="utf8")
        result = run("check", overlay, code=1)
        lines = result.stdout.splitlines()
        assert any(line.startswith(f"{overlay}:{line_of(text, 'CTT')}: ours modalities.0") for line in lines)
        assert any(line.startswith(f"{overlay}:{line_of(text, 'liverr')}: mine cases.0") for line in lines)
        assert all(line.startswith(f"{overlay}:") for line in lines)
        assert result.stderr == f"0 valid entries, {len(lines)} problems\n"

    def test_an_overlay_may_not_take_an_id_that_is_there(self, run: Run, small: Path, tmp_path: Path) -> None:
        overlay = tmp_path / "lab.yaml"
        overlay.write_text(SMALL, encoding="utf8")
        result = run("check", overlay, code=1)
        assert f"{overlay}:{line_of(SMALL, 'id: livers')}: livers id: this id is taken by {small}" in result.stdout

    def test_a_good_overlay_passes_although_the_public_catalog_does_not(
        self, run: Run, small: Path, tmp_path: Path
    ) -> None:
        overlay = tmp_path / "lab.yaml"
        overlay.write_text(SMALL.replace("id: ", "id: my-").replace("my-CC", "CC").replace("Hepar", "Jecur"))
        small.write_text(SMALL.replace("modalities: [CT]", "modalities: [CTT]"), encoding="utf8")
        assert run("check", overlay).stderr == "2 valid entries, 0 problems\n"
        assert run("check", code=1).stderr.startswith("1 valid entries, ")

    def test_a_file_that_is_not_there_fails(self, run: Run, tmp_path: Path) -> None:
        assert "cannot be read" in run("check", tmp_path / "absent.yaml", code=1).stdout

    def test_overlays_of_the_environment_are_checked_too(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        overlay = tmp_path / "lab.yaml"
        overlay.write_text("format_version: 1\nentries: [1]\n")
        monkeypatch.setenv("MEDSHARD_CATALOG", str(overlay))
        assert f"{overlay}:2" in run("check", code=1).stdout

    def test_what_a_build_cannot_do_yet_is_noted_and_is_no_fault(self, run: Run, small: Path, tmp_path: Path) -> None:
        text = (
            small.read_text(encoding="utf8").replace("id: livers", "id: spleens").replace("name: Hepar", "name: Lien")
        )
        text = text.replace("id: spleens\n", "id: spleens\n    adapter: {function: 'own:read', reason: Odd files.}\n")
        overlay = tmp_path / "mine.yaml"
        overlay.write_text(text.replace("id: arteries", "id: veins"), encoding="utf8")
        assert "note: spleens is valid, but cannot be built yet" in run("check", overlay).stdout


@pytest.mark.usefixtures("small")
class TestOverlaps:
    def test_edges_are_shown_from_either_end_with_their_evidence(self, run: Run, small: Path) -> None:
        edge = "    overlaps:\n      - {entry: livers, kind: subset-of, evidence: Said so.}\n"
        text = small.read_text(encoding="utf8")
        small.write_text(
            text.replace("    acquisition:\n      - {kind: kaggle", edge + "    acquisition:\n      - {kind: kaggle")
        )
        assert "livers  subset-of           Said so." in run("overlaps", "arteries").stdout
        document = json.loads(run("overlaps", "livers", "--json").stdout)
        assert [(one["other"], one["kind"]) for one in document["direct"]] == [("arteries", "superset-of")]
        assert document["through_others"] == []


class TestFormat:
    def test_check_tells_and_changes_nothing(self, run: Run, small: Path) -> None:
        run("format", small)
        formatted = small.read_text(encoding="utf8")
        assert "unchanged" in run("format", "--check", small).stdout
        untidy = formatted.replace("dimensions: [3]", "dimensions:\n      - 3")
        small.write_text(untidy, encoding="utf8")
        assert "not in its form" in run("format", "--check", small, code=1).stdout
        assert small.read_text(encoding="utf8") == untidy

    def test_without_check_it_mends_the_file(self, run: Run, small: Path) -> None:
        run("format", small)
        formatted = small.read_text(encoding="utf8")
        small.write_text(formatted.replace("dimensions: [3]", "dimensions:\n      - 3"), encoding="utf8")
        assert ": formatted" in run("format").stdout
        assert small.read_text(encoding="utf8") == formatted
        assert formatted.startswith("# Two entries for the tests")

    def test_a_comment_that_would_be_lost_is_refused(self, run: Run, small: Path) -> None:
        text = SMALL.replace("    maturity: described\n", "    maturity: described  # soon\n", 1)
        small.write_text(text, encoding="utf8")
        assert str(line_of(text, "# soon")) in run("format", code=1).stderr
        assert small.read_text(encoding="utf8") == text


class TestSchema:
    def test_it_is_printed_or_written(self, run: Run, tmp_path: Path) -> None:
        assert run("schema").stdout == schema_text()
        run("schema", "--output", tmp_path / "schema.json")
        assert (tmp_path / "schema.json").read_text(encoding="utf8") == schema_text()

    def test_a_folder_that_is_not_there_is_named(self, run: Run, tmp_path: Path) -> None:
        assert "No such file" in run("schema", "--output", tmp_path / "no" / "schema.json", code=1).stderr


@pytest.mark.usefixtures("small")
class TestLabels:
    def test_a_concept_names_entry_layer_kind_value_and_whether_it_was_examined(self, run: Run) -> None:
        header, *rows = run("labels", "liver").stdout.splitlines()
        assert header.split() == ["entry", "layer", "kind", "value", "concept", "examined"]
        assert [row.split() for row in rows] == [["livers", "organs", "semantic", "1", "liver", "yes"]]

    def test_a_concept_that_was_not_looked_for_everywhere_says_so(self, run: Run) -> None:
        _, row = run("labels", "coronary artery").stdout.splitlines()
        assert row.split(maxsplit=6) == [
            "arteries",
            "tree",
            "semantic",
            "1",
            "coronary",
            "artery",
            "no: absence is unknown",
        ]

    def test_json_says_the_same(self, run: Run) -> None:
        assert json.loads(run("labels", "Livers", "--json").stdout) == [
            {
                "entry": "livers",
                "layer": "organs",
                "kind": "semantic",
                "value": "1",
                "concept": "liver",
                "examined": True,
            }
        ]

    def test_an_unknown_concept_is_refused_with_near_ones(self, run: Run) -> None:
        message = run("labels", "livr", code=1).stderr
        assert "concept.unknown" in message
        assert "liver" in message.split("did you mean")[1]

    def test_without_a_concept_the_vocabulary_is_printed_with_its_users(self, run: Run) -> None:
        lines = run("labels").stdout.splitlines()
        (liver,) = [line.split() for line in lines if line.startswith("liver  ")]
        assert (liver[1], liver[-1]) == ("organ", "1")
        assert len(json.loads(run("labels", "--json").stdout)) == len(lines) - 1


@pytest.mark.usefixtures("small")
class TestAuditPaper:
    def test_both_figures_and_the_reason_stand_in_a_row(self, run: Run) -> None:
        result = run("audit-paper")
        _, row = result.stdout.splitlines()
        assert row.split(maxsplit=5) == ["livers", "15", "size", "1,200", "1,201", "One scan was added later."]
        assert "1 remarks on 1 entries, 1 of them on figures that differ" in result.stderr
        assert "1 names, 1,200 3-D and 0 2-D images" in result.stderr

    def test_json_has_the_same_fields(self, run: Run) -> None:
        (item,) = json.loads(run("audit-paper", "--json").stdout)
        assert item == {
            "entry": "livers",
            "table": 15,
            "name": "Hepar",
            "field": "size",
            "paper": "1,200",
            "source": "1,201",
            "differs": True,
            "note": "One scan was added later.",
        }


@pytest.mark.usefixtures("small")
class TestPlanCapacity:
    @pytest.mark.parametrize(
        ("choice", "ids"),
        [
            (["livers"], ["livers"]),
            (["livers", "arteries", "livers"], ["livers", "arteries"]),
            (["--group", "lesion"], ["livers"]),
            (["--platform"], ["livers"]),
            (["--platform", "--modality", "CTA"], []),
            (["--all"], ["arteries", "livers"]),
            (["--access", "account"], ["arteries"]),
        ],
    )
    def test_a_selection_is_planned_each_entry_once(self, run: Run, choice: list[str], ids: list[str]) -> None:
        document = json.loads(run("plan-capacity", *choice, "--json").stdout)
        assert [one["id"] for one in document["entries"]] == ids
        assert document["download_bytes"] == (45 * 10**9 if "livers" in ids else 0)

    def test_what_is_known_is_added_up_and_what_is_not_is_named(self, run: Run) -> None:
        text = run("plan-capacity", "--all").stdout
        assert "2 entries: the sources state the size of the download for 1, of a part of it for 0, none for 1." in text
        (download,) = [line.split() for line in text.splitlines() if line.startswith("download ")]
        assert download[:7] == ["download", "at", "least", "45.00", "GB,", "1.0", "h"]
        assert "account (1): arteries" in text
        assert "CC-BY-NC-4.0 (1): arteries" in text
        assert "size unknown (1): arteries" in text

    def test_known_sizes_are_no_lower_bound(self, run: Run) -> None:
        text = run("plan-capacity", "livers").stdout
        assert "download  45.00 GB" in text
        assert "at least" not in text

    def test_rates_change_the_hours(self, run: Run) -> None:
        options = ("--mbit", "1000", "--build-mb", "100", "--json")
        document = json.loads(run("plan-capacity", "livers", *options).stdout)
        assert (document["download_hours"], document["build_hours"]) == (0.1, 0.12)

    @pytest.mark.parametrize(
        ("arguments", "code", "says"),
        [
            ([], 2, "--platform"),
            (["--mbit", "50"], 2, "--all"),
            (["livers", "--group", "brain"], 2, "not both"),
            (["livers", "--all"], 2, "not both"),
            (["--all", "--mbit", "0"], 2, "--mbit"),
            (["liverz"], 1, "livers"),
        ],
    )
    def test_no_selection_two_selections_and_bad_rates_are_refused(
        self, run: Run, arguments: list[str], code: int, says: str
    ) -> None:
        assert says in run("plan-capacity", *arguments, code=code).stderr


@pytest.mark.usefixtures("small")
class TestCriteria:
    def test_one_entry_is_judged_rule_by_rule(self, run: Run) -> None:
        text = run("criteria", "livers").stdout
        assert text.startswith("livers\n")
        assert "1,201 of 1,201 cases labelled" in text
        assert "no modality rules" not in text

    def test_without_an_id_all_entries_and_the_catalog_are_judged(self, run: Run) -> None:
        text = run("criteria").stdout
        (arteries,) = [line for line in text.splitlines() if line.startswith("arteries")]
        assert arteries.split()[1:4] == ["unknown", "unknown", "unknown"]
        assert "the number of cases is not known" in arteries
        assert "2 of 9 covered" not in text
        assert "3 of 9 covered" in text

    def test_json_has_entries_and_catalog(self, run: Run) -> None:
        document = json.loads(run("criteria", "--json").stdout)
        assert [one["entry"] for one in document["entries"]] == ["arteries", "livers"]
        assert {one["rule"] for one in document["catalog"]} >= {"groups", "modalities", "tasks", "diseases"}
        assert json.loads(run("criteria", "livers", "--json").stdout)["catalog"] == []

    def test_a_store_adds_the_verdicts_of_its_cases(self, run: Run, store: Store) -> None:
        record = CaseRecord(stage="cases", entry="livers", case="a", key="a", code_version="1")
        manifest = Manifest(stage="cases", entry="livers", code_version="1", records=(record,))
        swap_head(store, "livers", "cases", Head(manifest=publish_manifest(store, manifest)))
        assert "cases for supervised: 1 fit" in run("criteria", "livers", "--root", store.root).stdout

    def test_a_store_that_is_not_there_is_no_empty_one(self, run: Run, tmp_path: Path) -> None:
        run("criteria", "livers", "--root", tmp_path / "absent", code=1)
        assert not (tmp_path / "absent").exists()


@pytest.mark.usefixtures("small")
class TestCardExportAndSite:
    def test_a_card_is_printed_or_written(self, run: Run, tmp_path: Path) -> None:
        printed = run("card", "Hepar").stdout
        assert printed.startswith("# Livers of two hospitals")
        run("card", "livers", "--output", tmp_path / "livers.md")
        assert (tmp_path / "livers.md").read_text(encoding="utf8") == printed

    def test_croissant_is_json_that_names_the_entry(self, run: Run, tmp_path: Path) -> None:
        document = json.loads(run("export", "croissant", "livers").stdout)
        assert "http://mlcommons.org/croissant/1.1" in document["conformsTo"]
        assert document["@type"] in {"Dataset", "sc:Dataset"}
        run("export", "croissant", "livers", "--output", tmp_path / "livers.json")
        assert json.loads((tmp_path / "livers.json").read_text(encoding="utf8")) == document

    @pytest.mark.parametrize("command", [("card",), ("export", "croissant"), ("show",)])
    def test_an_unknown_entry_is_refused_with_near_ones(self, run: Run, command: tuple[str, ...]) -> None:
        assert "livers" in run(*command, "liverz", code=1).stderr

    def test_another_form_is_refused(self, run: Run) -> None:
        assert "croissant" in run("export", "bibtex", "livers", code=2).stderr

    @pytest.mark.parametrize("command", [("card",), ("export", "croissant")])
    def test_a_place_that_cannot_be_written_is_named(self, run: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
        place = tmp_path / "no" / "file"
        assert str(place) in run(*command, "livers", "--output", place, code=1).stderr

    def test_the_site_is_written_into_a_folder(self, run: Run, tmp_path: Path) -> None:
        text = run("site", tmp_path / "site").stdout
        pages = sorted(path.name for path in (tmp_path / "site" / "entries").iterdir())
        assert pages == ["arteries.html", "livers.html"]
        assert (tmp_path / "site" / "index.html").is_file()
        files = sum(1 for path in (tmp_path / "site").rglob("*") if path.is_file())
        assert text.startswith(f"{files} files; open ")


class TestThePublicCatalog:
    def test_the_table_of_the_lesion_group_has_the_rows_of_the_paper(self, run: Run) -> None:
        rows: list[dict[str, Any]] = json.loads(run("list", "--group", "lesion", "--json").stdout)
        assert len(rows) == 47
        assert all(any(row["table"] == 16 for row in one["paper"]) for one in rows)

    def test_the_whole_platform_is_planned_before_a_byte_is_fetched(self, run: Run) -> None:
        document = json.loads(run("plan-capacity", "--platform", "--json").stdout)
        states = ("sizes_known", "sizes_partly_known", "sizes_unknown")
        assert sum(len(document[state]) for state in states) == len(document["entries"]) >= 136

    def test_the_audit_states_the_totals_of_the_tables(self, run: Run) -> None:
        assert "136 names, 44,316 3-D and 214,596 2-D images" in run("audit-paper").stderr

    def test_a_command_knows_the_same_entries_as_the_library(self, run: Run) -> None:
        ids = [row["id"] for row in json.loads(run("list", "--json").stdout)]
        assert ids == list(Catalog.load([PUBLIC_CATALOG]).entries)


def test_the_readme_counts_by_maturity_as_the_list_does() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf8")
    catalog = Catalog.load([PUBLIC_CATALOG])
    assert counts_by_maturity([catalog.entry(entry) for entry in catalog.entries]) in readme
