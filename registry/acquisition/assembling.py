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
from medshard.registry.acquisition.archives.names import safe_path
from medshard.registry.acquisition.archives.passwords import archive_password
from medshard.registry.acquisition.obtaining import Obtained, link_or_copy
from medshard.registry.acquisition.provenance import Provenance
from medshard.registry.acquisition.workplace import Workplace
from medshard.registry.hosts.host import ListedFile
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
        return safe_path(self.files[0].listed.name).parent


def finished_piece(listed: Sequence[ListedFile], folder: Path, *, archives_kept: bool) -> Piece | None:
    """What an earlier build has unpacked below `folder` out of the same files; None when it did not get so far.

    archives_kept: whether the archives must still be here as well.
    """
    marker = _marker(folder)
    if not marker.exists():
        return None
    document = json.loads(marker.read_bytes())
    by_name = {file["name"]: file for file in document["files"]}
    if set(by_name) != {file.name for file in listed}:
        return None
    files = tuple(
        Obtained(
            listed=file,
            path=folder.parent.parent / by_name[file.name]["path"],
            **{field: by_name[file.name][field] for field in _KEPT},
        )
        for file in listed
    )
    if any(_contradicts(file) or (archives_kept and not file.path.is_file()) for file in files):
        return None
    return Piece(files=files, folder=folder, unpacked=_unpacked(document["unpacked"]))


def open_piece(place: Workplace, files: Sequence[Obtained], folder: Path) -> Piece:
    """Unpack an archive below `folder` and note that it is done; a plain file stays as it is."""
    first = files[0].listed
    kind = archive_kind(files[0].path, first.archive)
    if kind == "none":
        return Piece(files=tuple(files))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    unpacked = unpack(
        [file.path for file in files],
        folder,
        include=first.include,
        where=place.where,
        kind=kind,
        strip=first.strip,
        limits=Limits.from_environment(place.options.environment),
        password=archive_password(place.entry.id, place.options.environment),
    )
    document = {"files": [_kept(place, file) for file in files], "unpacked": asdict(unpacked)}
    write_atomically(_marker(folder), canonical_json(document))
    return Piece(files=tuple(files), folder=folder, unpacked=unpacked)


_KEPT = ("size", "sha256", "url", "validator")


def _marker(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.json")


def _kept(place: Workplace, file: Obtained) -> dict[str, Any]:
    """A file as the marker of its piece remembers it."""
    fields = {field: getattr(file, field) for field in _KEPT}
    return {"name": file.listed.name, "path": file.path.relative_to(place.folder).as_posix(), **fields}


def _contradicts(file: Obtained) -> bool:
    """Whether the listing now states other bytes than those that were unpacked."""
    size, checksum = file.listed.size, file.listed.checksum or ""
    return size not in {None, file.size} or (checksum.startswith("sha256:") and checksum != f"sha256:{file.sha256}")


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
            if known is None:
                link_or_copy(path, tree / origin.path)
                laid[origin.path] = origin
            elif known.sha256 != origin.sha256:
                raise AcquisitionError(
                    "source.clash",
                    where=where,
                    problem=f"two files of the source bring {origin.path}, with different bytes",
                    details={"one": _told(known), "other": _told(origin)},
                    action="Give one of them a folder with `into` in the catalog entry.",
                )
    return list(laid.values())


def _files_of(piece: Piece) -> Iterator[tuple[Path, Provenance]]:
    first = piece.files[0]
    if piece.folder is None or piece.unpacked is None:
        name = safe_path(first.listed.name).as_posix()
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
