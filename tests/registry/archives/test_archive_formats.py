"""Archives of every kind, made by independent programs, come out byte for byte, with what is recorded of them."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import shutil
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile_archives import SAMPLES, zip_link, zip_of

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.archives import (
    Limits,
    Unpacked,
    archive_kind,
    archive_password,
    is_archive,
    unpack,
    volumes_of,
)

PASSWORD = "open sesame"


def run(*command: str, folder: Path) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]} on this machine")
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files as data sets have them: empty, tiny, of more than a block, with blanks and letters of other scripts."""
    folder = tmp_path_factory.mktemp("made") / "tree"
    noise = random.Random(0)
    (folder / "case 1").mkdir(parents=True)
    (folder / "case 1" / "bild_\u00e4.nii").write_bytes(noise.randbytes(300_000) + bytes(2_000_000))
    (folder / "case 1" / "\u533b.nii.gz").write_bytes(gzip.compress(bytes(range(256)) * 999, mtime=0))
    (folder / "empty.txt").write_bytes(b"")
    (folder / "list.csv").write_bytes(b"id\n1\n")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def py7zr_of(tree: Path, path: Path, **options: object) -> None:
    import py7zr

    with py7zr.SevenZipFile(path, "w", **options) as archive:  # type: ignore[arg-type]
        archive.writeall(tree, "")


def zip_with(method: int) -> Callable[[Path, Path], None]:
    def make(tree: Path, path: Path) -> None:
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, data in contents(tree).items():
                archive.writestr(name, data)

    return make


def tar_with(*options: str) -> Callable[[Path, Path], None]:
    return lambda tree, path: run("tar", *options, "-cf", str(path), ".", folder=tree)


MAKERS: dict[str, Callable[[Path, Path], None]] = {
    "info-zip.zip": lambda tree, path: run("zip", "-qr", str(path), ".", folder=tree),
    "stored.zip": zip_with(zipfile.ZIP_STORED),
    "bzip2.zip": zip_with(zipfile.ZIP_BZIP2),
    "lzma.zip": zip_with(zipfile.ZIP_LZMA),
    "streamed.zip": lambda tree, path: run("sh", "-c", f"zip -qr - . | cat > '{path}'", folder=tree),
    "bsdtar.zip": lambda tree, path: run("bsdtar", "-a", "-cf", str(path), ".", folder=tree),
    "encrypted.zip": lambda tree, path: run("zip", "-qrP", PASSWORD, str(path), ".", folder=tree),
    "aes128.zip": lambda tree, path: run(
        *("bsdtar", "--options", "zip:encryption=aes128", "--passphrase", PASSWORD, "-acf", str(path), "."), folder=tree
    ),
    "aes256.zip": lambda tree, path: run(
        *("bsdtar", "--options", "zip:encryption=aes256", "--passphrase", PASSWORD, "-acf", str(path), "."), folder=tree
    ),
    "gnu.tar": tar_with("--format=gnu"),
    "pax.tar": tar_with("--format=pax"),
    "ustar.tar": tar_with("--format=ustar"),
    "packed.tar.gz": tar_with("-z"),
    "packed.tar.bz2": tar_with("-j"),
    "packed.tar.xz": tar_with("-J"),
    "packed.tar.zst": tar_with("--zstd"),
    "solid.7z": py7zr_of,
    "bsdtar.7z": lambda tree, path: run("bsdtar", "-a", "-cf", str(path), ".", folder=tree),
    "encrypted.7z": lambda tree, path: py7zr_of(tree, path, password=PASSWORD),
    "hidden-names.7z": lambda tree, path: py7zr_of(tree, path, password=PASSWORD, header_encryption=True),
}


@pytest.mark.parametrize("name", MAKERS)
def test_what_was_packed_comes_out_byte_for_byte(name: str, tree: Path, tmp_path: Path) -> None:
    archive = tmp_path / name
    MAKERS[name](tree, archive)
    unpacked = unpack(archive, tmp_path / "out", where="test", password=PASSWORD)
    expected = contents(tree)
    assert contents(tmp_path / "out") == expected
    assert {member.path: member.sha256 for member in unpacked.members} == {
        path: hashlib.sha256(data).hexdigest() for path, data in expected.items()
    }
    assert all(member.archives == (name,) for member in unpacked.members)
    assert unpacked.bytes_in == archive.stat().st_size
    assert unpacked.bytes_out == unpacked.peak == sum(map(len, expected.values()))
    assert unpacked.damaged == unpacked.left_out == ()
    assert archive_kind(archive) == name.split(".", 1)[1]


@pytest.mark.parametrize("name", ["encrypted.zip", "aes256.zip", "encrypted.7z", "hidden-names.7z"])
@pytest.mark.parametrize("password", [None, "not this one"])
def test_a_password_that_does_not_open_is_told_with_the_variable(
    name: str, password: str | None, tree: Path, tmp_path: Path
) -> None:
    MAKERS[name](tree, tmp_path / name)
    with pytest.raises(AcquisitionError) as caught:
        unpack(tmp_path / name, tmp_path / "out", where="atlas-v2-0/00-manual", password=password)
    assert caught.value.code == "archive.password"
    assert "Set MEDSHARD_ARCHIVE_PASSWORD_ATLAS_V2_0 (or MEDSHARD_ARCHIVE_PASSWORD" in caught.value.action
    assert "not this one" not in f"{caught.value}{caught.value!r}{caught.value.__cause__!r}"


def test_the_password_of_an_entry_comes_before_the_one_for_all() -> None:
    environment = {"MEDSHARD_ARCHIVE_PASSWORD": "all", "MEDSHARD_ARCHIVE_PASSWORD_ATLAS_V2_0": "own"}
    assert archive_password("atlas-v2-0", environment) == "own"
    assert archive_password("kits23", environment) == "all"
    assert archive_password("kits23", {}) is None


def rezipped(data: bytes, method: int, plain: bytes) -> bytes:
    """A zip whose one member is packed by a method that zipfile cannot write."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("a.txt", data)
    changed = bytearray(made.getvalue())
    central = changed.index(b"PK\x01\x02")
    for at in (8, central + 10):
        changed[at : at + 2] = method.to_bytes(2, "little")
    for at in (14, central + 16):
        changed[at : at + 4] = zlib.crc32(plain).to_bytes(4, "little")
    for at in (22, central + 24):
        changed[at : at + 4] = len(plain).to_bytes(4, "little")
    return bytes(changed)


def test_deflate64_and_zstd_members_of_a_zip_are_read(tmp_path: Path) -> None:
    import inflate64
    import zstandard

    text = b"one line of text, over and over\n" * 5000
    deflater = inflate64.Deflater()
    for method, data in (
        (9, deflater.deflate(text) + deflater.flush()),
        (93, zstandard.ZstdCompressor().compress(text)),
    ):
        archive = tmp_path / f"{method}.zip"
        archive.write_bytes(rezipped(data, method, text))
        unpack(archive, tmp_path / str(method), where="test")
        assert (tmp_path / str(method) / "a.txt").read_bytes() == text


def test_a_method_that_nobody_reads_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(rezipped(b"whatever", 98, b"plain"))
    with pytest.raises(AcquisitionError, match=r"archive\.unsupported(.|\n)*PPMd(.|\n)*a\.txt"):
        unpack(tmp_path / "a.zip", tmp_path / "out", where="test")


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz", "zst"])
def test_one_packed_file_is_an_archive_only_when_it_is_stated(suffix: str, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes(b"id,label\n" * 1000)
    run({"gz": "gzip", "bz2": "bzip2", "zst": "zstd"}.get(suffix, suffix), "labels.csv", folder=tmp_path)
    packed = tmp_path / f"labels.csv.{suffix}"
    assert archive_kind(packed) == "none"
    assert not is_archive(packed)
    unpacked = unpack(packed, tmp_path / "out", where="test", kind=suffix)  # type: ignore[arg-type]
    assert contents(tmp_path / "out") == {"labels.csv": b"id,label\n" * 1000}
    assert unpacked.members[0].member == "labels.csv"


def test_a_name_is_only_a_hint_and_a_stated_kind_is_compared(tmp_path: Path) -> None:
    zip_of(("a.txt", b"text"))(tmp_path / "really-a-zip.tar.gz")
    assert archive_kind(tmp_path / "really-a-zip.tar.gz") == "zip"
    with pytest.raises(AcquisitionError, match=r"archive\.kind(.|\n)*expected\s+rar(.|\n)*found\s+zip"):
        archive_kind(tmp_path / "really-a-zip.tar.gz", "rar")
    assert archive_kind(tmp_path / "really-a-zip.tar.gz", "none") == "none"


def split(data: bytes, *paths: Path) -> list[Path]:
    size = -(-len(data) // len(paths))
    for number, path in enumerate(paths):
        path.write_bytes(data[number * size : (number + 1) * size])
    return list(paths)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("solid.7z", ("x.7z.001", "x.7z.002", "x.7z.003")),
        ("info-zip.zip", ("x.zip.001", "x.zip.002")),
        ("packed.tar.gz", ("x.tar.gz.aa", "x.tar.gz.ab", "x.tar.gz.ac")),
        ("packed.tar.gz", ("x.tar.gz.000", "x.tar.gz.001")),
        ("gnu.tar", ("x.tar.part1", "x.tar.part2")),
    ],
)
def test_parts_are_read_as_one(name: str, parts: tuple[str, ...], tree: Path, tmp_path: Path) -> None:
    MAKERS[name](tree, tmp_path / name)
    paths = split((tmp_path / name).read_bytes(), *(tmp_path / part for part in parts))
    if "part1" not in parts[0]:
        assert volumes_of([*reversed(paths)]) == (tuple(paths),)
    unpacked = unpack(paths, tmp_path / "out", where="test", kind=archive_kind(paths[0]))
    assert contents(tmp_path / "out") == contents(tree)
    assert unpacked.bytes_in == sum(path.stat().st_size for path in paths)


def test_a_split_zip_with_headers_of_its_own_is_read(tree: Path, tmp_path: Path) -> None:
    run("zip", "-qrs", "64k", str(tmp_path / "x.zip"), ".", folder=tree)
    (group,) = volumes_of(tmp_path.glob("x.z*"))
    assert len(group) > 2
    assert [path.name for path in group] == [*(f"x.z{number:02d}" for number in range(1, len(group))), "x.zip"]
    unpack(group, tmp_path / "out", where="test")
    assert contents(tmp_path / "out") == contents(tree)
    with pytest.raises(AcquisitionError, match=r"archive\.volumes"):
        unpack(group[-1], tmp_path / "other", where="test")


def test_a_gap_between_parts_is_named(tmp_path: Path) -> None:
    paths = [tmp_path / f"x.7z.{number:03d}" for number in (1, 3)]
    with pytest.raises(AcquisitionError, match=r"archive\.volumes(.|\n)*part 2"):
        volumes_of(paths)


def test_files_that_only_look_like_parts_stay_single(tmp_path: Path) -> None:
    names = ["IM.001", "IM.002", "scan.r01", "readme.z01", "a.tar.gz", "b.part1.nii", "c.nii.gz"]
    assert volumes_of(tmp_path / name for name in names) == tuple((tmp_path / name,) for name in sorted(names))


RARS = {
    "rar3-solid.rar": 2,
    "rar5-solid.rar": 2,
    "rar5-dups.rar": 9,
    "rar5-blake.rar": 2,
    "rar5-subdirs.rar": 4,
    "rar5-psw.rar": 2,
    "rar5-hpsw.rar": 2,
    "rar3-comment-psw.rar": 2,
}


@pytest.mark.parametrize("name", RARS)
def test_rar_archives_come_out_with_their_checksums(name: str, tmp_path: Path) -> None:
    if not any(map(shutil.which, ("unrar", "unar", "7z"))) or not shutil.which("bsdtar"):
        pytest.skip("the programs that read rar are not installed")
    unpacked = unpack(SAMPLES / name, tmp_path / "out", where="test", password="password")
    assert len(unpacked.members) == RARS[name]
    assert all(member.size for member in unpacked.members if name != "rar3-comment-psw.rar")


def test_parts_of_a_rar_are_read_and_the_first_is_needed(tmp_path: Path) -> None:
    (group,) = volumes_of(SAMPLES.glob("rar3-old.r*"))
    assert [path.suffix for path in group] == [".rar", ".r00", ".r01"]
    unpacked = unpack(group, tmp_path / "out", where="test")
    assert [member.path for member in unpacked.members] == ["vols/bigfile.txt", "vols/smallfile.txt"]
    with pytest.raises(AcquisitionError, match=r"archive\.(volumes|unreadable)"):
        unpack(group[1], tmp_path / "other", where="test", kind="rar")


@pytest.mark.parametrize("name", ["rar5-psw.rar", "rar5-hpsw.rar"])
@pytest.mark.parametrize("password", [None, "not this one"])
def test_a_rar_with_the_wrong_password_says_so(name: str, password: str | None, tmp_path: Path) -> None:
    with pytest.raises(AcquisitionError) as caught:
        unpack(SAMPLES / name, tmp_path / "out", where="test", password=password)
    assert caught.value.code == "archive.password"
    assert "not this one" not in str(caught.value)


def test_a_rar_without_a_program_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AcquisitionError, match=r"archive\.no_tool(.|\n)*apt-get install unar"):
        unpack(SAMPLES / "rar3-solid.rar", tmp_path / "out", where="test")


def test_hard_links_of_a_rar_are_named_and_left_out(tmp_path: Path) -> None:
    unpacked = unpack(SAMPLES / "rar5-hlink.rar", tmp_path / "out", where="test")
    assert [member.path for member in unpacked.members] == ["stest1.txt"]
    assert [left.name for left in unpacked.left_out] == ["stest2.txt", "stest3.txt"]


@pytest.mark.parametrize("name", ["octmnist_224.npz", "MetaInfo.xlsx", "weights.pth"])
def test_a_format_that_is_a_zip_inside_is_a_file_unless_the_catalog_says_zip(tmp_path: Path, name: str) -> None:
    zip_of(("a.npy", b"1"))(tmp_path / name)
    assert archive_kind(tmp_path / name) == "none"
    assert archive_kind(tmp_path / name, "zip") == "zip"


def test_a_table_that_came_zipped_under_its_own_name_is_unpacked(tmp_path: Path) -> None:
    """Kaggle sends single large tables so."""
    zip_of(("train.csv", b"a,b\n"))(tmp_path / "train.csv")
    assert archive_kind(tmp_path / "train.csv") == "zip"


def test_a_second_name_of_a_file_in_a_tar_becomes_a_copy(tmp_path: Path) -> None:
    """GNU tar stores a file that has two names once: a data set that was packed so must not lose half of itself."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.nii").write_bytes(b"voxels")
    (tmp_path / "in" / "b.nii").hardlink_to(tmp_path / "in" / "a.nii")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "in", "in")
        assert [member.islnk() for member in archive.getmembers()].count(True) == 1
    unpacked = unpack(tmp_path / "a.tar", tmp_path / "out", where="test")
    assert contents(tmp_path / "out") == {"in/a.nii": b"voxels", "in/b.nii": b"voxels"}
    assert unpacked.left_out == ()
    assert (tmp_path / "out" / "in" / "a.nii").stat().st_nlink == 1


class TestSelection:
    def test_patterns_see_the_full_names_and_stripping_comes_after(self, tmp_path: Path) -> None:
        zip_of(("top/a/one.nii", b"1"), ("top/b/two.txt", b"2"), ("three.nii", b"3"))(tmp_path / "a.zip")
        unpacked = unpack(tmp_path / "a.zip", tmp_path / "out", include=("top/*.nii",), strip=1, where="test")
        assert contents(tmp_path / "out") == {"a/one.nii": b"1"}
        assert unpacked.members[0].member == "top/a/one.nii"

    def test_a_file_that_lies_less_deep_keeps_its_name(self, tmp_path: Path) -> None:
        zip_of(("top/a/one.nii", b"1"), ("three.nii", b"3"))(tmp_path / "a.zip")
        unpack(tmp_path / "a.zip", tmp_path / "out", strip=2, where="test")
        assert contents(tmp_path / "out") == {"one.nii": b"1", "three.nii": b"3"}

    def test_patterns_that_match_nothing_say_what_is_there(self, tmp_path: Path) -> None:
        zip_of(("a/one.nii", b"1"))(tmp_path / "a.zip")
        with pytest.raises(AcquisitionError, match=r"source\.empty(.|\n)*a/one\.nii"):
            unpack(tmp_path / "a.zip", tmp_path / "out", include=("*.dcm",), where="test")
        assert not (tmp_path / "out").exists()

    def test_a_link_inside_the_archive_is_left_out_and_named(self, tmp_path: Path) -> None:
        zip_link("link.nii", "a.nii", (b"a.nii", b"1", 0o100644))(tmp_path / "a.zip")
        unpacked = unpack(tmp_path / "a.zip", tmp_path / "out", where="test")
        assert contents(tmp_path / "out") == {"a.nii": b"1"}
        assert [(left.name, left.why) for left in unpacked.left_out] == [("link.nii", "a link to 'a.nii'")]

    def test_old_names_are_read_as_code_page_437(self, tmp_path: Path) -> None:
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as archive:
            info = zipfile.ZipInfo("f_r.nii")
            info.create_system = 0
            archive.writestr(info, b"1")
        (tmp_path / "a.zip").write_bytes(made.getvalue().replace(b"f_r.nii", b"f\x81r.nii"))
        unpack(tmp_path / "a.zip", tmp_path / "out", where="test")
        assert contents(tmp_path / "out") == {"f\u00fcr.nii": b"1"}


class TestGzipMembers:
    """The archive's own checksum is right; the file in it was broken before it was packed."""

    GOOD = gzip.compress(bytes(range(256)) * 4000, mtime=0)

    def unpacked(self, tmp_path: Path, data: bytes) -> Unpacked:
        zip_of(("a/bad.nii.gz", data), ("b/good.nii.gz", self.GOOD))(tmp_path / "a.zip")
        unpacked = unpack(tmp_path / "a.zip", tmp_path / "out", where="test")
        assert contents(tmp_path / "out") == {"a/bad.nii.gz": data, "b/good.nii.gz": self.GOOD}
        return unpacked

    @pytest.mark.parametrize(
        ("broken", "says"),
        [
            (GOOD[:-5] + bytes([GOOD[-5] ^ 1]) + GOOD[-4:], "checksum"),
            (GOOD[:-1] + bytes([GOOD[-1] ^ 1]), "trailer says"),
            (GOOD[:-3], "too early"),
            (GOOD[: len(GOOD) // 2], "too early"),
            (b"\x5c\x01\x00\x00 a plain NIfTI file", "no gzip data"),
            (b"", "no gzip data"),
            (GOOD + b"<html>", "follow the end"),
        ],
    )
    def test_a_broken_one_is_kept_and_named(self, broken: bytes, says: str, tmp_path: Path) -> None:
        unpacked = self.unpacked(tmp_path, broken)
        assert [damaged.path for damaged in unpacked.damaged] == ["a/bad.nii.gz"]
        assert says in unpacked.damaged[0].problem

    @pytest.mark.parametrize("sound", [GOOD + GOOD, GOOD + bytes(512), gzip.compress(b"")])
    def test_streams_in_a_row_and_padding_are_sound(self, sound: bytes, tmp_path: Path) -> None:
        assert self.unpacked(tmp_path, sound).damaged == ()

    def test_the_check_works_without_isal_too(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from medshard.registry.acquisition.archives import blocks, inflating

        for module in (inflating, blocks):
            monkeypatch.setattr(module, "raw_inflater", inflating.ZlibInflater)
        assert self.unpacked(tmp_path, self.GOOD + self.GOOD).damaged == ()
        shutil.rmtree(tmp_path / "out")
        assert len(self.unpacked(tmp_path, self.GOOD[:-3]).damaged) == 1

    def test_a_wrong_trailer_of_the_outer_gz_is_named_and_the_rest_unpacks(self, tmp_path: Path) -> None:
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w:gz") as archive:
            info = tarfile.TarInfo("a.nii")
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
        data = bytearray(made.getvalue())
        data[-8] ^= 1
        (tmp_path / "a.tar.gz").write_bytes(bytes(data))
        unpacked = unpack(tmp_path / "a.tar.gz", tmp_path / "out", where="test")
        assert contents(tmp_path / "out") == {"a.nii": b"abc"}
        assert [damaged.path for damaged in unpacked.damaged] == ["a.tar.gz"]


class TestArchivesInArchives:
    def inner(self, *members: tuple[str, bytes]) -> bytes:
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members:
                archive.writestr(name, data)
        return made.getvalue()

    def test_they_are_unpacked_where_they_lie_and_removed(self, tmp_path: Path) -> None:
        inner = self.inner(("x.nii", b"x" * 1000))
        zip_of(("sub/part.zip", inner), ("table.xlsx", inner), ("b.nii", b"b"))(tmp_path / "a.zip")
        unpacked = unpack(tmp_path / "a.zip", tmp_path / "out", where="test")
        assert contents(tmp_path / "out") == {"sub/x.nii": b"x" * 1000, "table.xlsx": inner, "b.nii": b"b"}
        member = next(member for member in unpacked.members if member.path == "sub/x.nii")
        assert (member.archives, member.member) == (("a.zip", "sub/part.zip"), "x.nii")
        assert unpacked.peak == unpacked.bytes_out + len(inner)

    def test_they_stay_packed_when_nobody_wants_them_unpacked(self, tmp_path: Path) -> None:
        inner = self.inner(("x.nii", b"x"))
        zip_of(("part.zip", inner))(tmp_path / "a.zip")
        unpack(tmp_path / "a.zip", tmp_path / "out", where="test", nested=False)
        assert contents(tmp_path / "out") == {"part.zip": inner}

    def test_parts_inside_are_put_together(self, tree: Path, tmp_path: Path) -> None:
        MAKERS["packed.tar.gz"](tree, tmp_path / "x.tar.gz")
        data = (tmp_path / "x.tar.gz").read_bytes()
        zip_of(("d/x.tar.gz.001", data[:1000]), ("d/x.tar.gz.002", data[1000:]))(tmp_path / "a.zip")
        unpack(tmp_path / "a.zip", tmp_path / "out", where="test")
        assert contents(tmp_path / "out" / "d") == contents(tree)

    def test_one_may_hold_a_file_of_its_own_name(self, tmp_path: Path) -> None:
        zip_of(("a.zip", self.inner(("a.zip", self.inner(("x.nii", b"x"))))))(tmp_path / "a.zip")
        unpacked = unpack(tmp_path / "a.zip", tmp_path / "out", where="test")
        assert contents(tmp_path / "out") == {"x.nii": b"x"}
        assert unpacked.members[0].archives == ("a.zip", "a.zip", "a.zip")

    def test_another_file_of_the_same_path_is_a_clash_and_the_same_file_is_not(self, tmp_path: Path) -> None:
        inner = self.inner(("b.nii", b"b"))
        zip_of(("part.zip", inner), ("b.nii", b"b"))(tmp_path / "same.zip")
        unpack(tmp_path / "same.zip", tmp_path / "same", where="test")
        assert contents(tmp_path / "same") == {"b.nii": b"b"}
        zip_of(("part.zip", inner), ("b.nii", b"other"))(tmp_path / "other.zip")
        with pytest.raises(AcquisitionError, match=r"archive\.clash"):
            unpack(tmp_path / "other.zip", tmp_path / "other", where="test")

    def test_the_error_names_the_chain(self, tmp_path: Path) -> None:
        zip_of(("part.zip", self.inner(("../x.nii", b"b"))))(tmp_path / "a.zip")
        with pytest.raises(AcquisitionError, match=r"archive\.unsafe(.|\n)*a\.zip > part\.zip"):
            unpack(tmp_path / "a.zip", tmp_path / "out", where="test")


class TestTheTarget:
    def test_archives_share_a_folder_and_equal_files(self, tmp_path: Path) -> None:
        zip_of(("d/one.nii", b"1"), ("readme.txt", b"same"))(tmp_path / "a.zip")
        zip_of(("d/two.nii", b"2"), ("readme.txt", b"same"))(tmp_path / "b.zip")
        for name in ("a.zip", "b.zip"):
            unpack(tmp_path / name, tmp_path / "out", where="test")
        assert contents(tmp_path / "out") == {"d/one.nii": b"1", "d/two.nii": b"2", "readme.txt": b"same"}

    def test_a_file_is_never_overwritten_with_other_bytes(self, tmp_path: Path) -> None:
        zip_of(("d/one.nii", b"1"), ("e/two.nii", b"2"))(tmp_path / "a.zip")
        (tmp_path / "out" / "d").mkdir(parents=True)
        (tmp_path / "out" / "d" / "one.nii").write_bytes(b"mine")
        with pytest.raises(AcquisitionError, match=r"archive\.clash(.|\n)*d/one\.nii"):
            unpack(tmp_path / "a.zip", tmp_path / "out", where="test")
        assert contents(tmp_path / "out") == {"d/one.nii": b"mine"}

    def test_many_members_come_out_in_two_threads(self, tmp_path: Path) -> None:
        members = [(f"s{number % 7}/{number}.dcm", b"%d" % number * 500) for number in range(1500)]
        zip_of(*members)(tmp_path / "a.zip")
        unpacked = unpack(tmp_path / "a.zip", tmp_path / "out", where="test", limits=Limits(max_members=1500))
        assert contents(tmp_path / "out") == dict(members)
        assert [member.path for member in unpacked.members] == sorted(name for name, _ in members)
