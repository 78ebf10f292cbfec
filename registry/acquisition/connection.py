"""The connection of one build: who is asked with which credentials, and no word of them in a log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from medshard.registry.acquisition.archives.passwords import archive_password
from medshard.registry.acquisition.gates.credentials import Redaction, secrets_for
from medshard.registry.acquisition.transfer.settings import TransferSettings
from medshard.registry.schema import Entry

if TYPE_CHECKING:
    from medshard.registry.acquisition.transfer.web import Web


@contextmanager
def connection(entry: Entry, environment: Mapping[str, str]) -> Iterator[Web]:
    """Open for the sources of an entry. Raises MissingExtraError where the extra `acquisition` is not installed."""
    from medshard.registry.acquisition.transfer.web import Web  # noqa: PLC0415 - brings aiohttp

    secrets = secrets_for(entry, environment)
    password = archive_password(entry.id, environment)
    redaction = Redaction(secrets.values(), words=[password] if password else [])
    with redaction.installed(), Web(TransferSettings.from_environment(environment), secrets) as web:
        yield web
