"""Which files of a host's listing the catalog wants, and what the catalog knows of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from difflib import get_close_matches

from medshard.errors import AcquisitionError
from medshard.registry.hosts.host import ListedFile, Listing
from medshard.registry.hosts.source import RemoteFile
from medshard.registry.schema import RemoteSource, Source


def wanted_files(source: Source, listing: Listing, *, where: str) -> Listing:
    """The listing, reduced to what the catalog names, each with the catalog's size, checksum and archive laid over.

    Raises AcquisitionError: source.file_gone when the host does not have a named file, source.differs when it states
    another size or checksum than the catalog, source.empty when nothing is left.
    """
    if isinstance(source, RemoteSource):
        files = tuple(_named(source.files, listing.files, where=where)) if source.files else listing.files
        files = tuple(_as_packed(file, source, alone=len(files) == 1) for file in files)
    else:
        files = listing.files
    if not files:
        raise AcquisitionError(
            "source.empty",
            where=where,
            problem="the host lists no file for this source",
            action="Look at its page: the record may be empty, restricted or moved.",
        )
    return replace(listing, files=files)


def _named(wanted: Iterable[RemoteFile], listed: tuple[ListedFile, ...], *, where: str) -> Iterable[ListedFile]:
    by_name = {file.name: file for file in listed}
    for file in wanted:
        together = [found for found in listed if found.id is not None and found.id in {file.id, file.name}]
        if len(together) > 1:  # what a manifest of downloads lists, under its name
            yield from together
            continue
        found = (together[0] if together else None) or by_name.get(file.name) or _by_last_part(file.name, listed)
        if found is None:
            raise _gone(file, by_name, where=where)
        yield _laid_over(found, file, where=where)


def _by_last_part(name: str, listed: tuple[ListedFile, ...]) -> ListedFile | None:
    """The only file of that name in any folder of the host."""
    found = [file for file in listed if file.name.rsplit("/", 1)[-1] == name]
    return found[0] if len(found) == 1 else None


def _gone(file: RemoteFile, listed: Iterable[str], *, where: str) -> AcquisitionError:
    names = list(listed)
    near = get_close_matches(file.name, names, n=3)
    return AcquisitionError(
        "source.file_gone",
        where=where,
        problem=f"the host does not list {file.name}",
        details={"it lists": ", ".join(near or names[:5]) or "nothing"},
        action="If the publisher renamed it, mend `files` in the catalog entry.",
    )


def _laid_over(listed: ListedFile, file: RemoteFile, *, where: str) -> ListedFile:
    for field, stated, found in (
        ("size", file.size, listed.size),
        ("checksum", file.checksum, listed.checksum),
    ):
        if stated is not None and found is not None and _contradict(stated, found):
            raise AcquisitionError(
                "source.differs",
                where=where,
                problem=f"the host states another {field} for {file.name} than the catalog",
                details={"expected": stated, "found": found},
                action="The publisher may have replaced the file: review the change and update the catalog.",
            )
    return replace(
        listed,
        name=file.name,
        size=file.size or listed.size,
        checksum=_stronger(file.checksum, listed.checksum),
        archive=file.archive or listed.archive,
    )


def _contradict(stated: object, found: object) -> bool:
    """Whether two statements cannot both be true; digests of two kinds can."""
    kinds = [str(value).split(":", 1)[0] for value in (stated, found)]
    return stated != found and not (":" in str(stated) and kinds[0] != kinds[1])


def _stronger(*checksums: str | None) -> str | None:
    known = [checksum for checksum in checksums if checksum]
    return max(known, key=lambda checksum: ("md5", "sha1", "sha256").index(checksum.split(":", 1)[0]), default=None)


def _as_packed(file: ListedFile, source: RemoteSource, *, alone: bool) -> ListedFile:
    """`archive` of a source says how its one unnamed download is packed; of several, each name says it."""
    if source.archive and not source.files and alone and file.archive is None:
        return replace(file, archive=source.archive)
    return file
