"""The connection of one build: who is asked with which credentials, and no word of them in a log."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from medshard.errors import MissingExtraError
from medshard.registry.acquisition.archives.passwords import archive_password
from medshard.registry.acquisition.gates.credentials import Redaction, secrets_for
from medshard.registry.acquisition.transfer.settings import TransferSettings
from medshard.registry.hosts.host import Secret
from medshard.registry.schema import Entry

if TYPE_CHECKING:
    from medshard.registry.acquisition.transfer.web import Web

    Connect = Callable[[], Web]


@contextmanager
def connection(entry: Entry, environment: Mapping[str, str], *, attempts: int | None = None) -> Iterator[Connect]:
    """A way to the hosts of an entry, which is opened when it is first asked for, and closed at the end of the block.

    attempts: in a row without progress; as usual when not given. Asking raises MissingExtraError where the extra
    `acquisition` is not installed.
    """
    opened: list[Web] = []
    secrets = secrets_for(entry, environment)
    password = archive_password(entry.id, environment)
    redaction = Redaction(secrets.values(), words=[password] if password else [])
    with ExitStack() as stack:
        stack.enter_context(redaction.installed())

        def connect() -> Web:
            if not opened:
                opened.append(stack.enter_context(_web(environment, secrets, attempts)))
            return opened[0]

        yield connect


def _web(environment: Mapping[str, str], secrets: Mapping[str, Secret], attempts: int | None) -> Web:
    try:
        from medshard.registry.acquisition.transfer.web import Web  # noqa: PLC0415 - brings aiohttp
    except ImportError as error:
        raise MissingExtraError(
            "extra.acquisition",
            where="downloads",
            problem="downloads need a library that is not installed",
            details={"missing": error.name},
            action="Run: pip install 'medshard[acquisition]'",
        ) from error
    settings = TransferSettings.from_environment(environment)
    return Web(replace(settings, attempts=attempts or settings.attempts), secrets)
