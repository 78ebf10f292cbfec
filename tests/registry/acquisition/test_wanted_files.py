"""What the catalog wants of a listing, and what it knows better or otherwise than the host."""

from __future__ import annotations

from typing import Any

import pytest
from made_entries import made_entry

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.wanted_files import wanted_files
from medshard.registry.hosts.host import HttpAddress, ListedFile, Listing
from medshard.registry.schema import Source

MD5 = "md5:" + "0" * 32
SHA = "sha256:" + "1" * 64


def listed(name: str, **facts: Any) -> ListedFile:
    return ListedFile(name=name, address=HttpAddress(url=f"https://host.example/{name}"), **facts)


def source(*files: dict[str, Any], **fields: Any) -> Source:
    made = {"kind": "zenodo", "record": "1", "files": list(files), **fields}
    return made_entry("made", acquisition=[made]).acquisition[0]


def wanted(source: Source, *files: ListedFile) -> list[ListedFile]:
    return list(wanted_files(source, Listing(files=files), where="made").files)


def test_without_named_files_everything_is_wanted() -> None:
    assert [file.name for file in wanted(source(), listed("a"), listed("b/c"))] == ["a", "b/c"]


def test_named_files_come_in_the_order_of_the_catalog() -> None:
    found = wanted(source({"name": "b"}, {"name": "a"}), listed("a"), listed("b"), listed("c"))
    assert [file.name for file in found] == ["b", "a"]


def test_a_file_in_a_folder_of_the_host_is_found_by_its_last_part_if_there_is_one() -> None:
    assert wanted(source({"name": "a.zip"}), listed("deep/a.zip"))[0].name == "a.zip"
    with pytest.raises(AcquisitionError, match="source.file_gone"):
        wanted(source({"name": "a.zip"}), listed("one/a.zip"), listed("two/a.zip"))


def test_an_id_is_stronger_than_a_name() -> None:
    found = wanted(source({"name": "a", "id": "7"}), listed("a", id="6"), listed("renamed", id="7"))
    assert found[0].address == HttpAddress(url="https://host.example/renamed")


def test_a_manifest_brings_all_that_it_lists_under_their_own_names() -> None:
    series = [listed(f"s{n}.zip", id="all.tcia") for n in range(3)]
    found = wanted(source({"name": "all.tcia"}, {"name": "x"}), *series, listed("x"))
    assert [file.name for file in found] == ["s0.zip", "s1.zip", "s2.zip", "x"]


def test_the_catalog_fills_what_the_host_does_not_say() -> None:
    (found,) = wanted(source({"name": "a", "size": 5, "checksum": SHA, "archive": "zip"}), listed("a"))
    assert (found.size, found.checksum, found.archive) == (5, SHA, "zip")


def test_the_stronger_of_two_checksums_is_kept() -> None:
    (found,) = wanted(source({"name": "a", "checksum": MD5}), listed("a", checksum=SHA))
    assert found.checksum == SHA


@pytest.mark.parametrize(
    ("stated", "found"), [({"size": 5}, {"size": 6}), ({"checksum": MD5}, {"checksum": "md5:" + "2" * 32})]
)
def test_a_contradiction_is_named_with_both(stated: dict[str, Any], found: dict[str, Any]) -> None:
    with pytest.raises(AcquisitionError, match="source.differs") as caught:
        wanted(source({"name": "a", **stated}), listed("a", **found))
    assert caught.value.details == {
        "expected": str(next(iter(stated.values()))),
        "found": str(next(iter(found.values()))),
    }


def test_a_rounded_size_contradicts_nothing() -> None:
    (found,) = wanted(source({"name": "a", "rounded_size": 2_000_000}), listed("a", size=1_996_123))
    assert found.size == 1_996_123


def test_archive_of_a_source_speaks_of_its_only_download() -> None:
    assert wanted(source(archive="zip"), listed("download"))[0].archive == "zip"
    assert [file.archive for file in wanted(source(archive="zip"), listed("a.zip"), listed("README"))] == [None, None]


def test_an_empty_record_is_an_error() -> None:
    with pytest.raises(AcquisitionError, match="source.empty"):
        wanted(source())
