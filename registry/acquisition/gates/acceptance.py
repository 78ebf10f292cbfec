"""Who accepted which text: recorded in the store, asked once, and again when the text changes.

One JSON document per entry, `terms/<entry>.json`, with all acceptances, oldest first.
"""

from __future__ import annotations

import getpass
import logging
import os
import socket
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.gates.terms import Terms, facts_of, terms_address, terms_of
from medshard.registry.acquisition.gates.use import Use
from medshard.registry.acquisition.options import ACCEPT_VARIABLE
from medshard.registry.schema import Entry
from medshard.registry.store.digests import canonical_json
from medshard.registry.store.leases import hold_lease
from medshard.registry.store.objects import FORMAT_VERSION, Store, check_format_version, read_json

USER_VARIABLE = "MEDSHARD_USER"
FACTS_IN_REFUSAL = 4
"""The licence and its three answers."""

How = Literal["terminal", "option", "environment", "shown"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """digest: SHA-256 of the accepted text. when: UTC, ISO 8601 to the second. how: `shown` when nothing was asked."""

    entry: str
    licence: str
    digest: str
    who: str
    when: str
    how: How
    use: Use


def this_user(environment: Mapping[str, str]) -> str:
    """`name@host`, or what MEDSHARD_USER says."""
    named = environment.get(USER_VARIABLE, "").strip()
    return named or f"{_login()}@{socket.gethostname()}"


def acceptances(store: Store, entry_id: str) -> tuple[Acceptance, ...]:
    """All that were recorded, oldest first. Raises StoreError when the file is of another format."""
    path = _path(store, entry_id)
    if not path.exists():
        return ()
    document = read_json(path)
    check_format_version(document, where=str(path))
    return tuple(_from_json(item) for item in document["acceptances"])


def accepted(store: Store, entry: Entry, use: Use | None = None) -> Acceptance | None:
    """The newest acceptance of the text as it is now, for one use or for any."""
    digest = terms_of(entry).digest
    current = (item for item in acceptances(store, entry.id) if item.digest == digest and use in {None, item.use})
    return max(current, key=lambda item: item.when, default=None)


def record_acceptance(store: Store, acceptance: Acceptance) -> None:
    """Append to the entry's document; two builders at once lose nothing."""
    with hold_lease(store, f"terms/{acceptance.entry}"):
        known = acceptances(store, acceptance.entry)
        document = {
            "format_version": FORMAT_VERSION,
            "entry": acceptance.entry,
            "acceptances": [asdict(item) for item in (*known, acceptance)],
        }
        store.write(_path(store, acceptance.entry), canonical_json(document) + b"\n")


def log_terms(terms: Terms) -> None:
    _log.info("%s", terms.text)


def require_acceptance(
    store: Store,
    entry: Entry,
    *,
    asked: Callable[[Terms], bool] | None,
    named: Collection[str],
    use: Use,
    who: str,
    now: datetime,
    environment: Mapping[str, str] = MappingProxyType({}),
    show: Callable[[Terms], None] = log_terms,
) -> Acceptance:
    """The acceptance of the current terms for this use: found, or got now and recorded.

    asked: shows the terms to a person and returns the answer; None where nobody can be asked. named: ids of entries
    whose terms were accepted beforehand. environment: to tell whether an id was named there. show: for terms that
    nobody is asked to accept. Raises AcquisitionError[licence.not_accepted], and writes nothing then.
    """
    known = accepted(store, entry, use)
    if known is not None:
        return known
    terms = terms_of(entry)
    acceptance = Acceptance(
        entry=entry.id,
        licence=entry.licence.id,
        digest=terms.digest,
        who=who,
        when=now.astimezone(UTC).isoformat(timespec="seconds"),
        how=_consent(terms, entry, asked=asked, named=named, environment=environment, show=show),
        use=use,
    )
    record_acceptance(store, acceptance)
    return acceptance


def _consent(
    terms: Terms,
    entry: Entry,
    *,
    asked: Callable[[Terms], bool] | None,
    named: Collection[str],
    environment: Mapping[str, str],
    show: Callable[[Terms], None],
) -> How:
    if not terms.consent:
        show(terms)
        return "shown"
    if entry.id in named:
        return "environment" if entry.id in _named_in(environment) else "option"
    if asked is None:
        raise _not_accepted(entry)
    if not asked(terms):
        raise _declined(entry)
    return "terminal"


def _declined(entry: Entry) -> AcquisitionError:
    """Without the terms, which the person has just read."""
    return AcquisitionError(
        "licence.not_accepted",
        where=entry.id,
        problem="its terms were not accepted",
        action=f"Nothing was fetched. `medshard build {entry.id}` asks again.",
    )


def _not_accepted(entry: Entry) -> AcquisitionError:
    return AcquisitionError(
        "licence.not_accepted",
        where=entry.id,
        problem="its terms have to be accepted first, and nobody can be asked here",
        details={**dict(islice(facts_of(entry), FACTS_IN_REFUSAL)), "address": terms_address(entry)},
        action=f"Read the terms (`medshard show {entry.id}`). If you accept them: "
        f"`medshard build {entry.id} --accept-licence {entry.id}`, or {ACCEPT_VARIABLE}={entry.id}.",
    )


def _named_in(environment: Mapping[str, str]) -> set[str]:
    return {word.strip() for word in environment.get(ACCEPT_VARIABLE, "").split(",")}


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid-{os.getuid()}"


def _path(store: Store, entry_id: str) -> Path:
    return store.root / "terms" / f"{entry_id}.json"


def _from_json(document: dict[str, Any]) -> Acceptance:
    return Acceptance(**{**document, "use": Use(document["use"])})
