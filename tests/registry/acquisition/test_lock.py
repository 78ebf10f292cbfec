"""What a source said before and says now."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_acquisitions import workplace

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.lock import (
    LockedFile,
    LockedPart,
    changes,
    lock_of,
    read_lock,
    refuse_changes,
    write_lock,
)
from medshard.registry.hosts.host import HttpAddress, ListedFile, Listing

MD5 = "md5:" + "0" * 32


def listing(*files: tuple[str, int | None, str | None], revision: str | None = None) -> Listing:
    address = HttpAddress(url="https://host.example")
    return Listing(
        files=tuple(ListedFile(name=name, address=address, size=size, checksum=said) for name, size, said in files),
        revision=revision,
    )


BEFORE = lock_of(listing(("a", 1, MD5), ("b", None, None), revision="v1"), mirror=0)


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (listing(("a", 1, MD5), ("b", None, None), revision="v1"), []),
        (listing(("a", 2, MD5), ("b", None, None), revision="v1"), ["a: size 1 became 2"]),
        (listing(("a", 1, "md5:" + "1" * 32), ("b", None, None)), [f"a: checksum {MD5} became md5:{'1' * 32}"]),
        (listing(("a", 1, MD5), revision="v1"), ["b is gone"]),
        (listing(("a", 1, MD5), ("b", None, None), ("c", 1, None), revision="v1"), ["c is new"]),
        (listing(("a", 1, MD5), ("b", None, None), revision="v2"), ["revision v1 became v2"]),
        # What only one of the two says, and digests of two kinds, contradict nothing.
        (listing(("a", None, None), ("b", 7, MD5)), []),
        (listing(("a", 1, "sha256:" + "1" * 64), ("b", None, None), revision="v1"), []),
    ],
)
def test_changes_are_told_one_by_one(now: Listing, told: list[str]) -> None:
    assert changes(BEFORE, now) == told


def test_a_change_is_refused_and_many_are_summed_up() -> None:
    many = lock_of(listing(*((f"f{n}", 1, None) for n in range(9))), mirror=0)
    with pytest.raises(AcquisitionError, match=r"source.changed(.|\n)*f0 is gone(.|\n)*and 4 more"):
        refuse_changes(many, listing(), where="made")


def test_parts_of_an_entry_are_kept_side_by_side(tmp_path: Path) -> None:
    one = workplace(tmp_path, {"kind": "zenodo", "record": "1"})
    two = workplace(tmp_path, {"kind": "zenodo", "record": "2"})
    other = LockedPart(mirror=1, revision=None, files=(LockedFile(name="x", sha256="9" * 64),), tree="8" * 64)
    write_lock(one.store, "made", one.part, BEFORE)
    write_lock(one.store, "made", two.part, other)
    assert read_lock(one.store, "made") == {one.part.key: BEFORE, two.part.key: other}


def test_words_for_people_are_no_part_of_what_is_locked(tmp_path: Path) -> None:
    plain = workplace(tmp_path, {"kind": "zenodo", "record": "1"})
    told = workplace(tmp_path, {"kind": "zenodo", "record": "1", "note": "n", "page": "https://p.example"})
    other = workplace(tmp_path, {"kind": "zenodo", "record": "1", "files": [{"name": "a"}]})
    assert plain.part.key == told.part.key != other.part.key
