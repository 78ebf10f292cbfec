"""Data cards: what they state, in which order, and that they fit a terminal."""

from __future__ import annotations

import html
import json
import re
from functools import lru_cache
from pathlib import Path

import pytest
import yaml

from medshard.registry import Catalog
from medshard.registry.cards.cards import card, card_for_terminal

SECTIONS = [
    "What it is",
    "Facts",
    "Where the files are",
    "Layout",
    "Splits as shipped",
    "Expectations",
    "Overlaps with other entries",
    "Known defects",
    "Where the paper's row and the source differ",
    "Notes",
    "Doubts",
    "Evidence",
    "Citation",
]
ALWAYS = [name for name in SECTIONS if name not in {"Notes", "Where the paper's row and the source differ"}]


@lru_cache(maxsize=1)
def catalog() -> Catalog:
    return Catalog.load()


ENTRY = """
id: two-scans
title: Two scans
description: Two.
version: "1"
groups: [abdomen]
modalities: [CT]
tasks: [segmentation]
dimensions: [3]
licence: {id: CC-BY-4.0}
access: {kind: open}
maturity: described
acquisition: [{kind: folder, path: scans}]
cases:
  - modality: CT
    images: {image: {path: "{case}.nii.gz"}}
    labels: {mask: {path: "{case}_seg.nii.gz", classes: {1: spleen, 2: right kidney}}}
"""


def made_catalog(folder: Path, *changes: str) -> Catalog:
    """A catalog of `two-scans`, once for each text of changed fields."""
    entries = [{**yaml.safe_load(ENTRY), **yaml.safe_load(text)} for text in changes]
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump({"format_version": 1, "entries": entries}))
    made = Catalog.load([file])
    assert made.problems == ()
    return made


def made_card(folder: Path, changes: str = "{}") -> str:
    made = made_catalog(folder, changes)
    return card(made.entry("two-scans"), made)


def section(text: str, name: str) -> str:
    return text.split(f"\n## {name}\n", 1)[1].split("\n## ", 1)[0].strip()


def fact(text: str, name: str) -> str:
    return next(
        line.split(" | ", 1)[1].removesuffix(" |") for line in text.splitlines() if line.startswith(f"| {name} |")
    )


def test_every_card_has_its_sections_in_one_order() -> None:
    for entry in catalog():
        found = re.findall(r"^## (.+)$", card(entry, catalog()), flags=re.MULTILINE)
        assert found == [name for name in SECTIONS if name in found], entry.id
        assert set(ALWAYS) <= set(found), entry.id


@pytest.mark.parametrize("width", [60, 80, 160])
def test_every_card_fits_its_terminal(width: int) -> None:
    for entry in catalog():
        text = card_for_terminal(entry, catalog(), width)
        assert max(map(len, text.splitlines())) <= width, entry.id
        assert not re.search(r"[\x00-\x09\x0b-\x1f]", text), entry.id


def test_widths_beyond_the_sensible_are_brought_to_the_nearer_end() -> None:
    entry = next(iter(catalog()))
    assert card_for_terminal(entry, catalog(), 10) == card_for_terminal(entry, catalog(), 60)
    assert card_for_terminal(entry, catalog(), 1000) == card_for_terminal(entry, catalog(), 160)


def test_every_card_names_every_concept_doubt_and_disagreement() -> None:
    for entry in catalog():
        plain = " ".join(card_for_terminal(entry, catalog(), 160).split())
        texts = [*entry.doubts, *entry.concepts, *(difference.note for difference in entry.differences)]
        texts += [defect.problem.rstrip(".") for defect in entry.known_defects]
        for text in texts:
            assert " ".join(text.split()) in plain, (entry.id, text)


def test_no_card_names_a_path_of_a_machine() -> None:
    for entry in catalog():
        assert not re.search(r"(?<![\w.}*])/(home|work|tmp|root|Users)/", card(entry, catalog())), entry.id


def test_a_card_states_the_doubts_about_the_licence(tmp_path: Path) -> None:
    text = made_card(tmp_path, "licence: {id: LicenseRef-House, note: Two pages disagree., commercial_use: forbidden}")
    assert fact(text, "Licence") == "LicenseRef-House (confidence not stated)"
    assert fact(text, "On the licence") == "Two pages disagree."
    assert [fact(text, name) for name in ("Commercial use", "Redistribution")] == ["forbidden", "unknown"]
    assert "what LicenseRef-House says of redistribution, derivatives is unknown" in section(text, "Doubts")


@pytest.mark.parametrize(
    ("licence", "told"),
    [
        ("{id: CC-BY-4.0, confidence: verified}", "CC-BY-4.0 (verified)"),
        ("{id: CC-BY-4.0, confidence: partly, note: On a copy.}", "CC-BY-4.0 (partly verified)"),
        ("{id: CC-BY-4.0, confidence: memory, note: Unread.}", "CC-BY-4.0 (from memory)"),
        ("{id: CC-BY-4.0}", "CC-BY-4.0 (confidence not stated)"),
        ("{id: LicenseRef-unknown}", "LicenseRef-unknown"),
    ],
)
def test_a_card_says_how_sure_the_licence_is(tmp_path: Path, licence: str, told: str) -> None:
    made = made_catalog(tmp_path, f"licence: {licence}")
    assert fact(card(made.entry("two-scans"), made), "Licence") == told
    assert re.search(rf"^  Licence +{re.escape(told)}$", card_for_terminal(made.entry("two-scans"), made), re.MULTILINE)


def test_other_terms_of_the_same_data_are_told_on_both_sides(tmp_path: Path) -> None:
    part = """
        source: {unit: scans}
        overlaps:
          - {entry: whole, kind: subset-of, evidence: Its paper says so.}
          - {entry: copy, kind: same-cases, evidence: The files are the same.}
          - {entry: same, kind: same-cases, evidence: The files are the same.}
          - {entry: cousin, kind: shares-cases, evidence: Its paper says so.}
        """
    made = made_catalog(
        tmp_path,
        part,
        "{id: whole, licence: {id: LicenseRef-unknown}}",
        "{id: copy, licence: {id: CC0-1.0, confidence: memory, note: Unread.}}",
        "{id: same}",
        "{id: cousin, licence: {id: CC0-1.0}}",
    )
    cards = {name: card(entry, made) for name, entry in made.entries.items()}
    assert fact(cards["two-scans"], "Other terms") == (
        "`copy` gives the same scans out under CC0-1.0 (from memory); "
        "`whole` contains this data set and goes out under LicenseRef-unknown"
    )
    assert fact(cards["whole"], "Other terms") == (
        "`two-scans` is a part of this data set and goes out under CC-BY-4.0 (confidence not stated)"
    )
    assert "Other terms" not in cards["same"] + cards["cousin"]


def test_an_overlap_is_read_from_the_other_side_too(tmp_path: Path) -> None:
    whole = "{id: whole, title: The whole}"
    part = "{overlaps: [{entry: whole, kind: subset-of, evidence: Its paper says so}]}"
    made = made_catalog(tmp_path, part, whole)
    own, others = (
        section(card(made.entry(name), made), "Overlaps with other entries") for name in ("two-scans", "whole")
    )
    assert own == "- a part of `whole` (The whole). Its paper says so."
    assert others == "- contains `two-scans` (Two scans). Its paper says so. Said by two-scans."


def test_the_papers_row_and_the_source_stand_side_by_side(tmp_path: Path) -> None:
    text = made_card(
        tmp_path,
        """
        paper:
          - {table: 15, name: Two, dimension: 3D, modality: CT, task: Organs, targets: "2", size: "5", format: nii}
        source: {cases: 2, unit: scans, formats: [nii.gz]}
        differences: [{field: size, note: The row counts three hidden scans.}, {field: format, note: It is compressed.}]
        """,
    )
    assert fact(text, "At the source") == "2 scans"
    assert fact(text, "In the paper, table 15") == "Two; 3D; CT; Organs; targets 2; size 5; nii"
    assert "- size: The row counts three hidden scans." in section(text, "Where the paper's row and the source differ")


def test_what_nobody_knows_is_said_to_be_unknown(tmp_path: Path) -> None:
    files = "acquisition: [{kind: zenodo, record: '12', files: [{name: a.zip}, {name: b.zip, size: 1500}]}]"
    text = made_card(tmp_path, files)
    assert section(text, "Where the files are").splitlines() == [
        "Zenodo record 12, <https://zenodo.org/records/12>",
        "",
        "- `a.zip`, size unknown, checksum unknown",
        "- `b.zip`, 1.5 kB, checksum unknown",
    ]
    assert fact(text, "Patients") == "number unknown. That one case is one patient is assumed"
    assert section(text, "Citation") == "None is stated."


def test_what_to_do_before_the_first_byte_stands_in_the_card(tmp_path: Path) -> None:
    access = "access: {kind: agreement, instructions: Sign the form., url: 'https://form.example/a'}"
    assert fact(made_card(tmp_path, access), "Access") == "agreement. Sign the form. <https://form.example/a>"


def test_data_that_cannot_be_had_say_so(tmp_path: Path) -> None:
    text = made_card(
        tmp_path,
        "{access: {kind: unavailable, instructions: Withdrawn.}, acquisition: [], cases: [], tasks: [self-supervised]}",
    )
    assert "the data cannot be had" in section(text, "Where the files are")
    assert "No layout is written down" in section(text, "Layout")


def test_label_values_are_a_table_in_markdown_and_running_text_in_a_terminal(tmp_path: Path) -> None:
    made = made_catalog(tmp_path, "{}")
    layout = section(card(made.entry("two-scans"), made), "Layout")
    code = made.vocabulary.get("spleen").code
    assert f"| 1 | spleen | {code} | yes |" in layout
    assert "1 spleen, 2 right kidney" in card_for_terminal(made.entry("two-scans"), made, 80)


def test_classes_that_were_not_looked_for_are_told(tmp_path: Path) -> None:
    partly = """
    cases:
      - modality: CT
        images: {image: {path: "{case}.nii.gz"}}
        labels: {mask: {path: "{case}_seg.nii.gz", classes: {1: spleen, 2: liver}, examined: [liver]}}
    """
    made = made_catalog(tmp_path, partly)
    assert "only these were looked for in every case: liver" in card_for_terminal(made.entry("two-scans"), made, 160)
    assert re.search(r"\| 1 \| spleen \|[^|]*\| no \|", card(made.entry("two-scans"), made))


def test_text_of_an_entry_is_text_in_markdown(tmp_path: Path) -> None:
    text = made_card(tmp_path, "{title: 'A *bold* <b>title</b>', description: 'a | b, [c](d), x_y, `z_` and one `'}")
    assert text.startswith(r"# A \*bold\* \<b\>title\</b\>")
    assert section(text, "What it is") == r"a | b, \[c\](d), x_y, `z_` and one \`"


def as_read(markdown: str) -> str:
    """What a reader sees of Markdown, in one line."""
    markdown_it = pytest.importorskip("markdown_it")
    page = markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown)
    return " ".join(html.unescape(re.sub("<[^>]+>", " ", re.sub("</?(code|a|strong|em|s)[^>]*>", "", page))).split())


NASTY = (
    "300. A number first",
    "7) And a bracket",
    "# A sign",
    "- A dash",
    "+ A plus",
    "---",
    "===",
    "ends in #",
    "~~5~~ or ~5~ GB",
    "&lt; &amp; &#60; AT&T",
    "_a_ __b__ *c* snake_case_",
    r"a\b \| c|d \*",
    r"field \d+ is 300. then",
    "[a](b) <b>c</b> ![d](e)",
)


@pytest.mark.parametrize("text", NASTY)
def test_nothing_in_a_text_is_read_as_markdown(tmp_path: Path, text: str) -> None:
    fields = {"title": text, "description": text, "source": {"formats": [text]}, "doubts": [text]}
    made = made_card(tmp_path, json.dumps(fields))
    markdown = (made.splitlines()[0], section(made, "What it is"), section(made, "Facts"), section(made, "Doubts"))
    assert all(text in as_read(part) for part in markdown), markdown


def test_code_stays_code_whatever_it_holds(tmp_path: Path) -> None:
    where = {"case": r"a|b\|c"}
    group = {"modality": "CT", "where": where, "images": {"image": {"path": "{case}`s``.nii.gz"}}}
    made = section(made_card(tmp_path, json.dumps({"cases": [group], "tasks": ["self-supervised"]})), "Layout")
    assert r"case is a|b\|c" in as_read(made)
    assert "{case}`s``.nii.gz" in as_read(made)


def test_no_card_shows_a_backslash_that_its_entry_does_not_have() -> None:
    for entry in catalog():
        read = as_read(card(entry, catalog()))
        assert read.count("\\") == card_for_terminal(entry, catalog(), 160).count("\\"), entry.id


def test_a_number_of_patients_starts_no_list(tmp_path: Path) -> None:
    counted = made_card(tmp_path, "source: {cases: 300, patients: 300}")
    assert fact(counted, "Patients") == "300. That one case is one patient is assumed"


def test_a_pipe_does_not_end_a_cell(tmp_path: Path) -> None:
    source = "{source: {formats: ['a|b']}}"
    assert fact(made_card(tmp_path, source), "Formats") == r"a\|b"


def test_a_doi_is_a_link(tmp_path: Path) -> None:
    text = made_card(tmp_path, "citation: {text: 'One et al., Two, 2020', doi: 10.1000/x_1}")
    assert section(text, "Citation") == "One et al., Two, 2020 [doi:10.1000/x_1](<https://doi.org/10.1000/x_1>)"


def test_long_lists_of_files_are_counted_in_a_terminal_and_complete_in_markdown(tmp_path: Path) -> None:
    files = ", ".join(f"{{name: part{number}.zip}}" for number in range(20))
    made = made_catalog(tmp_path, f"acquisition: [{{kind: zenodo, record: '12', files: [{files}]}}]")
    assert "- and 12 more" in card_for_terminal(made.entry("two-scans"), made)
    assert "part19.zip" in card(made.entry("two-scans"), made)


def test_a_private_folder_is_not_given_away(tmp_path: Path) -> None:
    assert "somebody" not in made_card(tmp_path, "acquisition: [{kind: folder, path: /home/somebody/scans}]")


def test_a_card_is_made_the_same_twice() -> None:
    for entry in catalog():
        assert card(entry, catalog()) == card(entry, catalog())
