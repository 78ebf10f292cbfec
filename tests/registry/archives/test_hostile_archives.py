"""Every hostile archive of the table is refused by its code or neutralised, in little memory, and writes nowhere."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from hostile_archives import HOSTILE, Hostile, bomb, zip_of

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.archives import Limits, Unpacked, unpack

MEMORY_BYTES = 48 << 20
CHILD_MEMORY_KIB = 400 << 10


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything below a folder, with links not followed: path -> mode and size."""
    found = {}
    for path in folder.rglob("*"):
        state = path.lstat()
        found[path.relative_to(folder).as_posix()] = (state.st_mode, 0 if path.is_dir() else state.st_size)
    return found


def unpack_hostile(hostile: Hostile, archive: Path, target: Path) -> Unpacked:
    return unpack(archive, target, where="test", limits=hostile.limits, password=hostile.password)


REFUSED = [hostile for hostile in HOSTILE if hostile.code is not None]
NEUTRALISED = [hostile for hostile in HOSTILE if hostile.code is None]


def test_the_table_holds_at_least_25_kinds() -> None:
    assert len({hostile.name for hostile in HOSTILE}) == len(HOSTILE) >= 25


@pytest.mark.parametrize("hostile", REFUSED, ids=lambda hostile: hostile.name)
def test_it_is_refused_and_leaves_nothing_behind(hostile: Hostile, tmp_path: Path) -> None:
    archive = hostile.write(tmp_path)
    before = listing(tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(AcquisitionError) as caught:
            unpack_hostile(hostile, archive, tmp_path / "target")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.code == hostile.code, str(caught.value)
    assert hostile.says in str(caught.value)
    assert caught.value.where == "test"
    assert caught.value.action
    assert listing(tmp_path) == before
    assert peak < MEMORY_BYTES


@pytest.mark.parametrize("hostile", NEUTRALISED, ids=lambda hostile: hostile.name)
def test_it_is_neutralised_and_only_its_files_are_made(hostile: Hostile, tmp_path: Path) -> None:
    archive = hostile.write(tmp_path)
    before = listing(tmp_path)
    target = tmp_path / "target"
    unpacked = unpack_hostile(hostile, archive, target)
    made = {path.relative_to(target).as_posix(): path for path in target.rglob("*") if not path.is_dir()}
    assert {name: path.read_bytes() for name, path in made.items()} == dict(hostile.files)
    assert all(path.lstat().st_mode == 0o100644 for path in made.values())
    assert tuple(left.name for left in unpacked.left_out) == hostile.left_out
    assert {path: state for path, state in listing(tmp_path).items() if path.split("/")[0] != "target"} == before


@pytest.mark.parametrize(
    "hostile",
    [hostile for hostile in REFUSED if hostile.name in {"parent", "symlink-out", "device", "case-clash", "colon"}],
    ids=lambda hostile: hostile.name,
)
def test_an_unsafe_member_that_is_not_selected_does_not_matter(hostile: Hostile, tmp_path: Path) -> None:
    """Only that nothing was selected is told then."""
    archive = hostile.write(tmp_path)
    with pytest.raises(AcquisitionError, match=r"source\.empty"):
        unpack(archive, tmp_path / "target", include=("wanted/*",), where="test")


def test_a_refused_archive_leaves_the_files_of_others_alone(tmp_path: Path) -> None:
    target = tmp_path / "target"
    zip_of(("kept.nii", b"kept"))(tmp_path / "good.zip")
    zip_of(("a.nii", b"one"), ("../evil", b"two"))(tmp_path / "bad.zip")
    unpack(tmp_path / "good.zip", target, where="test")
    with pytest.raises(AcquisitionError, match=r"archive\.unsafe"):
        unpack(tmp_path / "bad.zip", target, where="test")
    assert list(listing(target)) == ["kept.nii"]


def test_a_link_in_the_target_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "sub").symlink_to(tmp_path / "elsewhere")
    zip_of(("sub/a.nii", b"one"))(tmp_path / "a.zip")
    with pytest.raises(AcquisitionError, match=r"archive\.clash"):
        unpack(tmp_path / "a.zip", tmp_path / "target", where="test")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_full_disk_is_noticed_before_the_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from medshard.registry.acquisition.archives import limits

    class Usage:
        free = 100 << 20

    monkeypatch.setattr(limits.shutil, "disk_usage", lambda _: Usage)
    bomb(tmp_path / "a.zip", mebibytes=64)
    with pytest.raises(AcquisitionError, match=r"archive\.disk(.|\n)*67108864 bytes"):
        unpack(tmp_path / "a.zip", tmp_path / "target", where="test")


def test_a_bomb_of_a_gigabyte_takes_little_memory_of_a_whole_process(tmp_path: Path) -> None:
    bomb(tmp_path / "a.zip", mebibytes=1024)
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from medshard.errors import AcquisitionError\n"
        "from medshard.registry.acquisition.archives import Limits, unpack\n"
        "try:\n"
        "    unpack(Path(sys.argv[1]), Path(sys.argv[2]), where='test', limits=Limits(ratio_from_bytes=2 << 30))\n"
        "except AcquisitionError as error:\n"
        "    print(error.code)\n"
        # The most memory since it was started; what getrusage says includes the process that started it.
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.zip"), str(tmp_path / "target")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    # The checksum in the directory is zero, so that all of it is unpacked before it is refused.
    refused, memory_kib = run.stdout.split()
    assert refused == "archive.unreadable"
    assert int(memory_kib) < CHILD_MEMORY_KIB


@pytest.mark.parametrize(
    ("variable", "text"),
    [("MEDSHARD_UNPACK_MAX_GB", "many"), ("MEDSHARD_UNPACK_MAX_RATIO", "-1"), ("MEDSHARD_UNPACK_MAX_MEMBERS", "nan")],
)
def test_a_limit_that_is_no_number_is_refused_by_name(variable: str, text: str) -> None:
    with pytest.raises(AcquisitionError, match=variable):
        Limits.from_environment({variable: text})


def test_limits_are_raised_by_the_environment() -> None:
    limits = Limits.from_environment(
        {
            "MEDSHARD_UNPACK_MAX_GB": "9000",
            "MEDSHARD_UNPACK_MAX_RATIO": "2000",
            "MEDSHARD_UNPACK_MAX_MEMBERS": "5000000",
        }
    )
    assert limits == Limits(max_total_bytes=9 * 10**12, max_ratio=2000, max_members=5_000_000)
    assert Limits.from_environment({}) == Limits()
