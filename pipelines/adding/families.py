"""Files whose names are made alike: paths -> patterns with slots, learnt from the names alone.

A family is one pattern and the files that follow it. Numbers and long codes vary; a folder is the name of something
where its siblings hold the same files; the name of a folder that stands in the file's name again is no news.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

from medshard.pipelines.adding.file_names import merged_files
from medshard.pipelines.adding.folder_names import merged_folders, odd_names_in_leaves
from medshard.pipelines.adding.keys import STAR, Family, Part, Row, common_depth, ending
from medshard.pipelines.adding.masking import masked_rows


def families(paths: Sequence[str], is_series: Callable[[str], bool]) -> tuple[Family, ...]:
    """The families of a folder's files, largest first.

    is_series: whether the files of that folder with that ending (`folder/*.dcm`) are the slices of images.
    """
    rows = _series_as_one(masked_rows(paths), is_series)
    for step in (merged_folders, merged_files, merged_folders, odd_names_in_leaves):
        rows = step(rows)
    found: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        found[row.key].append(row)
    shared = common_depth([row.path.split("/") for row in rows])
    made = (Family(key, tuple(sorted(group, key=lambda row: row.path)), shared) for key, group in found.items())
    return tuple(sorted(made, key=lambda family: (-len(family), family.key)))


def _series_as_one(rows: Sequence[Row], is_series: Callable[[str], bool]) -> list[Row]:
    """The slices of a DICOM series under one star."""
    asked: dict[str, bool] = {}
    made = []
    for row in rows:
        folder, _, name = row.path.rpartition("/")
        suffix = ending(name)
        place = f"{folder}/*{suffix}"
        if place not in asked:
            asked[place] = is_series(place)
        made.append(replace(row, parts=(*row.parts[:-1], Part(STAR + suffix))) if asked[place] else row)
    return made
