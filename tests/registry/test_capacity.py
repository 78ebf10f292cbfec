"""What a selection costs: sums of what is stated, and a count of what is not."""

from __future__ import annotations

from typing import Any

import pytest
from made_entries import made_entry

from medshard.registry import Catalog, Entry
from medshard.registry.catalog import PUBLIC_CATALOG
from medshard.registry.questions.capacity import Capacity, EntryCapacity, Rates, needed_sources, plan_capacity

GB = 10**9


def entry(entry_id: str, *sources: dict[str, Any], **changes: Any) -> Entry:
    return made_entry(entry_id, **{"source": {"formats": ["nii.gz"]}, "acquisition": list(sources), **changes})


def zenodo(*sizes: int | None, **more: Any) -> dict[str, Any]:
    files = [{"name": f"{number}.zip", "size": size} for number, size in enumerate(sizes)]
    return {"kind": "zenodo", "record": "1", "files": files, **more}


def share(*sources: dict[str, Any], **changes: Any) -> EntryCapacity:
    (found,) = plan_capacity([entry("one", *sources, **changes)]).entries
    return found


def test_the_files_of_all_parts_are_added_up() -> None:
    found = share(zenodo(3 * GB, 2 * GB), zenodo(GB))
    assert (found.download_bytes, found.parts, found.parts_unknown, found.is_known) == (6 * GB, 3, 0, True)


def test_a_file_without_a_size_is_counted_and_not_guessed() -> None:
    found = share(zenodo(3 * GB, None))
    assert (found.download_bytes, found.parts, found.parts_unknown, found.is_known) == (3 * GB, 2, 1, False)


@pytest.mark.parametrize(
    "source",
    [
        {"kind": "zenodo", "record": "1"},
        {"kind": "manual", "instructions": "Write a letter."},
        {"kind": "kaggle", "dataset": "a/b"},
        {"kind": "pip", "package": "x", "version": "1", "sha256": "0" * 64},
        {"kind": "package", "package": "x", "include": ["*"]},
        {"kind": "folder", "path": "scans"},
    ],
)
def test_a_source_that_lists_no_sizes_is_one_unknown_part(source: dict[str, Any]) -> None:
    found = share(source)
    assert (found.download_bytes, found.parts, found.parts_unknown, found.is_known) == (0, 1, 1, False)


def test_what_cannot_be_had_has_no_size_that_is_known() -> None:
    gone = entry("gone", access={"kind": "unavailable", "instructions": "The site is gone."})
    capacity = plan_capacity([gone])
    assert capacity.unknown == ("gone",)
    assert capacity.fully_known == ()
    assert capacity.to_sign["unavailable"] == ("gone",)


def test_a_mirror_counts_once_and_the_first_one_counts() -> None:
    found = share(zenodo(3 * GB, part="images"), zenodo(4 * GB, part="images"), zenodo(GB, part="labels"))
    assert (found.download_bytes, found.parts) == (4 * GB, 2)


def test_parts_without_a_name_are_all_needed() -> None:
    assert share(zenodo(GB), zenodo(GB), zenodo(GB)).download_bytes == 3 * GB


def test_an_optional_part_is_left_out_and_hides_no_mirror() -> None:
    one = entry("one", zenodo(9 * GB, part="a", optional=True), zenodo(GB, part="a"), zenodo(5 * GB, optional=True))
    assert needed_sources(one.acquisition) == [one.acquisition[1]]
    assert plan_capacity([one]).download_bytes == GB


@pytest.mark.parametrize(
    ("formats", "unpacked"),
    [(["nii.gz"], GB), (["png", "csv"], GB), ([], GB), (["nii"], 2 * GB), (["csv", "dcm"], 2 * GB), (["raw"], 2 * GB)],
)
def test_archives_of_uncompressed_images_grow_when_unpacked(formats: list[str], unpacked: int) -> None:
    assert share(zenodo(GB), source={"formats": formats}).unpacked_bytes == unpacked


def test_the_stages_follow_from_one_another_by_the_measured_ratios() -> None:
    found = share(zenodo(1000))
    assert (found.unpacked_bytes, found.volumes_bytes, found.shards_bytes) == (1000, 1120, 1848)


def test_what_the_source_says_of_the_unpacked_size_goes_before_the_estimate() -> None:
    found = share(zenodo(1000), expectations={"bytes_unpacked": 5000})
    assert (found.download_bytes, found.unpacked_bytes, found.volumes_bytes) == (1000, 5000, 5600)


@pytest.fixture
def capacity() -> Capacity:
    account = {"access": {"kind": "account", "instructions": "Register."}}
    return plan_capacity(
        [
            entry("whole", zenodo(45 * GB)),
            entry("half", zenodo(9 * GB, None), licence={"id": "CC0-1.0"}, **account),
            entry("dark", {"kind": "manual", "instructions": "Ask."}, licence={"id": "CC0-1.0"}, **account),
        ]
    )


def test_entries_are_known_in_full_in_part_or_not_at_all(capacity: Capacity) -> None:
    assert (capacity.fully_known, capacity.partly_known, capacity.unknown) == (("whole",), ("half",), ("dark",))


def test_hours_are_those_worked_out_by_hand(capacity: Capacity) -> None:
    # 54 GB are 432 Gbit: at 100 Mbit/s 4,320 s. Built at 10 MB/s they take 5,400 s.
    assert capacity.download_bytes == capacity.unpacked_bytes == 54 * GB
    assert capacity.download_hours == pytest.approx(1.2)
    assert capacity.build_hours == pytest.approx(1.5)


def test_twice_the_rates_are_half_the_hours() -> None:
    fast = plan_capacity([entry("whole", zenodo(45 * GB))], Rates(download_mbit=200, build_mb=20))
    assert (fast.download_hours, fast.build_hours) == pytest.approx((0.5, 0.625))


def test_who_has_to_sign_what_is_listed(capacity: Capacity) -> None:
    assert capacity.to_sign == {"account": ("half", "dark"), "agreement": (), "unavailable": ()}
    assert capacity.licences == {"CC-BY-4.0": ("whole",), "CC0-1.0": ("half", "dark")}


def test_json_holds_the_sums_and_the_shares(capacity: Capacity) -> None:
    document = capacity.to_json()
    assert document["download_bytes"] == 54 * GB
    assert document["volumes_bytes"] == round(54 * GB * 1.12)
    assert (document["download_hours"], document["build_hours"]) == (1.2, 1.5)
    assert (document["sizes_known"], document["sizes_partly_known"], document["sizes_unknown"]) == (
        ["whole"],
        ["half"],
        ["dark"],
    )
    entries = document["entries"]
    assert isinstance(entries, list)
    assert [one["id"] for one in entries] == ["whole", "half", "dark"]


def test_nothing_costs_nothing() -> None:
    empty = plan_capacity([])
    assert (empty.download_bytes, empty.download_hours, empty.build_hours) == (0, 0, 0)


def test_the_public_catalog_adds_up_and_every_entry_is_in_one_list() -> None:
    catalog = Catalog.load([PUBLIC_CATALOG])
    capacity = plan_capacity(catalog)
    listed = [*capacity.fully_known, *capacity.partly_known, *capacity.unknown]
    assert sorted(listed) == sorted(catalog.entries)
    assert capacity.download_bytes == sum(one.download_bytes for one in capacity.entries)
    assert sum(len(ids) for ids in capacity.licences.values()) == len(catalog)
    assert sum(len(ids) for ids in capacity.to_sign.values()) == len(catalog) - len(catalog.where(access="open"))


def test_where_sizes_are_missing_the_cases_are_counted_with_an_assumed_array() -> None:
    """100 CT scans of 250x512x512 int16, packed to half: 6,553,600,000 bytes."""
    missing = entry("missing", zenodo(None), source={"cases": 120, "released": 100, "formats": ["nii.gz"]})
    stated = entry("stated", zenodo(GB))
    capacity = plan_capacity([missing, stated])
    assert capacity.download_bytes == GB
    assert capacity.assumed.download == 100 * 250 * 512 * 512 * 2 // 2 + GB
    assert capacity.beyond_assumption == ()


def test_an_assumption_never_falls_below_what_is_stated() -> None:
    found = share(zenodo(900 * GB, None), source={"cases": 1, "formats": ["nii.gz"]})
    assert found.assumed is not None
    assert found.assumed.download == 900 * GB


def test_records_without_images_have_no_assumed_size() -> None:
    tables = entry("tables", zenodo(None), modalities=["EHR"], dimensions=[], source={"cases": 5})
    slides = entry("slides", zenodo(None), modalities=["pathology"], source={"cases": 5, "unit": "slides"})
    assert plan_capacity([tables, slides]).beyond_assumption == ("tables", "slides")


def test_a_stated_shape_goes_before_the_typical_one() -> None:
    found = share(zenodo(None), source={"cases": 10}, expectations={"shape": [10, 100, 100]})
    assert found.assumed is not None
    assert found.assumed.download == 10 * 10 * 100 * 100
