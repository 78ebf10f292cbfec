"""Reading recordings and the marks on their time axis. The format is found by content."""

from __future__ import annotations

from medshard.converters.formats.faults import bad_file, errors_of_case, refuse_no_files
from medshard.converters.formats.format import Files, first_bytes
from medshard.converters.signal import Signal
from medshard.converters.signals import array_files, dicom_waveform, edf, neuroscan, wfdb_marks, wfdb_record
from medshard.converters.signals.signal_format import ANY_SIGNAL, Event, EventRequest, SignalFormat, SignalRequest
from medshard.converters.signals.wfdb_header import header_among, header_fields
from medshard.converters.spooling import IN_MEMORY, Spool
from medshard.errors import CaseError

__all__ = [
    "ANY_SIGNAL",
    "Event",
    "SignalRequest",
    "is_signal",
    "read_events",
    "read_header_fields",
    "read_signals",
    "signal_decoders",
]

# What says itself that it is a recording first; files of arrays, which may hold anything, last.
FORMATS: tuple[SignalFormat, ...] = (
    edf.FORMAT,
    dicom_waveform.FORMAT,
    neuroscan.FORMAT,
    wfdb_record.FORMAT,
    array_files.FORMAT,
)
# Files of annotations have no mark of their own, so that the entry's words decide.
WFDB_WORDS = ("wfdb", "atr")


def is_signal(files: Files) -> bool:
    """Whether the files say by their content that they are a recording. A file of arrays never does."""
    return any(candidate.own and candidate.sniff(files) for candidate in FORMATS)


def read_signals(
    files: Files, *, where: str, request: SignalRequest = ANY_SIGNAL, spool: Spool = IN_MEMORY
) -> tuple[Signal, ...]:
    """The channels of one recording, one Signal for each rate (and each group or array that stays on its own).

    files: one file; of a WFDB record header and data, in any order. spool: where large arrays go.
    Raises CaseError[read.no_files | read.unknown_format | read.truncated | read.unreadable | read.unsupported |
    read.missing_part | read.no_such_array | signal.*], MissingExtraError.
    """
    found = _identified(files, where)
    with errors_of_case(files, found.name, where):
        return found.read(files, request, spool)


def read_events(
    files: Files,
    *,
    where: str,
    format: str,  # noqa: A002 - as the field of the catalog is called
    rate_hz: float | None = None,
    key: str | None = None,
) -> list[Event]:
    """Marks on the time axis, in the order of the file.

    format: as the entry's layout has it (`EDF+ annotations`, `WFDB annotation`, `label per sample at 700 Hz`, `csv`).
    rate_hz: of the recording, for marks that count samples. key: the array of labels in a file of arrays.
    Raises CaseError as `read_signals`, and [signal.no_events | signal.no_rate].
    """
    refuse_no_files(files, where)
    request = EventRequest(format=format, rate_hz=rate_hz, key=key)
    if any(word in format.lower().split() for word in WFDB_WORDS):
        with errors_of_case(files, wfdb_record.FORMAT.name, where):
            return wfdb_marks.events(files, request)
    found = _identified(files, where)
    with errors_of_case(files, found.name, where):
        if found.events is None:
            raise bad_file("signal.no_events", files[0], f"{found.name} files hold no events that medshard reads")
        return found.events(files, request)


def read_header_fields(files: Files, *, where: str = "recording") -> dict[str, str]:
    """What the comments of a WFDB header state, such as Dx, Age and Sex: `# key: value`.

    It may name a person; whoever calls keeps only the fields that the entry names.
    """
    refuse_no_files(files, where)
    with errors_of_case(files, wfdb_record.FORMAT.name, where):
        header = header_among(files)
        if header is None:
            raise bad_file("read.missing_part", files[0], "no header of a WFDB record is given")
        return header_fields(header)


def signal_decoders(files: Files) -> dict[str, str]:
    """Library -> version, of everything that has a say in the decoded numbers, or in the times of events."""
    found = next((candidate for candidate in FORMATS if candidate.sniff(files)), wfdb_record.FORMAT)
    return found.decoders()


def _identified(files: Files, where: str) -> SignalFormat:
    refuse_no_files(files, where)
    with errors_of_case(files, "signals", where):
        found = next((candidate for candidate in FORMATS if candidate.sniff(files)), None)
    if found is None:
        raise CaseError(
            "read.unknown_format",
            where=where,
            problem="the files are no recording of a format that medshard reads",
            details={
                "file": files[0].name,
                "files": len(files),
                "begins with": first_bytes(files[0], 4).hex(" "),
                "read": ", ".join(suffix for candidate in FORMATS for suffix in candidate.suffixes),
            },
            action="The case is excluded. Correct the entry's layout, or convert the file.",
        )
    return found
