"""An acquired part becomes objects of the store and the facts of its record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from medshard.registry.acquisition.acquire import AcquiredPart
from medshard.registry.acquisition.assembling import Piece
from medshard.registry.acquisition.obtaining import Obtained, link_or_copy
from medshard.registry.acquisition.parts import source_words
from medshard.registry.acquisition.provenance import provenance_table
from medshard.registry.acquisition.workplace import Workplace
from medshard.registry.places import source_place
from medshard.registry.store.objects import ObjectRef

LISTED = 50
_COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")


def publish_part(place: Workplace, acquired: AcquiredPart) -> tuple[ObjectRef, dict[str, Any]]:
    """Publish archives, tree and provenance. Returns the tree and what the record of the part says.

    The folder of unfinished work keeps its files until the record is written: links, not moves.
    """
    for piece in acquired.pieces:
        _keep(place, piece)
    known = {origin.path: origin.sha256 for origin in acquired.origins}
    tree = place.store.publish_tree(acquired.tree, "", known=known)
    provenance = place.store.publish_bytes(provenance_table(acquired.origins), ".files.parquet")
    return tree, {
        "place": source_place(acquired.offer.source),
        "archives": list(_archive_facts(acquired.pieces)),
        "provenance": provenance.to_json(),
        "files": len(acquired.origins),
        "damaged": [list(item) for item in acquired.damaged[:LISTED]],
        "left_out": [list(item) for item in acquired.left_out[:LISTED]],
        "left_out_count": len(acquired.left_out),
    }


def identity_of(acquired: AcquiredPart) -> dict[str, Any]:
    """What the record calls the source that was used: its words in the catalog and the revision it was at."""
    words = source_words(acquired.offer.source)
    return {**words, "revision": acquired.offer.listing.revision or words.get("revision")}


def warnings_of(acquired: AcquiredPart) -> tuple[str, ...]:
    """What a person should know of a part that was acquired all the same."""
    damaged = [f"damaged as published: {path}: {problem}" for path, problem in acquired.damaged]
    left_out = [f"left out: {name}: {why}" for name, why in acquired.left_out if "junk" not in why]
    failed = (f"could not be had from {line}" for line in acquired.failed)
    return (*_first(damaged), *_first(left_out), *failed)


def _first(lines: list[str]) -> Iterable[str]:
    yield from lines[:LISTED]
    if len(lines) > LISTED:
        yield f"and {len(lines) - LISTED} more of these"


def _packed(piece: Piece) -> tuple[Obtained, ...]:
    return piece.files if piece.folder is not None else ()


def kept_archive(archive: Mapping[str, Any]) -> ObjectRef:
    """Where an archive of a record lies in a store that has kept it."""
    return ObjectRef(digest=archive["sha256"], suffix=_suffix(archive["name"]), size=archive["size"], kind="file")


def _archive_facts(pieces: Iterable[Piece]) -> Iterator[dict[str, Any]]:
    """One for each volume of each archive. What is needed to unpack it again without its host stands with it."""
    for number, piece in enumerate(piece for piece in pieces if piece.folder is not None):
        for file in piece.files:
            listed = file.listed
            yield {
                "piece": number,
                "name": file.path.name,
                "sha256": file.sha256,
                "size": file.size,
                "url": file.url,
                "listed": listed.name,
                "kind": listed.archive,
                "include": list(listed.include),
                "strip": listed.strip,
            }


def _keep(place: Workplace, piece: Piece) -> None:
    """Publish the volumes of an archive, unless they are to be discarded."""
    for file in _packed(piece):
        if file.path.is_file() and not place.options.discard_archives:
            with place.store.scratch() as scratch:
                link_or_copy(file.path, scratch / "archive")
                place.store.publish_file(scratch / "archive", _suffix(file.path.name), sha256=file.sha256)


def _suffix(name: str) -> str:
    """The end of a file name that says what it is, such as `.tar.gz`."""
    suffixes = PurePosixPath(name).suffixes
    return "".join(suffixes[-2:]) if name.endswith(_COMPRESSIONS) else "".join(suffixes[-1:])
