"""Obtained files become one tree: archives are unpacked once, plain files lie under their own names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.archives import Damaged, LeftOut, Member, Unpacked, unpack
from medshard.registry.acquisition.archives.kinds import archive_kind
from medshard.registry.acquisition.archives.limits import Limits
from medshard.registry.acquisition.archives.passwords import archive_password
from medshard.registry.acquisition.obtaining import Obtained, link_or_copy, listed_path, recorded_address
from medshard.registry.acquisition.provenance import Provenance
from medshard.registry.acquisition.workplace import Workplace
from medshard.registry.hosts.host import ListedFile
from medshard.registry.hosts.source import Archive
from medshard.registry.store.digests import canonical_json
from medshard.registry.store.objects import write_atomically


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One file as it came, or one archive (all its volumes) with what it unpacked to.

    folder: where the unpacked files lie, under the paths of `unpacked.members`; None for a plain file.
    """

    files: tuple[Obtained, ...]
    folder: Path | None = None
    unpacked: Unpacked | None = None

    @property
    def below(self) -> PurePosixPath:
        """The folder of the tree that an archive's files go to: the one that its host lists it in."""
        return listed_path(self.files[0].listed, where="archive").parent


def finished_piece(
    place: Workplace, listed: Sequence[ListedFile], folder: Path, *, archives_kept: bool
) -> Piece | None:
    """What an earlier build has unpacked below `folder` out of the same files; None when it did not get so far.

    archives_kept: whether the archives must still be here as well.
    """
    marker = _marker(folder)
    if not marker.exists() or not folder.is_dir():
        return None
    document = json.loads(marker.read_bytes())
    kept = {file["name"]: file for file in document["files"]}
    if [_stated(file) for file in listed] != [
        {key: kept.get(file.name, {}).get(key) for key in _STATED} for file in listed
    ]:
        return None
    files = tuple(
        Obtained(
            listed=file,
            path=place.folder / kept[file.name]["path"],
            **{field: kept[file.name][field] for field in _KEPT},
        )
        for file in listed
    )
    if archives_kept and not all(file.path.is_file() for file in files):
        return None
    return Piece(files=files, folder=folder, unpacked=_unpacked(document["unpacked"]))


def open_piece(place: Workplace, files: Sequence[Obtained], folder: Path) -> Piece:
    """Unpack an archive below `folder` and note that it is done; a plain file stays as it is."""
    first = files[0].listed
    kind = archive_kind([file.path for file in files], first.archive, where=place.where)
    if kind == "none":
        return Piece(files=tuple(files))
    _marker(folder).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    unpacked = unpack_below(
        place, [file.path for file in files], folder, kind=kind, include=first.include, strip=first.strip
    )
    document = {"files": [_kept(place, file) for file in files], "unpacked": asdict(unpacked)}
    write_atomically(_marker(folder), canonical_json(document))
    return Piece(files=tuple(files), folder=folder, unpacked=unpacked)


def unpack_below(
    place: Workplace, paths: Sequence[Path], folder: Path, *, kind: Archive, include: Sequence[str], strip: int
) -> Unpacked:
    """Unpack the volumes of one archive with the limits and the password that the user has set."""
    folder.mkdir(parents=True)
    return unpack(
        list(paths),
        folder,
        include=include,
        where=place.where,
        kind=kind,
        strip=strip,
        limits=Limits.from_environment(place.options.environment),
        password=archive_password(place.entry.id, place.options.environment),
    )


_KEPT = ("size", "sha256", "url", "validator")
_STATED = ("name", "address", "checksum", "size_stated")


def _marker(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.json")


def _stated(file: ListedFile) -> dict[str, Any]:
    """What tells one file of a listing from another that is called the same."""
    return {
        "name": file.name,
        "address": recorded_address(file) or str(file.address),
        "checksum": file.checksum,
        "size_stated": file.size,
    }


def _kept(place: Workplace, file: Obtained) -> dict[str, Any]:
    """A file as the marker of its piece remembers it."""
    fields = {field: getattr(file, field) for field in _KEPT}
    return {**_stated(file.listed), "path": file.path.relative_to(place.folder).as_posix(), **fields}


def _unpacked(document: dict[str, Any]) -> Unpacked:
    members = tuple(Member(**{**member, "archives": tuple(member["archives"])}) for member in document["members"])
    left_out = tuple(LeftOut(**item) for item in document["left_out"])
    damaged = tuple(Damaged(**item) for item in document["damaged"])
    return Unpacked(**{**document, "members": members, "left_out": left_out, "damaged": damaged})


def lay_out(pieces: Iterable[Piece], tree: Path, *, where: str) -> list[Provenance]:
    """Link all files of the pieces below `tree`; returns where each came from.

    Raises AcquisitionError[source.clash] when two pieces bring one path with different bytes.
    """
    tree.mkdir(parents=True, exist_ok=True)
    laid: dict[str, Provenance] = {}
    for piece in pieces:
        for path, origin in _files_of(piece):
            known = laid.get(origin.path)
            if known is not None and known.sha256 != origin.sha256:
                raise _clash(origin, f"{_told(known)} brings it with other bytes", where=where)
            if known is None:
                try:
                    link_or_copy(path, tree / origin.path)
                except (FileExistsError, NotADirectoryError, IsADirectoryError):
                    raise _clash(origin, "another has a folder where this has a file", where=where) from None
                laid[origin.path] = origin
    return list(laid.values())


def _clash(origin: Provenance, why: str, *, where: str) -> AcquisitionError:
    return AcquisitionError(
        "source.clash",
        where=where,
        problem=f"two files of the source bring {origin.path}",
        details={"one": _told(origin), "other": why},
        action="Give one of them a folder with `into` in the catalog entry.",
    )


def _files_of(piece: Piece) -> Iterator[tuple[Path, Provenance]]:
    first = piece.files[0]
    if piece.folder is None or piece.unpacked is None:
        name = listed_path(first.listed, where="file").as_posix()
        yield first.path, Provenance(path=name, bytes=first.size, sha256=first.sha256, url=first.url)
        return
    for member in piece.unpacked.members:
        yield (
            piece.folder / member.path,
            Provenance(
                path=(piece.below / member.path).as_posix(),
                bytes=member.size,
                sha256=member.sha256,
                archive=" > ".join(member.archives),
                archive_sha256=first.sha256,
                member=member.member,
                url=first.url,
            ),
        )


def _told(origin: Provenance) -> str:
    return f"{origin.archive or 'a file by itself'}, sha256 {origin.sha256[:16]}"


def below(piece: Piece, path: str) -> str:
    """A path inside an archive as it is called in the tree."""
    return (piece.below / path).as_posix()
