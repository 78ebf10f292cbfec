"""YAML with lines: every field knows where it stands, and nothing is passed over in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from medshard.registry import Catalog
from medshard.registry.yaml_lines import DEEPEST, Problem, parse_yaml, read_yaml

TEXT = """\
# a comment
format_version: 1
entries:
  - id: a
    cases:
      - images:
          ct: {path: x,
               optional: true}
        labels: {1: liver, 2:
          spleen}
  -
    id: b
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 2),
        (("format_version",), 2),
        (("entries",), 3),
        (("entries", 0), 4),
        (("entries", 0, "cases", 0), 6),
        (("entries", 0, "cases", 0, "images", "ct"), 7),
        (("entries", 0, "cases", 0, "images", "ct", "optional"), 8),
        (("entries", 0, "cases", 0, "labels", 1), 9),
        (("entries", 0, "cases", 0, "labels", "2"), 9),
        (("entries", 1), 12),
        (("entries", 1, "id"), 12),
    ],
)
def test_the_line_of_a_field_is_that_of_its_key(path: tuple[Any, ...], line: int) -> None:
    assert parse_yaml(TEXT, file="x").line_of(path) == line


def test_what_is_not_there_has_the_line_of_the_nearest_parent() -> None:
    document = parse_yaml(TEXT, file="x")
    assert document.line_of(("entries", 0, "title")) == 4
    assert document.line_of(("entries", 7)) == 3
    assert document.line_of(("entries", 0, "cases", 0, "images", "mr", "path")) == 6
    assert parse_yaml("", file="x").line_of(("entries", 0)) == 1


def test_the_known_part_leaves_out_what_a_validator_adds() -> None:
    """pydantic names the side of a union, which no file holds."""
    document = parse_yaml("source:\n  kind: zenodo\n  files: [{name: a}]\n", file="x")
    assert document.known_part(("source", "zenodo", "files", 0, "name")) == ("source", "files", 0, "name")
    assert document.known_part(("source", "zenodo")) == ("source",)
    assert document.known_part(("source", "zenodo", "record"), is_missing=True) == ("source", "record")
    assert document.known_part(()) == ()


def test_a_missing_field_stays_in_the_path_even_when_its_parent_has_the_same_name() -> None:
    document = parse_yaml("path: {kind: boxes}\n", file="x")
    assert document.known_part(("path", "boxes", "path"), is_missing=True) == ("path", "path")


plain = st.text("abcxyz", min_size=1, max_size=4)
trees = st.recursive(
    plain | st.integers(0, 99),
    lambda inner: st.lists(inner, min_size=1, max_size=4) | st.dictionaries(plain, inner, min_size=1, max_size=4),
    max_leaves=10,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for name, child in children for place in places(child, (*path, name)))]


@settings(deadline=None, max_examples=60)
@given(tree=st.dictionaries(plain, trees, min_size=1, max_size=4), flow=st.booleans())
def test_values_are_those_of_the_plain_parser_and_every_place_is_known(tree: dict[str, Any], flow: bool) -> None:
    text = yaml.safe_dump(tree, default_flow_style=flow, width=20)
    document = parse_yaml(text, file="x")
    assert document.data == tree
    assert document.problems == ()
    lines = text.splitlines()
    for path in places(tree):
        assert document.known_part(path) == path
        if path and isinstance(path[-1], str):
            assert path[-1] in lines[document.line_of(path) - 1]


@pytest.mark.parametrize(
    ("text", "line", "field", "says"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "a", "twice"),
        ("a:\n  - {b: 1}\n  - {b: 1, c: 2,\n     b: 3}\n", 4, "a.1.b", "twice"),
        ("a: {1: x, 1: y}\n", 1, "a.1", "twice"),
        ("a: {1: x, 0x1: y}\n", 1, "a.1", "twice"),
        ("a:\n  ? [b, c]\n  : d\n", 2, "a", "single word or number"),
        ("a:\n  b: 2024-13-01\n", 2, "a.b", "'2024-13-01' cannot be understood"),
        ("a:\n  b: !!int x\n", 2, "a.b", "'x' cannot be understood"),
        ("a:\n  2024-13-01: b\n", 2, "a", "the key '2024-13-01' cannot be understood"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", 3, "c", "the key '<<' cannot be understood"),
        ("a:\n  b: !own x\n", 2, "a.b", "'!own'"),
        ("a: &x [*x]\n", 1, ".".join(["a", *["0"] * DEEPEST]), "too deeply"),
        ("a: " + "[" * 50 + "1" + "]" * 50, 1, ".".join(["a", *["0"] * DEEPEST]), "too deeply"),
        ("a: [1\nb: 2\n", 2, "", "not YAML"),
        ("a: *nobody\n", 1, "", "not YAML"),
        ("a: 1\n---\nb: 2\n", 2, "", "not YAML"),
        ("a: 1\nb: \x07\n", 2, "", "not YAML"),
        ("a: 1\n\tb: 2\n", 2, "", "not YAML"),
    ],
)
def test_a_fault_is_told_with_line_and_field(text: str, line: int, field: str, says: str) -> None:
    (problem,) = parse_yaml(text, file="mine.yaml").problems
    assert (problem.line, problem.field) == (line, field)
    assert says in problem.message
    assert "\n" not in problem.message
    assert str(problem).startswith(f"mine.yaml:{line}: ")


def test_all_faults_are_told_and_the_rest_is_read() -> None:
    document = parse_yaml("a: {x: 1, x: 2}\nb: {y: 1, y: 2}\nc: 3\n", file="x")
    assert [problem.field for problem in document.problems] == ["a.x", "b.y"]
    assert document.data == {"a": {"x": 2}, "b": {"y": 2}, "c": 3}


def test_a_key_twice_has_the_line_of_the_one_that_counts() -> None:
    document = parse_yaml("a: 1\nb: 2\na: 3\n", file="x")
    assert (document.data["a"], document.line_of(("a",))) == (3, 3)


def test_texts_stay_texts_and_the_rest_is_what_yaml_makes_of_it() -> None:
    document = parse_yaml("{a: '1', b: 1, c: yes, d: 1.5, e: null, f: !!str 7}", file="x")
    assert document.data == {"a": "1", "b": 1, "c": True, "d": 1.5, "e": None, "f": "7"}


def test_a_problem_reads_as_file_line_entry_field(tmp_path: Path) -> None:
    problem = Problem(file="a.yaml", line=3, entry="lits", field="licence.id", message="no licence")
    assert str(problem) == "a.yaml:3: lits licence.id: no licence"
    assert str(Problem(file="a.yaml", line=1, entry=None, field="", message="empty")) == "a.yaml:1: empty"
    file = tmp_path / "b.yaml"
    file.write_text("a: 1\na: 2\n", encoding="utf8")
    assert str(read_yaml(file).problems[0]) == f"{file}:2: a: this key stands here twice"


ENTRY = """\
format_version: 1
entries:
  - id: a
    title: A
    description: A.
    version: "1"
    groups: [brain]
    modalities: [CT]
    tasks: [segmentation]
    dimensions: [3]
    licence: {id: MIT}
    access: {kind: open}
    maturity: described
    acquisition: [{kind: zenodo, record: "1"}]
    cases:
      - modality: CT
        images: {ct: {path: "{case}.nii"}}
        labels: {m: {path: "{case}_m.nii", classes: {1: liver}}}
        annotations:
          grade: {kind: boxes, format: coco, path: t.json}
"""


def problems(tmp_path: Path, text: str) -> list[tuple[int, str, str]]:
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf8")
    return [(problem.line, problem.field, problem.message) for problem in Catalog.load([file]).problems]


@pytest.mark.parametrize(
    ("old", "new", "place", "says"),
    [
        ("format: coco, ", "", (20, "cases.0.annotations.grade.format"), "Field required"),
        (
            "path: t.json",
            "values: {x: liver}, unmapped: {x: y}, path: t",
            (20, "cases.0.annotations.grade"),
            "unmapped",
        ),
        ("path: t.json", "values: {no: liver}, path: t", (20, "cases.0.annotations.grade.values"), "in quotes"),
        ('record: "1"', "record: 1", (14, "acquisition.0.record"), "in quotes"),
        ("modality: CT", "split: trian\n        modality: CT", (16, "cases.0.split"), "did you mean `train`"),
        (
            "modality: CT",
            "patient: {path: t, colum: a}\n        modality: CT",
            (16, "cases.0.patient.colum"),
            "`column`",
        ),
        ("modality: CT", "where: {case: '(?i)a'}\n        modality: CT", (16, "cases.0"), "no regular expression"),
        ("classes: {1: liver}", "classes: {one: liver}", (18, "cases.0.labels.m.classes.one"), "valid integer"),
        ("licence: {id: MIT}", "licence: {id: MIT, 2024-13-01: x}", (11, "licence"), "cannot be understood"),
    ],
)
def test_a_fault_of_an_entry_names_a_field_as_it_stands_in_the_file(
    tmp_path: Path, old: str, new: str, place: tuple[int, str], says: str
) -> None:
    assert problems(tmp_path, ENTRY) == []
    assert old in ENTRY
    found = problems(tmp_path, ENTRY.replace(old, new, 1))
    assert [(line, field) for line, field, message in found if says in message] == [place], found


def test_what_is_wrong_around_the_entries_hides_none_of_them(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    text = "colour: red\nsize: 2\n" + ENTRY + "concepts:\n  - {name: one, name: stent strut, kind: instrument}\n"
    file.write_text(text, encoding="utf8")
    catalog = Catalog.load([file])
    assert list(catalog.entries) == ["a"]
    assert [(problem.line, problem.entry, problem.field) for problem in catalog.problems] == [
        (24, None, "concepts.0.name"),
        (1, None, "colour"),
        (2, None, "size"),
    ]


def test_a_key_twice_hides_its_own_entry_only(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    again = ENTRY.partition("entries:\n")[2].replace("id: a", "id: b").replace("title: A", "title: A\n    title: B")
    file.write_text(ENTRY + again, encoding="utf8")
    catalog = Catalog.load([file])
    assert list(catalog.entries) == ["a"]
    assert [(problem.line, problem.entry, problem.field) for problem in catalog.problems] == [(23, "b", "title")]


def test_aliases_that_multiply_one_another_are_refused_before_they_fill_the_memory() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    document = parse_yaml("\n".join(lines), file="bomb.yaml")
    assert document.data is None
    assert "aliases multiply" in document.problems[0].message
