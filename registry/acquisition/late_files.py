"""Files that a person adds to a part that was acquired by hand before."""

from __future__ import annotations

from pathlib import Path

from medshard.registry.acquisition.gates.inbox import look
from medshard.registry.acquisition.lock import LockedPart
from medshard.registry.acquisition.obtaining import remove_taken
from medshard.registry.acquisition.offers import is_by_person
from medshard.registry.acquisition.publishing import kept_archive
from medshard.registry.acquisition.workplace import Workplace
from medshard.registry.store.records import CaseRecord


def has_late_files(place: Workplace, locked: LockedPart) -> bool:
    """Whether a person has put more into the inbox of a part that nobody names the files of.

    What lies there a second time, because a build was killed before it could remove it, is removed.
    """
    if not is_by_person(place, locked.mirror):
        return False
    inbox = look(place.inbox, place.entry, place.part.numbers[locked.mirror], place.part.sources[locked.mirror])
    late = False
    for name, taken in inbox.by_name.items() if inbox.files else ():
        known = locked.file(name)
        if known is not None and known.sha256 == taken.sha256:
            remove_taken(taken.path, inbox=place.inbox)
        else:
            late = True
    return late


def files_before(place: Workplace, record: CaseRecord, locked: LockedPart) -> dict[str, Path]:
    """Listed name -> where a file of an earlier acquisition lies now, as far as it still does."""
    kept = {archive["listed"]: place.store.path(kept_archive(archive)) for archive in record.facts["archives"]}
    tree = place.store.path(record.output) if record.output is not None else place.folder
    found = {file.name: kept.get(file.name, tree / file.name) for file in locked.files}
    return {name: path for name, path in found.items() if path.is_file()}
