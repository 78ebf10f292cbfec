"""Sources on this machine: the right bytes, or an error that says which bytes are wrong."""

from __future__ import annotations

import hashlib
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest
from made_acquisitions import acquire, workplace

from medshard.errors import AcquisitionError, MissingExtraError
from medshard.registry.acquisition.lock import lock_of
from medshard.registry.acquisition.offers import local_listing

CT_SMALL = "pydicom/data/test_files/CT_small.dcm"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def key_of(root: Path, source: dict[str, object]) -> tuple[object, object]:
    """What the key of a part digests."""
    place = workplace(root, source)
    listing = local_listing(place)
    assert listing is not None
    return place.part.words, lock_of(listing, 0).listing


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "one.nii").write_bytes(b"one")
    (folder / "two.txt").write_bytes(b"two")
    return folder


def test_a_package_gives_the_very_bytes_that_it_installed(tmp_path: Path) -> None:
    from pydicom.data import get_testdata_file

    source = {"kind": "package", "package": "pydicom", "include": (CT_SMALL,)}
    acquired = acquire(tmp_path, source)
    assert (acquired.tree / CT_SMALL).read_bytes() == Path(str(get_testdata_file("CT_small.dcm"))).read_bytes()
    assert acquired.tools == {"pydicom": version("pydicom")}


def test_a_package_that_is_not_installed_names_what_to_install(tmp_path: Path) -> None:
    source = {"kind": "package", "package": "no-such-package-here", "include": ("*",)}
    with pytest.raises(MissingExtraError, match="pip install no-such-package-here"):
        acquire(tmp_path, source)


def test_another_version_of_a_package_is_refused(tmp_path: Path) -> None:
    source = {"kind": "package", "package": "pydicom", "version": "0.9", "include": (CT_SMALL,)}
    with pytest.raises(AcquisitionError, match=r"package.version(.|\n)*expected\s+0.9"):
        acquire(tmp_path, source)


def test_a_digest_that_the_catalog_pins_is_compared(tmp_path: Path) -> None:
    source = {"kind": "package", "package": "pydicom", "include": (CT_SMALL,), "files": {CT_SMALL: "0" * 64}}
    with pytest.raises(AcquisitionError, match=r"checksum.mismatch(.|\n)*CT_small.dcm") as caught:
        acquire(tmp_path, source)
    assert caught.value.details["expected"] == "sha256 " + "0" * 64


def test_a_wrong_hash_stops_pip_before_anything_runs(tmp_path: Path) -> None:
    """A tiny pure wheel stands in for a large one; the digest of the catalog is wrong by one digit."""
    source = {"kind": "pip", "package": "six", "version": "1.17.0", "form": "wheel", "sha256": "0" * 64}
    with pytest.raises(AcquisitionError) as caught:
        acquire(tmp_path, source)
    assert caught.value.code == "checksum.mismatch"
    assert caught.value.details["expected"] == "sha256 " + "0" * 64
    assert caught.value.details["found"].startswith("sha256 ")


def test_a_version_that_does_not_exist_is_reported_in_a_line(tmp_path: Path) -> None:
    source = {"kind": "pip", "package": "six", "version": "0.0.0.1", "form": "wheel", "sha256": "0" * 64}
    with pytest.raises(AcquisitionError, match="download.failed"):
        acquire(tmp_path, source)


def test_a_folder_is_copied_by_pattern(tmp_path: Path, scans: Path) -> None:
    source = {"kind": "folder", "path": "scans", "include": ("*.nii",)}
    acquired = acquire(tmp_path, source)
    assert [path.relative_to(acquired.tree).as_posix() for path in acquired.tree.rglob("*") if path.is_file()] == [
        "a/one.nii"
    ]


def test_a_changed_file_changes_the_identity_of_a_folder(tmp_path: Path, scans: Path) -> None:
    source = {"kind": "folder", "path": "scans"}
    before = key_of(tmp_path, source)
    (scans / "two.txt").write_bytes(b"TWO")
    assert key_of(tmp_path, source) != before


def test_the_place_of_a_folder_is_not_part_of_its_identity(tmp_path: Path, scans: Path) -> None:
    shutil.copytree(scans, tmp_path / "elsewhere")
    here, there = ({"kind": "folder", "path": path} for path in ("scans", "elsewhere"))
    assert key_of(tmp_path, here) == key_of(tmp_path, there)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(AcquisitionError, match=r"folder.missing(.|\n)*nowhere"):
        key_of(tmp_path, {"kind": "folder", "path": "nowhere"})


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, scans: Path) -> None:
    (scans / "secret.nii").symlink_to("/etc/hostname")
    with pytest.raises(AcquisitionError, match="folder.link"):
        acquire(tmp_path, {"kind": "folder", "path": "scans"})


def test_patterns_that_match_nothing_say_what_is_there(tmp_path: Path, scans: Path) -> None:
    with pytest.raises(AcquisitionError, match=r"source.empty(.|\n)*two.txt"):
        acquire(tmp_path, {"kind": "folder", "path": "scans", "include": ("*.dcm",)})


@pytest.mark.parametrize("kind", ["zip", "gztar"])
def test_an_archive_on_disk_is_kept_and_unpacked(tmp_path: Path, scans: Path, kind: str) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "scans-archive"), kind, scans))
    source = {"kind": "folder", "path": archive.name, "sha256": sha256(archive), "include": ("*.nii",)}
    acquired = acquire(tmp_path, source)
    (packed,) = acquired.obtained
    assert packed.sha256 == sha256(archive)
    assert next(acquired.tree.rglob("*.nii")).read_bytes() == b"one"


def test_a_link_to_a_folder_is_refused_rather_than_passed_over(tmp_path: Path, scans: Path) -> None:
    (tmp_path / "more").mkdir()
    (scans / "more").symlink_to(tmp_path / "more")
    with pytest.raises(AcquisitionError, match="folder.link"):
        key_of(tmp_path, {"kind": "folder", "path": "scans"})


def test_a_digest_for_a_plain_folder_is_refused_rather_than_ignored(tmp_path: Path, scans: Path) -> None:
    with pytest.raises(AcquisitionError, match="folder.sha256"):
        key_of(tmp_path, {"kind": "folder", "path": "scans", "sha256": "0" * 64})
