"""The journal beside an unfinished file: what it is a part of, and which of its bytes are there.

One line of JSON, then records of 20 bytes (start, end, CRC-32 of both): ranges that were written before their record.
A record that the end of the process has cut short is not counted. The data of a record may still be on its way to the
disk when the machine itself stops; so after a new start of the machine only records count that a flush to the disk
has covered. It leaves a mark: an empty range whose start is the number of records that were there when it began.
"""

from __future__ import annotations

import json
import os
import struct
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from zlib import crc32

from medshard.registry.acquisition.transfer.spans import Spans

_RANGE = struct.Struct("<QQ")
_RECORD = struct.Struct("<QQI")


@dataclass(frozen=True, kw_only=True)
class Content:
    """What the bytes are bytes of. size: of the whole file; None while unknown. validator: ETag or Last-Modified."""

    url: str
    size: int | None
    validator: str | None


class Journal:
    """Open for appending; `create` begins a new one."""

    def __init__(self, descriptor: int) -> None:
        self.records = 0
        self._descriptor = descriptor

    @classmethod
    def create(cls, path: Path, content: Content) -> Journal:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o644)
        header = {"journal": 1, "machine_start": machine_start(), **asdict(content)}
        os.write(descriptor, json.dumps(header).encode() + b"\n")
        return cls(descriptor)

    @classmethod
    def reopen(cls, path: Path, content: Content, done: Spans) -> Journal:
        """Rewrites what was read, so that a torn record does not shift those to come."""
        draft = path.with_name(f"{path.name}.new")
        journal = cls.create(draft, content)
        for start, end in zip(done.starts, done.ends, strict=True):
            journal.record(start, end)
        draft.replace(path)
        return journal

    def record(self, start: int, end: int) -> None:
        """Say that these bytes were written."""
        fields = _RANGE.pack(start, end)
        os.write(self._descriptor, fields + struct.pack("<I", crc32(fields)))
        self.records += 1

    def mark_flushed(self, records: int) -> None:
        """Say that the bytes of the first `records` records are on the disk."""
        self.record(records, records)
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


def read_journal(path: Path) -> tuple[Content, Spans] | None:
    """What a journal says; None when there is none, or none that can be trusted."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    line, newline, records = data.partition(b"\n")
    try:
        header = json.loads(line)
        content = Content(url=header["url"], size=header["size"], validator=header["validator"])
        same_start = header["machine_start"] == machine_start()
    except (ValueError, KeyError, TypeError):
        return None
    ranges = _ranges(records) if newline else []
    if not same_start:
        ranges = ranges[: max((start for start, end in ranges if start == end), default=0)]
    done = Spans()
    for start, end in ranges:
        done.add(start, end)
    return content, done


def _ranges(records: bytes) -> list[tuple[int, int]]:
    ranges = []
    for offset in range(0, len(records) - _RECORD.size + 1, _RECORD.size):
        start, end, check = _RECORD.unpack_from(records, offset)
        if crc32(_RANGE.pack(start, end)) != check:
            break
        ranges.append((start, end))
    return ranges


@cache
def machine_start() -> str:
    """Another text after each start of the machine, where the system has one."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
