"""A gate says in three lines what to do, where, and which folder to put what into; and none stands where none need."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from made_entries import made_entry

from medshard.registry import Entry
from medshard.registry.acquisition.gates.gate import Gate, gate_error, gate_of
from medshard.registry.acquisition.gates.inbox import look
from medshard.registry.catalog import Catalog
from medshard.registry.hosts import host_of
from medshard.registry.hosts.host import Secret
from medshard.registry.vocabulary import Access

ACCOUNT = {"kind": "account", "instructions": "Register at the challenge", "url": "https://a.example/join"}
AGREEMENT = {**ACCOUNT, "kind": "agreement"}
OPEN = {"kind": "open"}
SECRET = Secret(headers={"Authorization": "Bearer x"})

HTTP = {"kind": "http", "files": [{"name": "a.csv", "url": "https://a.example/a.csv"}], "page": "https://a.example"}
KAGGLE = {"kind": "kaggle", "dataset": "ada/scans"}
ZENODO = {"kind": "zenodo", "record": "1"}
CHALLENGE = {"kind": "grand-challenge", "challenge": "scans"}
MANUAL = {"kind": "manual", "instructions": "Ask by mail.", "page": "https://a.example/ask"}


def made(*sources: dict[str, Any], access: dict[str, Any]) -> Entry:
    return made_entry("scans", access=access, acquisition=list(sources))


def gates_of(entry: Entry, inbox: Path, credential: Secret | None = None) -> list[Gate | None]:
    return [
        gate_of(
            entry,
            number,
            source,
            host=host_of(source.kind),
            credential=credential,
            inbox=look(inbox, entry, number, source),
            folder=inbox,
        )
        for number, source in enumerate(entry.acquisition)
    ]


def code(source: dict[str, Any], access: dict[str, Any], credential: Secret | None = None) -> str | None:
    (gate,) = gates_of(made(source, access=access), Path("/nowhere"), credential)
    return gate.code if gate else None


def put(path: Path, *, age_s: float = 60) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"data")
    os.utime(path, (time.time() - age_s, time.time() - age_s))


@pytest.mark.parametrize(
    ("source", "access", "without", "with_credential"),
    [
        (HTTP, OPEN, None, None),
        (ZENODO, OPEN, None, None),
        (KAGGLE, OPEN, "gate.account", None),
        (KAGGLE, ACCOUNT, "gate.account", None),
        (KAGGLE, AGREEMENT, "gate.agreement", None),
        (ZENODO, ACCOUNT, "gate.account", None),
        (ZENODO, AGREEMENT, "gate.agreement", None),
        (CHALLENGE, OPEN, "gate.by_hand", "gate.by_hand"),
        (CHALLENGE, ACCOUNT, "gate.account", "gate.account"),
        (MANUAL, AGREEMENT, "gate.agreement", "gate.agreement"),
        ({"kind": "folder", "path": "scans"}, AGREEMENT, None, None),
    ],
)
def test_where_a_gate_stands(
    source: dict[str, Any], access: dict[str, Any], without: str | None, with_credential: str | None
) -> None:
    assert code(source, access) == without
    assert code(source, access, SECRET) == with_credential


@pytest.mark.parametrize("access", [ACCOUNT, AGREEMENT])
@pytest.mark.parametrize("source", [HTTP, {"kind": "gdrive", "id": "x"}], ids=["http", "gdrive"])
def test_a_plain_address_is_no_way_around_terms(source: dict[str, Any], access: dict[str, Any]) -> None:
    assert code(source, access) == f"gate.{access['kind']}"


def test_a_token_that_opens_no_terms_opens_no_gate() -> None:
    repository = {"kind": "github", "repository": "ada/scans"}
    assert code(repository, AGREEMENT, SECRET) == "gate.agreement"
    assert code(repository, OPEN) is None


def test_files_in_the_inbox_open_every_gate(tmp_path: Path) -> None:
    entry = made({**CHALLENGE, "files": [{"name": "a.csv"}]}, access=AGREEMENT)
    assert gates_of(entry, tmp_path) != [None]
    put(tmp_path / "a.csv")
    assert gates_of(entry, tmp_path) == [None]


def text(source: dict[str, Any], access: dict[str, Any], inbox: Path = Path("/store/inbox/scans")) -> list[str]:
    (gate,) = gates_of(made(source, access=access), inbox)
    assert gate is not None
    return gate.text.splitlines()


def test_by_hand_the_three_lines_are_what_where_and_which_folder() -> None:
    assert text({**MANUAL, "files": [{"name": "a.zip"}, {"name": "b.zip"}]}, ACCOUNT) == [
        "Register at the challenge. Ask by mail.",
        "https://a.example/join, files at https://a.example/ask",
        "Put a.zip, b.zip into /store/inbox/scans",
    ]


def test_a_host_with_credentials_says_how_to_get_them_and_where_they_are_read_from() -> None:
    do, where, put_where = text({**KAGGLE, "archive": "zip"}, OPEN)
    credential = host_of("kaggle").credential
    assert credential is not None
    assert do.startswith(credential.how)
    assert "KAGGLE_USERNAME, KAGGLE_KEY" in do
    assert do.endswith(f"or {credential.file}.")
    assert where == "https://www.kaggle.com/datasets/ada/scans"
    assert put_where == "Or fetch by hand, and put the download (zip) into /store/inbox/scans"


def test_long_lists_of_files_are_shortened() -> None:
    files = [{"name": f"{number}.zip"} for number in range(7)]
    assert text({**CHALLENGE, "files": files}, OPEN)[2] == (
        "Put 0.zip, 1.zip, 2.zip, 3.zip and 3 more into /store/inbox/scans"
    )


def test_only_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    put(tmp_path / "a.csv")
    put(tmp_path / "b(2).csv")
    files = [{"name": name} for name in ("a.csv", "b.csv", "c.csv")]
    put(tmp_path / "c.csv.part")
    assert text({**CHALLENGE, "files": files}, OPEN, tmp_path)[2] == (
        f"Put what is still missing, b.csv into {tmp_path}; being written there now, so wait for it: c.csv.part; "
        "there, but not expected: b(2).csv"
    )


@pytest.mark.parametrize(
    ("files", "there", "line"),
    [
        (["a.zip", "b.zip"], ["a.zip", "b.zip"], "Wait until they are whole: a.zip, b.zip in {}"),
        (["a.zip"], ["a.zip.crdownload"], "Wait until it is whole: a.zip.crdownload in {}"),
        ([], ["a.zip.crdownload"], "Wait until it is whole: a.zip.crdownload in {}"),
    ],
)
def test_when_all_is_on_its_way_there_is_only_to_wait(
    tmp_path: Path, files: list[str], there: list[str], line: str
) -> None:
    for name in there:
        put(tmp_path / name, age_s=0)
    assert text({**CHALLENGE, "files": [{"name": name} for name in files]}, OPEN, tmp_path)[2] == line.format(tmp_path)


@pytest.mark.parametrize(("stated", "advice"), [({}, " (rename it to a.zip if it is that file)"), ({"size": 9}, "")])
def test_a_numbered_copy_that_nothing_can_tell_is_for_the_person_to_name(
    tmp_path: Path, stated: dict[str, Any], advice: str
) -> None:
    put(tmp_path / "a (1).zip")
    assert text({**CHALLENGE, "files": [{"name": "a.zip", **stated}]}, OPEN, tmp_path)[2] == (
        f"Put a.zip into {tmp_path}; there, but not expected: a (1).zip{advice}"
    )


@pytest.mark.parametrize(
    ("instructions", "said"),
    [
        ("Register at the challenge, then download the scans.", "Register at the challenge. Then download the scans."),
        ("Register at the challenge.", "Register at the challenge."),
        ("Register by mail, then wait.", "Register at the challenge. Register by mail, then wait."),
    ],
)
def test_what_is_to_do_is_said_once(instructions: str, said: str) -> None:
    assert text({**MANUAL, "instructions": instructions}, ACCOUNT)[0] == said


def test_a_mirror_elsewhere_begins_with_its_own_page() -> None:
    sources = ({**MANUAL, "part": "a"}, {**KAGGLE, "part": "a"})
    own, mirror = (gate.text.splitlines()[1] for gate in gates_of(made(*sources, access=ACCOUNT), Path("/no")) if gate)
    assert own == "https://a.example/join, files at https://a.example/ask"
    assert mirror == "https://www.kaggle.com/datasets/ada/scans, terms at https://a.example/join"


def test_the_error_of_one_gate_reads_as_three_lines() -> None:
    (gate,) = gates_of(made(MANUAL, access=AGREEMENT), Path("/store/inbox/scans"))
    assert gate is not None
    assert str(gate_error([gate])) == (
        "AcquisitionError[gate.agreement] scans: its owner wants an agreement with you first\n"
        "  do     Register at the challenge. Ask by mail.\n"
        "  where  https://a.example/join, files at https://a.example/ask\n"
        "  put    Put all files, as they come, into /store/inbox/scans\n"
        "  Then run `medshard build scans` again: what is in the inbox is checked and taken over."
    )


def test_the_error_of_several_says_once_what_they_share() -> None:
    gates = gates_of(made(MANUAL, {**CHALLENGE, "archive": "zip"}, access=ACCOUNT), Path("/store/inbox/scans"))
    assert str(gate_error([gate for gate in gates if gate])) == (
        "AcquisitionError[gate.account] scans: an account of yours is needed first (00-manual and 01-grand-challenge)\n"
        "  first                     Register at the challenge. https://a.example/join\n"
        "  00-manual do              Ask by mail.\n"
        "  00-manual where           https://a.example/ask\n"
        "  00-manual put             Put all files, as they come, into /store/inbox/scans/00-manual\n"
        "  01-grand-challenge where  https://scans.grand-challenge.org/\n"
        "  01-grand-challenge put    Put the download (zip) into /store/inbox/scans/01-grand-challenge\n"
        "  Then run `medshard build scans` again: what is in the inbox is checked and taken over."
    )


def test_of_mirrors_one_is_enough() -> None:
    gates = gates_of(made({**MANUAL, "part": "a"}, {**KAGGLE, "part": "a"}, access=OPEN), Path("/nowhere"))
    error = gate_error([gate for gate in gates if gate])
    assert error.code == "gate.account"
    assert "(00-manual or 01-kaggle: one is enough)" in error.problem


# The catalog


@pytest.fixture(scope="module")
def entries() -> list[Entry]:
    return list(Catalog.load())


def test_every_source_of_the_catalog_is_open_or_has_a_gate_that_makes_sense(entries: list[Entry]) -> None:
    assert len(entries) > 200
    inbox = Path("/store/inbox")
    for entry in entries:
        for source, gate in zip(entry.acquisition, gates_of(entry, inbox / entry.id), strict=True):
            if gate is None:
                assert entry.access.kind is Access.OPEN or host_of(source.kind).local, entry.id
                continue
            do, where, put_where = gate.text.splitlines()
            assert do.endswith((".", "!", "?")), do
            assert len(do) > 15, do
            assert where.startswith(("http://", "https://", "ftp://")), where
            assert f" into {inbox / entry.id}" in put_where, put_where


def test_with_a_credential_only_what_comes_by_hand_or_from_nobody_has_a_gate(entries: list[Entry]) -> None:
    for entry in entries:
        for source, gate in zip(entry.acquisition, gates_of(entry, Path("/nowhere"), SECRET), strict=True):
            host = host_of(source.kind)
            if host.credential is not None and source.kind != "github":
                assert gate is None, entry.id
            elif host.by_hand:
                assert gate is not None, entry.id


def test_no_two_sources_of_an_entry_ask_for_the_same_unnamed_folder(entries: list[Entry]) -> None:
    for entry in entries:
        states = [look(Path("/nowhere"), entry, n, source) for n, source in enumerate(entry.acquisition)]
        folders = [state.folder for state in states if not state.missing]
        assert len(set(folders)) == len(folders), entry.id
