"""Credentials of hosts: where they are found, to whom they are sent, and how they are kept out of every text."""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

from medshard.errors import AcquisitionError
from medshard.registry.hosts import Host, host_of
from medshard.registry.hosts.host import Secret
from medshard.registry.schema import Entry, Source

MASK = "***"
LEAST_SECRET = 4
"""Characters. A shorter word is no secret, and to mask it would make every text unreadable."""
LOGGERS = ("aiohttp", "aiobotocore", "botocore", "boto3", "fsspec", "s3fs", "gcsfs", "medshard")


def find_credential(host: Host[Any], environment: Mapping[str, str]) -> Secret | None:
    """What the environment, or the host's usual file, has for this host. Raises what the host's own reader raises."""
    return host.credential.read(environment) if host.credential else None


def secrets_for(entry: Entry, environment: Mapping[str, str]) -> dict[str, Secret]:
    """Origin -> what is sent there, and nowhere else, over all sources of an entry.

    A credential that cannot be read is missing here; the gate of its source names it, where that source is needed.
    """
    found = {}
    for source in entry.acquisition:
        secret = None
        with suppress(AcquisitionError):
            secret = find_credential(host_of(source.kind), environment)
        if secret is not None:
            found.update(dict.fromkeys(origins_of(source), secret))
    return found


def origins_of(source: Source) -> tuple[str, ...]:
    """Whom the credential of a source's host is for. A host of many servers states none: then it is the source's own.

    A server without TLS gets no credential: everybody on the way could read it.
    """
    credential = host_of(source.kind).credential
    if credential is None or credential.origins:
        return credential.origins if credential else ()
    server = urlsplit(str(getattr(source, "server", "")))
    return (f"https://{server.netloc.lower()}",) if server.scheme == "https" else ()


def redact(text: str, secrets: Iterable[Secret]) -> str:
    """The text with every word of the secrets masked, also where an address or a Basic header carries it."""
    return _masked(text, _words_of(secrets))


class Redaction(logging.Filter):
    """Masks secrets in log records: message, arguments, traceback, and what `extra` brought."""

    def __init__(self, secrets: Iterable[Secret], *, words: Iterable[str] = ()) -> None:
        """words: further secrets, such as the password of an archive."""
        super().__init__()
        self._words = _words_of(secrets, words)

    def filter(self, record: logging.LogRecord) -> bool:
        if self._words:
            self._mask_message(record)
            self._mask_traceback(record)
            self._mask_extra(record)
        return True

    def redact(self, text: str) -> str:
        return _masked(text, self._words)

    @contextmanager
    def installed(self) -> Iterator[Redaction]:
        """For the time of the block, on the loggers of the libraries that see credentials and on all root handlers.

        A logger's filter sees only what is logged to that very logger, so those that exist below the named ones get it
        too, and the handlers catch what reaches them from loggers that are made later.
        """
        places = [*_loggers(), *_handlers()]
        for place in places:
            place.addFilter(self)
        try:
            yield self
        finally:
            for place in places:
                place.removeFilter(self)

    def _mask_message(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # arguments that do not fit: logging would print them as they are
            message = f"{record.msg} {record.args!r}"
            record.msg, record.args = self.redact(message), None
            return
        masked = self.redact(message)
        if masked != message or self._occurs_in(record.args):
            record.msg, record.args = masked, None

    def _occurs_in(self, value: Any) -> bool:
        text = str(value)
        return self.redact(text) != text

    def _mask_traceback(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[0] is not None:
            text = record.exc_text or logging.Formatter().formatException(record.exc_info)
            if self._occurs_in(text):
                # Without the exception itself: a handler would write it out anew.
                record.exc_text, record.exc_info = self.redact(text), None

    def _mask_extra(self, record: logging.LogRecord) -> None:
        for name, value in record.__dict__.items():
            if isinstance(value, str) and name not in {"name", "msg"}:
                record.__dict__[name] = self.redact(value)


def _words_of(secrets: Iterable[Secret], words: Iterable[str] = ()) -> tuple[str, ...]:
    """Every spelling of every secret, the longest first, so that no part of one is left standing."""
    plain = [*words, *(word for secret in secrets for word in (*secret.words, *_in_basic(secret)))]
    spelled = {form for word in plain for form in (word, quote(word), quote_plus(word), repr(word)[1:-1])}
    return tuple(sorted((word for word in spelled if len(word) >= LEAST_SECRET), key=len, reverse=True))


def _in_basic(secret: Secret) -> Iterator[str]:
    """What a Basic header hides: `name:password`, and the password."""
    for value in secret.headers.values():
        kind, _, encoded = value.partition(" ")
        if kind.lower() == "basic":
            try:
                pair = base64.b64decode(encoded, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                continue  # no such header; it is masked as it stands
            yield pair
            yield pair.partition(":")[2]


def _masked(text: str, words: tuple[str, ...]) -> str:
    for word in words:
        text = text.replace(word, MASK)
    return text


def _loggers() -> Iterator[logging.Logger]:
    for name in LOGGERS:
        yield logging.getLogger(name)
    for name, logger in list(logging.Logger.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in LOGGERS and "." in name:
            yield logger


def _handlers() -> Iterator[logging.Handler]:
    """Of the root and of the named loggers, each once."""
    seen: set[int] = set()
    for logger in (logging.getLogger(), *_loggers()):
        for handler in logger.handlers:
            if id(handler) not in seen:
                seen.add(id(handler))
                yield handler
