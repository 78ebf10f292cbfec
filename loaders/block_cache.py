"""Blocks of remote objects on the local disk: one file of a fixed number of slots, shared by any number of processes.

The file never grows beyond its cap, since it has no room for more. A block may lie in the sixteen slots of its set, of
which the one that was used longest ago gives way. Readers take no lock: a slot that somebody overwrites meanwhile, or
that was left half written, has the wrong checksum and counts as absent. Writers lock the entries of the set in the
file, which the system undoes when a process dies.

    header    4096 bytes: "medshard blocks" and the version, padded with zeros; at 64, uint64 cap and uint64 sets
    entries   sets * 16 of 32 bytes: key (16 bytes), last use (uint64, ns), bytes (uint32), CRC-32 (uint32)
    slots     sets * 16 of 65,536 bytes
"""

from __future__ import annotations

import hashlib
import os
import struct
import time
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np

from medshard.errors import StoreError
from medshard.loaders.file_locks import locked
from medshard.registry.store.objects import write_atomically

FORMAT_VERSION = 1
BLOCK_BYTES = 1 << 16
WAYS = 16
_HEADER_BYTES = 4096
_ENTRY = np.dtype([("key", "V16"), ("used", "<u8"), ("nbytes", "<u4"), ("crc", "<u4")])
_MARK = f"medshard blocks {FORMAT_VERSION}".encode()
_SIZES = struct.Struct("<QQ")
_USED = struct.Struct("<Q")
_SET_BYTES = WAYS * (_ENTRY.itemsize + BLOCK_BYTES)
SMALLEST_CAP = _HEADER_BYTES + _SET_BYTES


class BlockCache:
    """The open cache file of one process."""

    def __init__(self, path: Path, cap: int) -> None:
        """Open the cache file, or make it; it takes at most `cap` bytes.

        Raises StoreError for a cap below `SMALLEST_CAP` (cache.too_small) and for a file of another cap (cache.size).
        """
        if cap < SMALLEST_CAP:
            raise StoreError(
                "cache.too_small",
                where=str(path),
                problem="a cache of this size has no room for blocks",
                details={"expected": f"at least {SMALLEST_CAP} bytes", "found": cap},
            )
        self.path, self.cap = path, cap
        self._sets = (cap - _HEADER_BYTES) // _SET_BYTES
        self._slots_begin = _HEADER_BYTES + self._sets * WAYS * _ENTRY.itemsize
        self._file = self._open()

    def get(self, digest: str, number: int) -> bytes | None:
        """Block `number` of an object, if it is here and whole."""
        key = _key(digest, number)
        home = self._home(key)
        entries = self._entries(home)
        for way in np.flatnonzero(entries["key"] == np.void(key)).tolist():
            nbytes, crc = int(entries["nbytes"][way]), int(entries["crc"][way])
            block = os.pread(self._file, nbytes, self._slot_place(home, way))
            if nbytes and len(block) == nbytes and zlib.crc32(block) == crc:
                self._write(_USED.pack(time.time_ns()), self._entry_place(home, way) + 16)
                return block
        return None

    def put(self, digest: str, number: int, block: bytes) -> None:
        """Keep a block of at most `BLOCK_BYTES`. Raises StoreError[cache.write] when the disk does not take it."""
        key = _key(digest, number)
        home = self._home(key)
        with locked(self._file, length=WAYS * _ENTRY.itemsize, start=self._entry_place(home, 0)):
            entries = self._entries(home)
            same = np.flatnonzero(entries["key"] == np.void(key))
            way = int(same[0]) if len(same) else int(np.argmin(entries["used"]))
            # Absent while it is being written; the entry goes last.
            self._write(bytes(_ENTRY.itemsize), self._entry_place(home, way))
            self._write(block, self._slot_place(home, way))
            entry = np.array([(key, time.time_ns(), len(block), zlib.crc32(block))], _ENTRY)
            self._write(entry.tobytes(), self._entry_place(home, way))

    def close(self) -> None:
        os.close(self._file)

    def _open(self) -> int:
        if not self.path.exists():
            header = _MARK.ljust(64, b"\0") + _SIZES.pack(self.cap, self._sets)
            # Several processes may make it at the same time: their bytes are equal, and one of them wins for good.
            self.path.parent.mkdir(parents=True, exist_ok=True)
            draft = self.path.with_name(f"{self.path.name}.{os.getpid()}")
            write_atomically(draft, header.ljust(_HEADER_BYTES, b"\0"))
            with suppress(FileExistsError):
                os.link(draft, self.path)
            draft.unlink()
        file = os.open(self.path, os.O_RDWR)
        header = os.pread(file, _HEADER_BYTES, 0)
        if header[:64].rstrip(b"\0") != _MARK or _SIZES.unpack_from(header, 64) != (self.cap, self._sets):
            os.close(file)
            raise StoreError(
                "cache.size",
                where=str(self.path),
                problem="this is a cache of another size or version",
                details={"expected": f"{self.cap} bytes"},
                action="Give the size that it was made with, name another folder, or remove the file.",
            )
        return file

    def _home(self, key: bytes) -> int:
        return int.from_bytes(key[:8], "little") % self._sets

    def _entry_place(self, home: int, way: int) -> int:
        return _HEADER_BYTES + (home * WAYS + way) * _ENTRY.itemsize

    def _slot_place(self, home: int, way: int) -> int:
        return self._slots_begin + (home * WAYS + way) * BLOCK_BYTES

    def _entries(self, home: int) -> np.ndarray[tuple[int], np.dtype[np.void]]:
        size = WAYS * _ENTRY.itemsize
        return np.frombuffer(os.pread(self._file, size, self._entry_place(home, 0)).ljust(size, b"\0"), _ENTRY)

    def _write(self, data: bytes, place: int) -> None:
        try:
            written = os.pwrite(self._file, data, place)
        except OSError as error:
            written, reason = -1, str(error)
        else:
            reason = f"{written} of {len(data)} bytes were written"
        if written != len(data):
            raise StoreError(
                "cache.write",
                where=str(self.path),
                problem="the disk does not take a block",
                details={"system": reason},
                action="Make room, or give a smaller `cache_bytes` and another cache folder.",
            )


def _key(digest: str, number: int) -> bytes:
    return hashlib.blake2b(f"{digest} {number}".encode(), digest_size=16).digest()
