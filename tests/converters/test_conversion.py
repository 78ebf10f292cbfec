"""Files and folders without a catalog: each image that is found gets a name of its own."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from medshard.converters.conversion import convert_images, find_images


def scan(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.full((4, 3, 2), value, np.int16), np.eye(4)), path)


def test_places_whose_names_become_one_are_both_converted(tmp_path: Path) -> None:
    scan(tmp_path / "one" / "a b.nii", 1)
    scan(tmp_path / "one" / "a_b.nii", 2)
    scan(tmp_path / "two" / "a_b.nii", 3)
    found = find_images([tmp_path / "one", tmp_path / "two"])
    assert [group.name for group in found.images] == ["a_b.nii", "a_b.nii_2", "a_b.nii_3"]
    done = list(convert_images(found.images, tmp_path / "out"))
    assert [one.error for one in done] == [None] * 3
    assert len({one.folder for one in done}) == 3


def test_a_made_up_name_is_nobodys_own(tmp_path: Path) -> None:
    for number, name in enumerate(("a b", "a_b", "a_b_2")):
        scan(tmp_path / name / "scan", number)
    assert len({group.name for group in find_images([tmp_path]).images}) == 3
