"""Passwords of archives, which only the user has. None of them reaches an error, a record or a log."""

from __future__ import annotations

from collections.abc import Mapping

PASSWORD = "MEDSHARD_ARCHIVE_PASSWORD"


def archive_password(entry_id: str, environment: Mapping[str, str]) -> str | None:
    """The user's password for the archives of an entry: its own variable first, then the one for all."""
    own = f"{PASSWORD}_{entry_id.upper().replace('-', '_')}"
    return environment.get(own) or environment.get(PASSWORD) or None
