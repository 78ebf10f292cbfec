"""Hostile archives, made on the spot: what each tries, and what must become of it.

`HOSTILE` is the table. A row either has the code of the error that refuses the archive, or the files that it is allowed
to make once it has been neutralised. The archives are tiny on disk; the bombs among them are not when they go off.
"""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from medshard.registry.acquisition.archives import Limits

EVIL = b"evil"
MIB = 1 << 20
SAMPLES = Path(__file__).parent / "archives"
UNIX, WINDOWS = 3, 0


@dataclass(frozen=True, kw_only=True)
class Hostile:
    """code: of the error; None where the archive is neutralised, and then `files` is all that it makes.

    says: what the error must name. left_out: members that must be reported as left out.
    """

    name: str
    file: str
    make: Callable[[Path], None]
    code: str | None = None
    says: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    password: str | None = None

    def write(self, folder: Path) -> Path:
        path = folder / self.file
        self.make(path)
        return path


def zip_of(*members: tuple[str, bytes], host: int = UNIX, mode: int = 0o644) -> Callable[[Path], None]:
    """A zip with exactly these names: zipfile itself would mend some of them."""

    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members:
                info = zipfile.ZipInfo("x")
                info.filename, info.create_system, info.external_attr = name, host, mode << 16
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, data)

    return make


def raw_zip(*members: tuple[bytes, bytes, int]) -> bytes:
    """A stored zip from bytes: name, data, mode. Names may be anything."""
    body, directory = b"", b""
    for name, data, mode in members:
        shared = struct.pack("<5H3L2H", 20, 0, 0, 0, 0x21, zlib.crc32(data), len(data), len(data), len(name), 0)
        directory += b"PK\x01\x02" + struct.pack("<H", 20 | UNIX << 8) + shared
        directory += struct.pack("<3H2L", 0, 0, 0, mode << 16, len(body)) + name
        body += b"PK\x03\x04" + shared + name + data
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, len(members), len(members), len(directory), len(body), 0)
    return body + directory + end


def raw_zip_file(*members: tuple[bytes, bytes, int]) -> Callable[[Path], None]:
    return lambda path: _write(path, raw_zip(*members))


def zip_link(name: str, target: str, *more: tuple[bytes, bytes, int]) -> Callable[[Path], None]:
    return raw_zip_file((name.encode(), target.encode(), stat.S_IFLNK | 0o777), *more)


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
            for info, data in members:
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))

    return make


def tar_member(
    name: str, data: bytes = EVIL, *, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info, data if kind == tarfile.REGTYPE else b""


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def deflated_zeros(mebibytes: int) -> bytes:
    """Raw deflate data of so many MiB of zeros, about 1 kB for each, made by repeating one block."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * mebibytes + zlib.compressobj(9, zlib.DEFLATED, -15).flush()


def bomb(path: Path, *, mebibytes: int, stated: int | None = None) -> None:
    """One member that is all zeros; its directory states another size when asked to."""
    data, name = deflated_zeros(mebibytes), b"zeros.nii"
    size = mebibytes * MIB if stated is None else stated
    wide = struct.pack("<2HQ", 1, 8, size)
    shared = struct.pack("<5H3L2H", 45, 0, 8, 0, 0x21, 0, len(data), 0xFFFFFFFF, len(name), len(wide))
    local = b"PK\x03\x04" + shared + name + wide + data
    directory = b"PK\x01\x02" + struct.pack("<H", 45) + shared + struct.pack("<3H2L", 0, 0, 0, 0, 0) + name + wide
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(directory), len(local), 0)
    _write(path, local + directory + end)


def gzip_bomb(path: Path, *, mebibytes: int) -> None:
    """A tar.gz whose one member is zeros, checked by nobody until the end."""
    info = tarfile.TarInfo("zeros.nii")
    info.size = mebibytes * MIB
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = packer.compress(info.tobuf(tarfile.GNU_FORMAT)) + packer.flush(zlib.Z_FULL_FLUSH)
    _write(path, b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + head + deflated_zeros(mebibytes) + bytes(8))


def nested(path: Path, *, depth: int) -> None:
    data = raw_zip((b"core.txt", EVIL, 0o100644))
    for level in range(depth - 1):
        data = raw_zip((f"level{level}.zip".encode(), data, 0o100644))
    _write(path, data)


def nested_bomb(path: Path) -> None:
    """Sixteen archives in an archive, each of which is modest by itself."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.nii", bytes(MIB))
    zip_of(*((f"part{number}/a.zip", inner.getvalue()) for number in range(16)))(path)


def overlapping(path: Path) -> None:
    """Two entries of the directory over one and the same bytes."""
    data = raw_zip((b"a.txt", EVIL, 0o100644))
    at = data.index(b"PK\x01\x02")
    entry = data[at : data.index(b"PK\x05\x06")]
    directory = entry + entry.replace(b"a.txt", b"b.txt")
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 2, 2, len(directory), at, 0)
    _write(path, data[:at] + directory + end)


def overlapping_by_extra(path: Path) -> None:
    """The directory looks sound; a local header reaches over the next one by its extra field."""
    data = bytearray(raw_zip((b"a.txt", EVIL, 0o100644), (b"b.txt", EVIL, 0o100644)))
    struct.pack_into("<H", data, 28, 30)
    _write(path, bytes(data))


def header_mismatch(path: Path) -> None:
    _write(path, raw_zip((b"good.txt", EVIL, 0o100644)).replace(b"good.txt", b"evil.txt", 1))


def lying_count(path: Path) -> None:
    """Five hundred entries in a directory that says it has one."""
    data = bytearray(raw_zip(*((f"{number}.txt".encode(), b"", 0o100644) for number in range(500))))
    struct.pack_into("<2H", data, len(data) - 14, 1, 1)
    _write(path, bytes(data))


def huge_pax_header(path: Path) -> None:
    """An extended header of 1 GB in a few kB: it would have to be kept in memory."""
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 1024 * MIB
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = packer.compress(info.tobuf(tarfile.USTAR_FORMAT)) + packer.flush(zlib.Z_FULL_FLUSH)
    _write(path, b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + head + deflated_zeros(1024) + bytes(8))


def seven_zip(path: Path, name: str) -> None:
    """py7zr mends names when it writes, so the name is changed in the header of the finished archive."""
    import py7zr

    stand_in = "x" * len(name)
    plain = io.BytesIO()
    with py7zr.SevenZipFile(plain, "w") as archive:
        archive.set_encoded_header_mode(False)
        archive.writestr(EVIL.decode(), stand_in)
    data = plain.getvalue()
    start = 32 + struct.unpack_from("<Q", data, 12)[0]
    header = data[start:].replace(stand_in.encode("utf-16le"), name.encode("utf-16le"))
    place = struct.pack("<2QL", start - 32, len(header), zlib.crc32(header))
    _write(path, data[:8] + struct.pack("<L", zlib.crc32(place)) + place + data[32:start] + header)


def seven_zip_link(path: Path) -> None:
    import py7zr

    link = path.with_name("up")
    link.symlink_to("../..")
    with py7zr.SevenZipFile(path, "w") as archive:
        archive.write(link, "up")
    link.unlink()


def truncated_zip(path: Path) -> None:
    data = raw_zip((b"a.txt", EVIL * 100, 0o100644))
    _write(path, data[:-30])


def truncated_tar(path: Path) -> None:
    info = tarfile.TarInfo("a.bin")
    data = bytes(zlib.crc32(bytes([number])) & 0xFF for number in range(256)) * 200
    info.size = len(data)
    packed = gzip.compress(info.tobuf() + data + bytes(1024), mtime=0)
    _write(path, packed[: len(packed) // 2])


def bad_crc(path: Path) -> None:
    data = raw_zip((b"good.txt", b"good", 0o100644), (b"broken.txt", b"broken data", 0o100644))
    _write(path, data.replace(b"broken data", b"brokeN data"))


def classic_encrypted(path: Path) -> None:
    """A member that says that it is encrypted; with any password it comes out as noise."""
    data = bytearray(raw_zip((b"secret.txt", EVIL * 8, 0o100644)))
    for at in (6, data.index(b"PK\x01\x02") + 8):
        data[at] |= 1
    _write(path, bytes(data))


def case_clash(path: Path) -> None:
    zip_of(("Case.nii", b"one"), ("case.nii", b"two"))(path)


PART, LONG_PATH = "n" * 256, "/".join(["folder"] * 200)

HOSTILE = (
    Hostile(
        name="absolute", file="a.zip", make=zip_of(("/tmp/evil.txt", EVIL)), code="archive.unsafe", says="absolute"
    ),
    Hostile(name="parent", file="a.zip", make=zip_of(("../evil.txt", EVIL)), code="archive.unsafe", says="outside"),
    Hostile(name="parent-within", file="a.zip", make=zip_of(("a/../../evil.txt", EVIL)), code="archive.unsafe"),
    Hostile(name="parent-in-tar", file="a.tar", make=tar_of(tar_member("../evil.txt")), code="archive.unsafe"),
    Hostile(
        name="parent-in-7z",
        file="a.7z",
        make=lambda path: seven_zip(path, "../evil.txt"),
        code="archive.unsafe",
        says="outside",
    ),
    Hostile(name="drive", file="a.zip", make=zip_of(("C:/evil.txt", EVIL)), code="archive.unsafe", says="drive"),
    Hostile(
        name="backslash-unix",
        file="a.zip",
        make=zip_of(("..\\evil.txt", EVIL)),
        code="archive.unsafe",
        says="backslash",
    ),
    Hostile(
        name="backslash-windows",
        file="a.zip",
        make=zip_of(("..\\evil.txt", EVIL), host=WINDOWS),
        code="archive.unsafe",
        says="outside",
    ),
    Hostile(
        name="backslash-windows-plain",
        file="a.zip",
        make=zip_of(("sub\\a.txt", EVIL), host=WINDOWS),
        files={"sub/a.txt": EVIL},
    ),
    Hostile(
        name="symlink-out",
        file="a.zip",
        make=zip_link("link", "/etc/passwd"),
        code="archive.unsafe",
        says="/etc/passwd",
    ),
    Hostile(
        name="symlink-up",
        file="a.tar",
        make=tar_of(tar_member("a/link", kind=tarfile.SYMTYPE, link="../../evil")),
        code="archive.unsafe",
        says="leads outside",
    ),
    Hostile(
        name="symlink-then-file-through-it",
        file="a.tar",
        make=tar_of(tar_member("dir", kind=tarfile.SYMTYPE, link="/tmp"), tar_member("dir/evil.txt")),
        code="archive.unsafe",
    ),
    Hostile(
        name="symlink-inside-then-file-through-it",
        file="a.tar",
        make=tar_of(tar_member("dir", kind=tarfile.SYMTYPE, link="other"), tar_member("dir/a.txt")),
        files={"dir/a.txt": EVIL},
        left_out=("dir",),
    ),
    Hostile(
        name="symlink-in-rar",
        file="a.rar",
        make=lambda path: _write(path, (SAMPLES / "rar5-evil-symlink-traversal.rar").read_bytes()),
        code="archive.unsafe",
        says="leads outside",
    ),
    Hostile(name="symlink-in-7z", file="a.7z", make=seven_zip_link, code="archive.unsafe", says="leads outside"),
    Hostile(
        name="hardlink-out",
        file="a.tar",
        make=tar_of(tar_member("link", kind=tarfile.LNKTYPE, link="../../etc/passwd")),
        code="archive.unsafe",
    ),
    Hostile(name="device", file="a.tar", make=tar_of(tar_member("null", kind=tarfile.CHRTYPE)), code="archive.unsafe"),
    Hostile(name="fifo", file="a.tar", make=tar_of(tar_member("pipe", kind=tarfile.FIFOTYPE)), code="archive.unsafe"),
    Hostile(
        name="device-in-zip",
        file="a.zip",
        make=raw_zip_file((b"null", b"", stat.S_IFCHR | 0o666)),
        code="archive.unsafe",
        says="device",
    ),
    Hostile(name="setuid", file="a.tar", make=tar_of(tar_member("tool", mode=0o6755)), files={"tool": EVIL}),
    Hostile(name="setuid-in-zip", file="a.zip", make=zip_of(("tool", EVIL), mode=0o104777), files={"tool": EVIL}),
    Hostile(name="case-clash", file="a.zip", make=case_clash, code="archive.unsafe", says="case"),
    Hostile(
        name="unicode-clash",
        file="a.zip",
        make=zip_of(("caf\u00e9.nii", b"one"), ("cafe\u0301.nii", b"two")),
        code="archive.unsafe",
        says="form of its letters",
    ),
    Hostile(
        name="file-and-folder",
        file="a.zip",
        make=zip_of(("a", b"file"), ("a/b", b"below")),
        code="archive.unsafe",
        says="folder",
    ),
    Hostile(name="reserved-name", file="a.zip", make=zip_of(("aux.nii", EVIL)), code="archive.unsafe", says="reserves"),
    Hostile(name="trailing-dot", file="a.zip", make=zip_of(("case./a.nii", EVIL)), code="archive.unsafe", says="dot"),
    Hostile(name="trailing-space", file="a.zip", make=zip_of(("a.nii ", EVIL)), code="archive.unsafe", says="space"),
    Hostile(name="colon", file="a.zip", make=zip_of(("a.nii:hidden", EVIL)), code="archive.unsafe", says="colon"),
    Hostile(name="over-long-part", file="a.zip", make=zip_of((PART, EVIL)), code="archive.unsafe", says="255 bytes"),
    Hostile(name="over-long-path", file="a.zip", make=zip_of((LONG_PATH, EVIL)), code="archive.unsafe", says="1024"),
    Hostile(
        name="nul",
        file="a.zip",
        make=raw_zip_file((b"a.txt\0.exe", EVIL, 0o100644)),
        code="archive.unsafe",
        says="control",
    ),
    Hostile(
        name="escape-sequence", file="a.zip", make=zip_of(("\x1b[2J.nii", EVIL)), code="archive.unsafe", says="control"
    ),
    Hostile(
        name="not-utf8",
        file="a.tar",
        make=tar_of(tar_member("caf\udce9.nii")),
        code="archive.unsafe",
        says="not UTF-8",
    ),
    Hostile(
        name="empty-name", file="a.zip", make=raw_zip_file((b"", EVIL, 0o100644)), code="archive.unsafe", says="name"
    ),
    Hostile(
        name="ratio-bomb",
        file="a.zip",
        make=lambda path: bomb(path, mebibytes=64),
        code="archive.limit",
        says="MEDSHARD_UNPACK_MAX_RATIO",
        limits=Limits(ratio_from_bytes=16 * MIB),
    ),
    Hostile(
        name="ratio-bomb-in-tar-gz",
        file="a.tar.gz",
        make=lambda path: gzip_bomb(path, mebibytes=64),
        code="archive.limit",
        says="MEDSHARD_UNPACK_MAX_RATIO",
        limits=Limits(ratio_from_bytes=16 * MIB),
    ),
    Hostile(
        name="total-bomb",
        file="a.tar.gz",
        make=lambda path: gzip_bomb(path, mebibytes=64),
        code="archive.limit",
        says="MEDSHARD_UNPACK_MAX_GB",
        limits=Limits(max_total_bytes=8 * MIB),
    ),
    Hostile(
        name="nested-bomb",
        file="a.zip",
        make=nested_bomb,
        code="archive.limit",
        says="part",
        limits=Limits(max_total_bytes=8 * MIB),
    ),
    Hostile(
        name="nested-too-deep",
        file="a.zip",
        make=lambda path: nested(path, depth=4),
        code="archive.limit",
        says="3 deep",
    ),
    Hostile(name="overlapping-entries", file="a.zip", make=overlapping, code="archive.unsafe", says="shares bytes"),
    Hostile(
        name="overlapping-headers", file="a.zip", make=overlapping_by_extra, code="archive.unsafe", says="shares bytes"
    ),
    Hostile(
        name="count-bomb",
        file="a.zip",
        make=raw_zip_file(*((f"{number}".encode(), b"", 0o100644) for number in range(2000))),
        code="archive.limit",
        says="MEDSHARD_UNPACK_MAX_MEMBERS",
        limits=Limits(max_members=1000),
    ),
    Hostile(name="lying-count", file="a.zip", make=lying_count, code="archive.unreadable", says="says 1"),
    Hostile(
        name="lying-count-bomb",
        file="a.zip",
        make=lying_count,
        code="archive.limit",
        says="members",
        limits=Limits(max_members=100),
    ),
    Hostile(
        name="lying-size",
        file="a.zip",
        make=lambda path: bomb(path, mebibytes=1024, stated=10),
        code="archive.unreadable",
        says="more than the 10 bytes",
    ),
    Hostile(
        name="size-beyond-any-disk",
        file="a.zip",
        make=lambda path: bomb(path, mebibytes=1, stated=1 << 60),
        code="archive.limit",
        says="MEDSHARD_UNPACK_MAX_GB",
    ),
    Hostile(
        name="duplicate-names",
        file="a.zip",
        make=raw_zip_file((b"a.nii", b"one", 0o100644), (b"a.nii", b"two", 0o100644)),
        code="archive.clash",
        says="more than once",
    ),
    Hostile(
        name="duplicate-names-same-bytes",
        file="a.zip",
        make=raw_zip_file((b"a.nii", b"one", 0o100644), (b"a.nii", b"one", 0o100644)),
        files={"a.nii": b"one"},
    ),
    Hostile(name="header-mismatch", file="a.zip", make=header_mismatch, code="archive.unsafe", says="evil.txt"),
    Hostile(name="huge-pax-header", file="a.tar.gz", make=huge_pax_header, code="archive.unreadable", says="extended"),
    Hostile(name="truncated-zip", file="a.zip", make=truncated_zip, code="archive.unreadable"),
    Hostile(name="truncated-tar", file="a.tar.gz", make=truncated_tar, code="archive.unreadable", says="a.bin"),
    Hostile(name="bad-crc", file="a.zip", make=bad_crc, code="archive.unreadable", says="broken.txt"),
    Hostile(name="encrypted", file="a.zip", make=classic_encrypted, code="archive.password", says="secret.txt"),
    Hostile(
        name="encrypted-other-password",
        file="a.zip",
        make=classic_encrypted,
        code="archive.password",
        says="does not open",
        password="not-the-password",
    ),
    Hostile(
        name="encrypted-by-openssl",
        file="a.tar.gz",
        make=lambda path: _write(path, b"Salted__" + bytes(range(200))),
        code="archive.encryption",
        says="openssl",
    ),
    Hostile(
        name="web-page",
        file="a.zip",
        make=lambda path: _write(path, b"<!DOCTYPE html><title>Sign in</title>"),
        code="archive.kind",
        says="DOCTYPE",
    ),
    Hostile(
        name="desktop-junk",
        file="a.zip",
        make=zip_of(
            ("a.nii", EVIL), ("__MACOSX/._a.nii", b"fork"), ("sub/.DS_Store", b"view"), ("Thumbs.db", b"small")
        ),
        files={"a.nii": EVIL},
        left_out=("Thumbs.db", "__MACOSX/._a.nii", "sub/.DS_Store"),
    ),
)
