"""What a reader of recordings provides, what is asked of it, and what marks a recording carries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from medshard.converters.formats.format import Files
from medshard.converters.signal import Signal
from medshard.converters.spooling import Spool


@dataclass(frozen=True, kw_only=True)
class SignalRequest:
    """Which recording of the files is meant, and what the catalog says where the files are silent.

    key: the array in a file of arrays: `name`, `group.name`, `cells[3]`, `cells[*]` (each one), `*` (each variable).
    rate_hz, channels, unit: used where the file does not state them itself.
    """

    key: str | None = None
    rate_hz: float | None = None
    channels: tuple[str, ...] = ()
    unit: str | None = None


ANY_SIGNAL = SignalRequest()


@dataclass(frozen=True, kw_only=True)
class Event:
    """A mark on the time axis.

    onset_s: seconds from the start of the recording. duration_s: 0 where the source marks a moment.
    word: what the source writes: a symbol, a code or a short text. channel: None where it concerns all of them.
    """

    onset_s: float
    duration_s: float
    word: str
    channel: str | None = None


@dataclass(frozen=True, kw_only=True)
class EventRequest:
    """format: as the entry writes it. rate_hz: of the recording, for marks that count samples. key: as for signals."""

    format: str
    rate_hz: float | None = None
    key: str | None = None


@dataclass(frozen=True, kw_only=True)
class SignalFormat:
    """One file format of recordings, as plain functions.

    own: whether such a file is a recording by its content; a file of arrays may hold anything.
    read, events: raise CaseError, or what a library raises on a bad file.
    events: None where the format has no place for marks.
    """

    name: str
    suffixes: tuple[str, ...]
    own: bool
    sniff: Callable[[Files], bool]
    read: Callable[[Files, SignalRequest, Spool], tuple[Signal, ...]]
    events: Callable[[Files, EventRequest], list[Event]] | None
    decoders: Callable[[], dict[str, str]]
