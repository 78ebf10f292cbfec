"""What can go wrong on the way, as the transfer room tells it to itself. None of these leaves the room."""

from __future__ import annotations


class FaultError(Exception):
    """A try that failed and may be repeated. reason: a few words for people, without addresses or secrets.

    retry_after_s: the pause that the server asks for. at_once: another way is open, which needs no pause.
    """

    def __init__(self, reason: str, *, retry_after_s: float | None = None, at_once: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.at_once = at_once


class WrongRangeError(FaultError):
    """The server sent other bytes than those that were asked for."""


class ContentChangedError(Exception):
    """The file behind the address is not the one whose bytes are here."""

    def __init__(self, difference: str) -> None:
        super().__init__(difference)
        self.difference = difference


class NoRangesError(Exception):
    """The server cannot continue a file."""
