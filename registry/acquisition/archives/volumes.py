"""Archives in several parts: which files belong together, and the bytes of all of them as one."""

from __future__ import annotations

import io
import os
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from medshard.registry.acquisition.archives.faults import Origin, missing_volumes

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_STEM = r"(?P<stem>.+\.(?:zip|7z|tar|tar\.gz|tar\.bz2|tar\.xz|tar\.zst|tgz|tbz2|txz|gz))"
# Name -> what the parts of a set share, and the number or letters of the part. The program `split` begins with aa, and
# `x.zip.md` is no part.
_NUMBERED = re.compile(rf"{_STEM}\.(?P<part>\d{{2,4}})", re.IGNORECASE)
_LETTERED = re.compile(rf"{_STEM}\.(?!gz|xz|bz)(?P<part>[a-d][a-z])", re.IGNORECASE)
_RAR_PART = re.compile(r"(?P<stem>.+)\.part(?P<part>\d+)\.rar", re.IGNORECASE)
_RAR_OLD = re.compile(r"(?P<stem>.+)\.r(?P<part>\d{2,3})", re.IGNORECASE)
_ZIP_SPLIT = re.compile(r"(?P<stem>.+)\.z(?P<part>\d{2,3})", re.IGNORECASE)


@dataclass(frozen=True)
class _Place:
    """Which set a file is part of, and its number in it."""

    form: str
    stem: str
    number: int


def volumes_of(paths: Iterable[Path]) -> tuple[tuple[Path, ...], ...]:
    """The files in groups: the parts of one archive in their order, or one other file.

    Raises AcquisitionError[archive.volumes] for a set with a gap.
    """
    everything = sorted(paths)
    present = set(everything)
    sets: dict[tuple[Path, str, str], list[tuple[int, Path]]] = defaultdict(list)
    for path in everything:
        place = _place(path)
        if place is not None and _starts_somewhere(path, place, present):
            sets[path.parent, place.form, place.stem].append((place.number, path))
    groups = [_complete_set(form, stem, members, present) for (_, form, stem), members in sets.items()]
    grouped = {path for group in groups for path in group}
    return tuple(sorted([*groups, *((path,) for path in everything if path not in grouped)]))


def is_later_volume(name: str) -> bool:
    """Whether a name can be that of a part which is no archive by itself, such as `x.r00`, `x.z01` or `x.zip.002`."""
    return any(
        pattern.fullmatch(name) is not None for pattern in (_NUMBERED, _LETTERED, _RAR_PART, _RAR_OLD, _ZIP_SPLIT)
    )


def whole_name(name: str) -> str:
    """The name of the whole that a numbered or lettered part belongs to, such as `x.zip` for `x.zip.002`."""
    found = _NUMBERED.fullmatch(name) or _LETTERED.fullmatch(name)
    return found["stem"] if found else name


def _place(path: Path) -> _Place | None:
    if found := _NUMBERED.fullmatch(path.name):
        return _Place("numbered", found["stem"].lower(), int(found["part"]))
    if found := _LETTERED.fullmatch(path.name):
        letters = found["part"].lower()
        return _Place("lettered", found["stem"].lower(), (ord(letters[0]) - 97) * 26 + ord(letters[1]) - 97)
    if found := _RAR_PART.fullmatch(path.name):
        return _Place("rar-part", found["stem"].lower(), int(found["part"]))
    if found := _RAR_OLD.fullmatch(path.name):
        return _Place("rar-old", found["stem"].lower(), int(found["part"]))
    if found := _ZIP_SPLIT.fullmatch(path.name):
        return _Place("zip-split", found["stem"].lower(), int(found["part"]))
    return None


def _starts_somewhere(path: Path, place: _Place, present: set[Path]) -> bool:
    """Files such as `scan.r01` are parts only where the file that gives them their kind lies beside them."""
    if place.form == "rar-old":
        return _beside(path, place.stem, ".rar", present) is not None
    if place.form == "zip-split":
        return _beside(path, place.stem, ".zip", present) is not None
    return True


def _beside(path: Path, stem: str, suffix: str, present: set[Path]) -> Path | None:
    # The stem is compared without case: sets made on Windows mix `X.ZIP` and `X.z01`.
    candidates = (path.with_name(path.name[: len(stem)] + form) for form in (suffix, suffix.upper()))
    return next((candidate for candidate in candidates if candidate in present), None)


def _complete_set(form: str, stem: str, members: list[tuple[int, Path]], present: set[Path]) -> tuple[Path, ...]:
    ordered = [path for _, path in sorted(members)]
    numbers = sorted(number for number, _ in members)
    first = {"numbered": min(numbers[0], 1), "rar-part": 1, "zip-split": 1}.get(form, 0)
    expected = range(first, first + len(numbers))
    gap = next((want for want, have in zip(expected, numbers, strict=True) if want != have), None)
    if gap is not None:
        origin = Origin(where=stem)
        raise missing_volumes(origin, found=[path.name for path in ordered[:4]], missing=f"part {gap}")
    if form == "rar-old":
        return (_required(ordered[0], stem, ".rar", present), *ordered)
    if form == "zip-split":
        return (*ordered, _required(ordered[0], stem, ".zip", present))
    return tuple(ordered)


def _required(path: Path, stem: str, suffix: str, present: set[Path]) -> Path:
    found = _beside(path, stem, suffix, present)
    if found is None:
        raise missing_volumes(Origin(where=stem), found=[path.name], missing=f"{stem}{suffix}")
    return found


@dataclass(frozen=True)
class Volumes:
    """The parts of one archive, in order."""

    paths: tuple[Path, ...]
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, paths: Sequence[Path]) -> Volumes:
        return cls(tuple(paths), tuple(path.stat().st_size for path in paths))

    @property
    def size(self) -> int:
        return sum(self.sizes)

    @property
    def starts(self) -> tuple[int, ...]:
        """Where each part begins in the bytes of all."""
        return tuple(accumulate(self.sizes[:-1], initial=0))

    @property
    def last_name(self) -> str:
        return self.paths[-1].name

    @contextmanager
    def open(self) -> Iterator[ReadAt]:
        """A function `read_at(offset, size)` that threads may share; fewer bytes only at the end."""
        with ExitStack() as stack:
            files = [stack.enter_context(path.open("rb", buffering=0)) for path in self.paths]
            descriptors = [file.fileno() for file in files]
            starts = self.starts
            if len(descriptors) == 1:
                yield lambda offset, size: os.pread(descriptors[0], size, offset)
            else:
                yield lambda offset, size: _read_parts(descriptors, self.sizes, starts, offset, size)

    @contextmanager
    def stream(self) -> Iterator[io.BufferedReader[Joined]]:
        """One seekable file over all parts."""
        with self.open() as read_at, io.BufferedReader(Joined(read_at, self.size), 1 << 18) as stream:
            yield stream


ReadAt = Callable[[int, int], bytes]


def _read_parts(
    descriptors: Sequence[int], sizes: Sequence[int], starts: Sequence[int], offset: int, size: int
) -> bytes:
    pieces = []
    index = max(bisect_right(starts, offset) - 1, 0)
    while size > 0 and index < len(descriptors):
        within = offset - starts[index]
        piece = os.pread(descriptors[index], min(size, max(sizes[index] - within, 0)), within)
        pieces.append(piece)
        offset, size = offset + len(piece), size - len(piece)
        if offset < starts[index] + sizes[index]:
            if not piece:
                break
            continue
        index += 1
    return b"".join(pieces)


class Joined(io.RawIOBase):
    """The raw file under a buffered one; libraries that want a file object get this."""

    def __init__(self, read_at: ReadAt, size: int) -> None:
        super().__init__()
        self._read_at = read_at
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"seek to {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        block = self._read_at(self._position, len(view))
        view[: len(block)] = block
        self._position += len(block)
        return len(block)
