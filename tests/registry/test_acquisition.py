"""Acquisition: the right bytes, or an error that says which bytes are wrong."""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from medshard.errors import AcquisitionError, MissingExtraError
from medshard.registry.acquisition import ACQUIRERS
from medshard.registry.acquisition.archives import unpack
from medshard.registry.schema import FolderSource, PackageSource, PipSource

CT_SMALL = "pydicom/data/test_files/CT_small.dcm"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "one.nii").write_bytes(b"one")
    (folder / "two.txt").write_bytes(b"two")
    return folder


def test_a_package_gives_the_very_bytes_that_it_installed(tmp_path: Path) -> None:
    from pydicom.data import get_testdata_file

    source = PackageSource(kind="package", package="pydicom", include=(CT_SMALL,))
    acquired = ACQUIRERS["package"].acquire(source, tmp_path, tmp_path / "out")
    assert (acquired.tree / CT_SMALL).read_bytes() == Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()
    assert acquired.tools == {"pydicom": version("pydicom")}


def test_a_package_that_is_not_installed_names_what_to_install(tmp_path: Path) -> None:
    source = PackageSource(kind="package", package="no-such-package-here", include=("*",))
    with pytest.raises(MissingExtraError, match="pip install no-such-package-here"):
        ACQUIRERS["package"].acquire(source, tmp_path, tmp_path / "out")


def test_another_version_of_a_package_is_refused(tmp_path: Path) -> None:
    source = PackageSource(kind="package", package="pydicom", version="0.9", include=(CT_SMALL,))
    with pytest.raises(AcquisitionError, match=r"package.version(.|\n)*expected\s+0.9"):
        ACQUIRERS["package"].acquire(source, tmp_path, tmp_path / "out")


def test_a_digest_that_the_catalog_pins_is_compared(tmp_path: Path) -> None:
    source = PackageSource(kind="package", package="pydicom", include=(CT_SMALL,), files={CT_SMALL: "0" * 64})
    with pytest.raises(AcquisitionError, match=r"checksum.mismatch(.|\n)*CT_small.dcm") as caught:
        ACQUIRERS["package"].acquire(source, tmp_path, tmp_path / "out")
    assert caught.value.details["expected"] == "sha256 " + "0" * 64


def test_a_wrong_hash_stops_pip_before_anything_runs(tmp_path: Path) -> None:
    """A tiny pure wheel stands in for a large one; the digest of the catalog is wrong by one digit."""
    source = PipSource(kind="pip", package="six", version="1.17.0", form="wheel", sha256="0" * 64)
    with pytest.raises(AcquisitionError) as caught:
        ACQUIRERS["pip"].acquire(source, tmp_path, tmp_path / "out")
    assert caught.value.code == "checksum.mismatch"
    assert caught.value.details["expected"] == "sha256 " + "0" * 64
    assert caught.value.details["found"].startswith("sha256 ")


def test_a_version_that_does_not_exist_is_reported_in_a_line(tmp_path: Path) -> None:
    source = PipSource(kind="pip", package="six", version="0.0.0.1", form="wheel", sha256="0" * 64)
    with pytest.raises(AcquisitionError, match="download.failed"):
        ACQUIRERS["pip"].acquire(source, tmp_path, tmp_path / "out")


def test_a_folder_is_copied_by_pattern(tmp_path: Path, scans: Path) -> None:
    source = FolderSource(kind="folder", path="scans", include=("*.nii",))
    acquired = ACQUIRERS["folder"].acquire(source, tmp_path, tmp_path / "out")
    assert [path.relative_to(acquired.tree).as_posix() for path in acquired.tree.rglob("*") if path.is_file()] == [
        "a/one.nii"
    ]


def test_a_changed_file_changes_the_identity_of_a_folder(tmp_path: Path, scans: Path) -> None:
    source = FolderSource(kind="folder", path="scans")
    before = ACQUIRERS["folder"].identity(source, tmp_path)
    (scans / "two.txt").write_bytes(b"TWO")
    assert ACQUIRERS["folder"].identity(source, tmp_path) != before


def test_the_place_of_a_folder_is_not_part_of_its_identity(tmp_path: Path, scans: Path) -> None:
    shutil.copytree(scans, tmp_path / "elsewhere")
    here, there = (FolderSource(kind="folder", path=path) for path in ("scans", "elsewhere"))
    assert ACQUIRERS["folder"].identity(here, tmp_path) == ACQUIRERS["folder"].identity(there, tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(AcquisitionError, match=r"folder.missing(.|\n)*nowhere"):
        ACQUIRERS["folder"].identity(FolderSource(kind="folder", path="nowhere"), tmp_path)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, scans: Path) -> None:
    (scans / "secret.nii").symlink_to("/etc/hostname")
    with pytest.raises(AcquisitionError, match="folder.link"):
        ACQUIRERS["folder"].acquire(FolderSource(kind="folder", path="scans"), tmp_path, tmp_path / "out")


def test_patterns_that_match_nothing_say_what_is_there(tmp_path: Path, scans: Path) -> None:
    with pytest.raises(AcquisitionError, match=r"source.empty(.|\n)*two.txt"):
        ACQUIRERS["folder"].acquire(
            FolderSource(kind="folder", path="scans", include=("*.dcm",)), tmp_path, tmp_path / "out"
        )


@pytest.mark.parametrize("kind", ["zip", "gztar"])
def test_an_archive_on_disk_is_kept_and_unpacked(tmp_path: Path, scans: Path, kind: str) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "scans-archive"), kind, scans))
    source = FolderSource(kind="folder", path=archive.name, sha256=sha256(archive), include=("*.nii",))
    acquired = ACQUIRERS["folder"].acquire(source, tmp_path, tmp_path / "out")
    assert acquired.archive is not None
    assert sha256(acquired.archive) == sha256(archive)
    assert next(acquired.tree.rglob("*.nii")).read_bytes() == b"one"


@pytest.mark.parametrize("kind", ["zip", "gztar"])
def test_a_truncated_archive_is_reported_as_such(tmp_path: Path, scans: Path, kind: str) -> None:
    (scans / "noise.nii").write_bytes(bytes(range(256)) * 400)
    whole = Path(shutil.make_archive(str(tmp_path / "whole"), kind, scans))
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(whole.read_bytes()[:-40])
    with pytest.raises(AcquisitionError, match="archive.unreadable"):
        unpack(cut, tmp_path / "out", include=("*",), where="test")


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt"])
def test_a_member_that_would_leave_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(name, "evil")
    with pytest.raises(AcquisitionError, match="archive.unsafe"):
        unpack(tmp_path / "bad.zip", tmp_path / "out", include=("*",), where="test")
    assert not (tmp_path / "evil.txt").exists()


def test_links_and_case_clashes_in_a_tar_are_refused(tmp_path: Path) -> None:
    for bad in ("link", "clash"):
        with tarfile.open(tmp_path / f"{bad}.tar", "w") as archive:
            info = tarfile.TarInfo("data.txt")
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
            other = tarfile.TarInfo("DATA.txt" if bad == "clash" else "link.txt")
            if bad == "link":
                other.type, other.linkname = tarfile.SYMTYPE, "/etc/passwd"
                archive.addfile(other)
            else:
                archive.addfile(other, io.BytesIO(b""))
        with pytest.raises(AcquisitionError, match="archive.unsafe"):
            unpack(tmp_path / f"{bad}.tar", tmp_path / "out", include=("*",), where="test")


def test_a_link_to_a_folder_is_refused_rather_than_passed_over(tmp_path: Path, scans: Path) -> None:
    (tmp_path / "more").mkdir()
    (scans / "more").symlink_to(tmp_path / "more")
    with pytest.raises(AcquisitionError, match="folder.link"):
        ACQUIRERS["folder"].identity(FolderSource(kind="folder", path="scans"), tmp_path)


def test_a_digest_for_a_plain_folder_is_refused_rather_than_ignored(tmp_path: Path, scans: Path) -> None:
    with pytest.raises(AcquisitionError, match="folder.sha256"):
        ACQUIRERS["folder"].identity(FolderSource(kind="folder", path="scans", sha256="0" * 64), tmp_path)
