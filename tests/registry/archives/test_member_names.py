"""No name of a member, however made, becomes a path outside the folder."""

from __future__ import annotations

import contextlib
import os
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as some

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.archives import safe_path
from medshard.registry.acquisition.archives.names import leads_outside

PIECES = some.sampled_from(
    ["..", ".", "/", "//", "\\", "C:", "con", "AUX.nii", "a", "b.nii", " ", "\0", "\n", ":", "~", "\u0301", "\udcff"]
)
NAMES = some.one_of(some.text(max_size=40), some.lists(PIECES, max_size=12).map("".join))


@given(NAMES)
def test_a_safe_path_never_leaves_the_folder(name: str) -> None:
    with contextlib.suppress(AcquisitionError):
        path = safe_path(name)
        assert path.parts
        assert not path.is_absolute()
        assert os.path.normpath(f"/target/{path}") == f"/target/{path}"
        assert not {"..", ".", ""} & set(path.parts)
        assert not set("\\:\0\n") & set(str(path))
        str(path).encode()


@given(NAMES)
def test_a_safe_path_is_its_own_safe_path(name: str) -> None:
    with contextlib.suppress(AcquisitionError):
        path = safe_path(name)
        assert safe_path(str(path)) == path


@given(name=NAMES, target=NAMES)
def test_a_link_that_stays_inside_does_so_from_wherever_it_lies(name: str, target: str) -> None:
    with contextlib.suppress(AcquisitionError):
        path = safe_path(name)
        if not leads_outside(name, target, hard=False):
            met = os.path.normpath(f"/target/inside/{path.parent}/{target}")
            assert PurePosixPath(met).is_relative_to("/target/inside")


@pytest.mark.parametrize("name", ["a/b.nii", "./a/b.nii", "a//b.nii", "a/./b.nii", "a/b.nii/"])
def test_dots_and_doubled_slashes_are_dropped(name: str) -> None:
    assert safe_path(name) == PurePosixPath("a/b.nii")


@pytest.mark.parametrize("name", ["CON", "con.txt", "a/NUL", "aux.nii.gz", "LPT1", "com9.dcm", "COM\u00b9", "CONOUT$"])
def test_names_of_devices_are_refused(name: str) -> None:
    with pytest.raises(AcquisitionError, match="reserves"):
        safe_path(name)


@pytest.mark.parametrize("name", ["console", "auxiliary.nii", "com10", "nul1", "a/prn_1.csv", ".hidden", "a b.nii"])
def test_names_that_only_resemble_them_are_not(name: str) -> None:
    assert str(safe_path(name)) == name
