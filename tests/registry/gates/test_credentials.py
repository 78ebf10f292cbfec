"""Credentials go to their origin only, and into no text."""

from __future__ import annotations

import base64
import logging
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from made_entries import made_entry

from medshard.errors import AcquisitionError
from medshard.registry import Entry
from medshard.registry.acquisition.gates.acceptance import require_acceptance
from medshard.registry.acquisition.gates.credentials import (
    Redaction,
    find_credential,
    origins_of,
    redact,
    secrets_for,
)
from medshard.registry.acquisition.gates.gate import gate_error, gate_of
from medshard.registry.acquisition.gates.inbox import look
from medshard.registry.acquisition.gates.terms import terms_of
from medshard.registry.acquisition.gates.use import Use
from medshard.registry.hosts import HOSTS, host_of
from medshard.registry.hosts.host import Secret
from medshard.registry.store import Store

PLANTED = "pl4nted/Secret+w0rd="
NOW = datetime(2026, 11, 22, tzinfo=UTC)
KEY = "k4ggle-key-0815"
ENVIRONMENT = {
    "HOME": "/nowhere",
    "ZENODO_TOKEN": PLANTED,
    "DATAVERSE_TOKEN": PLANTED,
    "KAGGLE_USERNAME": "ada",
    "KAGGLE_KEY": KEY,
}


def secret() -> Secret:
    return Secret(headers={"Authorization": f"Bearer {PLANTED}"})


def basic() -> Secret:
    return Secret(headers={"Authorization": f"Basic {base64.b64encode(f'ada:{KEY}'.encode()).decode()}"})


def entry_from(*sources: dict[str, object]) -> Entry:
    return made_entry("scans", acquisition=list(sources))


ZENODO = {"kind": "zenodo", "record": "1"}
KAGGLE = {"kind": "kaggle", "dataset": "ada/scans"}
PIP = {"kind": "pip", "package": "scans", "version": "1", "sha256": "0" * 64}
DATAVERSE = {"kind": "dataverse", "server": "https://Data.Example:8443/path", "doi": "10.1234/abc"}


def test_each_secret_belongs_to_the_origins_of_its_host() -> None:
    found = secrets_for(entry_from(ZENODO, KAGGLE, PIP), ENVIRONMENT)
    assert PLANTED in found["https://zenodo.org"].words
    assert set(found) == {"https://zenodo.org", *host_of("kaggle").credential.origins}
    assert PLANTED not in found["https://www.kaggle.com"].words


def test_a_host_of_many_servers_gives_its_secret_to_the_server_of_the_source() -> None:
    found = secrets_for(entry_from(DATAVERSE), ENVIRONMENT)
    assert list(found) == ["https://data.example:8443"]


def test_a_server_without_tls_gets_no_secret() -> None:
    entry = entry_from({**DATAVERSE, "server": "http://data.example"})
    assert origins_of(entry.acquisition[0]) == ()
    assert secrets_for(entry, ENVIRONMENT) == {}


def test_without_credentials_there_are_none() -> None:
    assert secrets_for(entry_from(ZENODO, KAGGLE), {"HOME": "/nowhere"}) == {}
    assert find_credential(host_of("http"), ENVIRONMENT) is None


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {PLANTED}",
        f"https://a.example/x?token={quote(PLANTED, safe='')}&y=1",
        f"https://a.example/{quote(PLANTED)}/x",
        f"{{'Authorization': 'Bearer {PLANTED}'}}",
        f"twice {PLANTED} and {PLANTED}",
    ],
)
def test_a_secret_is_masked_in_every_spelling(text: str) -> None:
    masked = redact(text, [secret()])
    assert "***" in masked
    assert PLANTED not in masked
    assert quote(PLANTED) not in masked
    assert quote(PLANTED, safe="") not in masked


def test_a_basic_header_hides_its_password_too() -> None:
    header = basic().headers["Authorization"]
    masked = redact(f"{header} is ada:{KEY}, and {KEY} alone", [basic()])
    assert masked == "*** is ***, and *** alone"


def test_text_without_a_secret_stays_as_it_is() -> None:
    assert redact("nothing to see", [secret(), Secret(), Secret(options={"anon": "no"})]) == "nothing to see"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    caplog.set_level(logging.DEBUG)
    with Redaction([secret(), basic()], words=["arch1ve-word"]).installed():
        yield caplog


@pytest.mark.parametrize("name", ["aiohttp.client", "botocore.auth", "fsspec", "s3fs", "medshard.made.late", "root"])
def test_no_logger_lets_a_secret_through(log: pytest.LogCaptureFixture, name: str) -> None:
    logger = logging.getLogger(None if name == "root" else name)
    logger.debug("headers %s", {"Authorization": f"Bearer {PLANTED}"})
    logger.info(f"asked {PLANTED}")
    logger.warning("%s of %d", KEY, 3)
    logger.error("opened with arch1ve-word", extra={"header": f"Bearer {PLANTED}"})
    shown = log.text + "".join(str(vars(record)) for record in log.records)
    assert len(log.records) == 4
    assert "***" in shown
    assert not any(word in shown for word in (PLANTED, KEY, "arch1ve-word"))


def test_a_traceback_is_masked(log: pytest.LogCaptureFixture) -> None:
    try:
        raise OSError(f"refused: {PLANTED}")
    except OSError:
        logging.getLogger("aiohttp").exception("failed")
    assert "OSError: refused: ***" in log.text
    assert PLANTED not in log.text
    assert PLANTED not in str([vars(record) for record in log.records])


def test_arguments_that_do_not_fit_are_masked(log: pytest.LogCaptureFixture) -> None:
    logging.getLogger("botocore").warning("%d pieces", PLANTED)
    assert PLANTED not in log.text
    assert "%d pieces" in log.text


def test_other_records_are_left_alone(log: pytest.LogCaptureFixture) -> None:
    logging.getLogger("medshard").info("%s of %d", "file", 3)
    assert log.records[0].args == ("file", 3)
    assert log.records[0].getMessage() == "file of 3"


def test_the_filters_are_gone_afterwards(caplog: pytest.LogCaptureFixture) -> None:
    redaction = Redaction([secret()])
    with pytest.raises(KeyError), redaction.installed():
        raise KeyError
    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in ("aiohttp", "medshard", "aiohttp.client"))]
    assert all(redaction not in place.filters for logger in loggers for place in (logger, *logger.handlers))


def test_a_planted_secret_is_in_no_error_record_or_log(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """One walk through all gates with credentials in the environment."""
    caplog.set_level(logging.DEBUG)
    entry = made_entry(
        "scans",
        licence={"id": "CC-BY-NC-4.0"},
        access={"kind": "account", "instructions": "Sign in."},
        acquisition=[ZENODO, KAGGLE, DATAVERSE, {"kind": "grand-challenge", "challenge": "scans"}],
    )
    secrets = secrets_for(entry, ENVIRONMENT)
    inbox = store.root / "inbox" / "scans"
    with Redaction(secrets.values()).installed():
        gates = [
            gate_of(
                entry,
                number,
                source,
                host=host_of(source.kind),
                credential=find_credential(host_of(source.kind), ENVIRONMENT),
                inbox=look(inbox, entry, number, source),
                folder=inbox,
            )
            for number, source in enumerate(entry.acquisition)
        ]
        error = gate_error([gate for gate in gates if gate])
        try:
            require_acceptance(
                store, entry, asked=None, named=(), use=Use.RESEARCH, who="ada@lab", now=NOW, environment=ENVIRONMENT
            )
        except AcquisitionError as refusal:
            texts = [str(refusal), repr(refusal), traceback.format_exc()]
        require_acceptance(store, entry, asked=None, named={"scans"}, use=Use.RESEARCH, who="ada@lab", now=NOW)
        logging.getLogger("medshard").info("asking with %s and %r", secrets, next(iter(secrets.values())).headers)
    texts += [str(error), repr(error), repr(gates), repr(secrets), terms_of(entry).text, caplog.text]
    texts += [path.read_text() for path in store.root.rglob("*.json")]
    assert [gate.source for gate in gates if gate] == ["03-grand-challenge"]
    assert not [text for text in texts for word in (PLANTED, KEY) if word in text]


def test_the_documentation_names_every_place_of_every_credential() -> None:
    text = (Path(__file__).parents[3] / "docs" / "acquisition-gates.md").read_text()
    for kind, host in HOSTS.items():
        if host.credential is not None:
            row = next(line for line in text.splitlines() if line.startswith(f"| {kind} |"))
            places = [*host.credential.variables, host.credential.file]
            assert [place for place in places if place and f"`{place}`" not in row] == [], kind
