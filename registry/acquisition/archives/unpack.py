"""Unpacking: an archive and those inside it become files below one folder, or nothing at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path, PurePosixPath

from medshard.registry.acquisition.archives.blocks import (
    DECODE_ERRORS,
    Blocks,
    Read,
    gunzipped,
    stored,
    unbzipped,
    unxzed,
    unzstd,
)
from medshard.registry.acquisition.archives.faults import Origin, name_of, over_limit, unreadable
from medshard.registry.acquisition.archives.kinds import archive_kind, named_kind
from medshard.registry.acquisition.archives.limits import Account, Limits
from medshard.registry.acquisition.archives.members import Damaged, Entry, LeftOut, Member
from medshard.registry.acquisition.archives.rar_reading import read_rar
from medshard.registry.acquisition.archives.room import Room
from medshard.registry.acquisition.archives.seven_zip_reading import read_7z
from medshard.registry.acquisition.archives.tar_reading import read_tar
from medshard.registry.acquisition.archives.volumes import Volumes, is_later_volume, volumes_of
from medshard.registry.acquisition.archives.writing import Intake, Writing, check_copies
from medshard.registry.acquisition.archives.zip_reading import Span, read_zip
from medshard.registry.hosts.selection import require_selection
from medshard.registry.hosts.source import Archive


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """What came out of an archive. members: the files that are there now, sorted by path.

    tools: name -> version of what read it. bytes_in: size of the archive. bytes_out: of the members.
    peak: the most bytes that lay below the folder at any moment; with the archive itself beside it, a disk holds
    bytes_in + peak. It is bytes_out, plus the archives inside that were being unpacked.
    """

    members: tuple[Member, ...]
    left_out: tuple[LeftOut, ...]
    damaged: tuple[Damaged, ...]
    tools: Mapping[str, str]
    bytes_in: int
    bytes_out: int
    peak: int


def unpack(
    archive: Path | Sequence[Path],
    folder: Path,
    *,
    include: Iterable[str] = ("*",),
    where: str,
    kind: Archive | None = None,
    strip: int = 0,
    limits: Limits | None = None,
    password: str | None = None,
    nested: bool = True,
) -> Unpacked:
    """Unpack the members that `include` selects below `folder`, under their own names.

    archive: one file, or the parts of one archive in their order. include: patterns over the members' full names; `*`
    also runs over `/`. strip: leading folders that the members lose. nested: unpack archives inside where they lie,
    whole, and remove them. What is in the folder already stays, and is never overwritten with other bytes.

    Raises AcquisitionError: archive.unreadable, archive.kind, archive.unsafe, archive.clash, archive.limit,
    archive.disk, archive.password, archive.encryption, archive.unsupported, archive.volumes, archive.no_tool,
    source.empty; MissingExtraError. The folder is then as it was before.
    """
    paths = (archive,) if isinstance(archive, Path) else tuple(archive)
    patterns = tuple(include)
    with Room(folder) as room:
        volumes = Volumes.of(paths)
        origin = Origin(where=where, archives=(name_of(paths),))
        account = Account(limits=limits or Limits(), folder=room.tree, bytes_in=volumes.size)
        writing = Writing(tree=room.tree, account=account, tools={"medshard": version("medshard")})
        intake = Intake(
            writing=writing,
            origin=origin,
            include=patterns,
            strip=strip,
            is_archive=_is_inner if nested else lambda name: False,  # noqa: ARG005
        )
        _read(volumes, archive_kind(paths, kind, where=where), intake, password)
        selected = [member.member for member in writing.members.values()]
        require_selection(selected, patterns, where=where, seen=intake.seen)
        if nested:
            _unpack_inner(list(writing.members.values()), writing, room, origin, password)
        check_copies(writing)
        room.hand_over(writing.members.values(), origin)
    members = tuple(sorted(writing.members.values(), key=lambda member: member.path))
    return Unpacked(
        members=members,
        left_out=tuple(sorted(writing.left_out, key=lambda left: left.name)),
        damaged=tuple(Damaged(path=path, problem=problem) for path, problem in sorted(writing.damaged.items())),
        tools=dict(sorted(writing.tools.items())),
        bytes_in=volumes.size,
        bytes_out=sum(member.size for member in members),
        peak=account.peak,
    )


def _read(volumes: Volumes, kind: Archive, intake: Intake, password: str | None) -> None:
    if kind == "zip":
        read_zip(volumes, intake, password)
    elif kind == "7z":
        read_7z(volumes, intake, password)
    elif kind == "rar":
        read_rar(volumes, intake, password)
    elif kind == "none":
        raise unreadable(intake.origin, "it is no archive")
    else:
        _read_packed(volumes, kind, intake)


def _read_packed(volumes: Volumes, kind: Archive, intake: Intake) -> None:
    packing = kind.removeprefix("tar").removeprefix(".")
    unpackings: dict[str, Callable[[Read], Blocks]] = {
        "": stored,
        "gz": partial(gunzipped, report=lambda problem: intake.damaged(f"{problem}; any of its members may be wrong")),
        "bz2": unbzipped,
        "xz": unxzed,
        "zst": partial(unzstd, origin=intake.origin),
    }
    with volumes.open() as read_at:
        blocks = unpackings[packing](Span(read_at, 0, volumes.size).read)
        if kind.startswith("tar"):
            read_tar(blocks, intake)
        else:
            _read_single(blocks, volumes.paths[0].name, kind, intake)


def _read_single(blocks: Blocks, name: str, kind: Archive, intake: Intake) -> None:
    """One packed file: its name loses the suffix of the packing."""
    suffix = f".{kind}"
    own = name[: -len(suffix)] if name.lower().endswith(suffix) and len(name) > len(suffix) else name
    place = intake.accept(Entry(name=own))
    if place is None:
        return
    try:
        with place.open() as sink:
            for block in blocks:
                sink.write(block)
    except DECODE_ERRORS as error:
        raise unreadable(intake.origin, error) from error


def _is_inner(name: str) -> bool:
    lower = PurePosixPath(name).name
    return named_kind(lower) is not None or is_later_volume(lower)


def _unpack_inner(
    members: Sequence[Member], writing: Writing, room: Room, origin: Origin, password: str | None
) -> None:
    """Unpack the archives among these members where they lie, with those inside them, and remove them."""
    named = {room.tree / member.path: member for member in members if _is_inner(member.member)}
    for group in volumes_of(named):
        if named_kind(group[0].name) is None and len(group) == 1:
            continue  # `scan.r01`, and no archive beside it that it could be a part of
        parts = [named[path] for path in group]
        inside = origin.inside(parts[0].member)
        limit = writing.account.limits.max_depth
        if len(inside.archives) > limit:
            raise over_limit(
                inside,
                what="archives in archives, too many deep",
                limit=f"{limit} deep, the outermost counted",
                found=f"{len(inside.archives)} deep",
                raise_with="leave it out with `include`, or unpack it yourself and put the files into the inbox",
            )
        _unpack_one_inner(parts, writing, room, inside, password)


def _unpack_one_inner(
    parts: Sequence[Member], writing: Writing, room: Room, origin: Origin, password: str | None
) -> None:
    # It moves away first: what it holds may bear its own name.
    check_copies(writing)
    aside = room.aside([room.tree / part.path for part in parts])
    for part in parts:
        del writing.members[part.path]
        writing.damaged.pop(part.path, None)
        writing.taken.release(PurePosixPath(part.path))
    before = set(writing.members)
    intake = Intake(writing=writing, origin=origin, below=PurePosixPath(parts[0].path).parent, is_archive=_is_inner)
    _read(Volumes.of(aside), archive_kind(aside, where=origin.where), intake, password)
    shutil.rmtree(aside[0].parent)
    writing.account.release(sum(part.size for part in parts))
    made = [member for path, member in writing.members.items() if path not in before]
    _unpack_inner(made, writing, room, origin, password)
