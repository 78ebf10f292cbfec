"""What is said of an archive that cannot or must not be unpacked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from medshard.errors import AcquisitionError, MissingExtraError
from medshard.registry.acquisition.archives.passwords import PASSWORD

SHOWN_CHARACTERS = 160
TELL = "Nothing of the archive was kept. Tell its publisher; what `include` does not select does not matter."


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Whose archive it is. where: the entry or source. archives: the chain of archive names, outermost first."""

    where: str
    archives: tuple[str, ...] = ()

    def inside(self, archive: str) -> Origin:
        return replace(self, archives=(*self.archives, archive))

    @property
    def chain(self) -> str:
        return " > ".join(shown(name, quoted=False) for name in self.archives)


def shown(name: str, *, quoted: bool = True) -> str:
    """A name as it may be printed: control characters and broken encodings escaped, long ones cut."""
    short = name if len(name) <= SHOWN_CHARACTERS else f"{name[:SHOWN_CHARACTERS]}..."
    return repr(short) if quoted else repr(short)[1:-1]


def unsafe(origin: Origin, name: str, why: str) -> AcquisitionError:
    return AcquisitionError(
        "archive.unsafe",
        where=origin.where,
        problem=f"the member {shown(name)} {why}",
        details=_details(origin),
        action=TELL,
    )


def clash(origin: Origin, name: str, why: str) -> AcquisitionError:
    return AcquisitionError(
        "archive.clash",
        where=origin.where,
        problem=f"{shown(name)} {why}",
        details=_details(origin),
        action="Nothing of the archive was kept. Give the sources folders of their own (`into`), or leave one of the "
        "files out with `include`.",
    )


def unreadable(origin: Origin, reason: object, *, member: str | None = None) -> AcquisitionError:
    what = "cannot be unpacked" if member is None else f"is damaged at the member {shown(member)}"
    return AcquisitionError(
        "archive.unreadable",
        where=origin.where,
        problem=f"{_last(origin)} {what}",
        details={**_details(origin), "reader": reason},
        action="It may be cut off: fetch it again. If it stays so, tell its publisher.",
    )


def unsupported(origin: Origin, what: str, *, member: str | None = None) -> AcquisitionError:
    named = "" if member is None else f" (member {shown(member)})"
    return AcquisitionError(
        "archive.unsupported",
        where=origin.where,
        problem=f"{_last(origin)} uses {what}{named}, which is not read",
        details=_details(origin),
        action="Unpack it with another program and put the files into the inbox of the entry.",
    )


def encrypted_otherwise(origin: Origin, how: str) -> AcquisitionError:
    return AcquisitionError(
        "archive.encryption",
        where=origin.where,
        problem=f"{_last(origin)} is encrypted by {how}, which is not read",
        details=_details(origin),
        action="Decrypt it as its publisher says and put the files into the inbox of the entry.",
    )


def password_needed(origin: Origin, *, member: str | None, given: bool) -> AcquisitionError:
    named = "" if member is None else f" (member {shown(member)})"
    problem = "the password does not open" if given else "there is no password for"
    return AcquisitionError(
        "archive.password",
        where=origin.where,
        problem=f"{problem} {_last(origin)}{named}",
        details=_details(origin),
        action=f"Set {_password_variable(origin)} (or {PASSWORD}, for all entries) to the password that its publisher "
        "gave you. A damaged archive can look the same.",
    )


def _password_variable(origin: Origin) -> str:
    entry = origin.where.partition("/")[0]
    return f"{PASSWORD}_{entry.upper().replace('-', '_')}"


def over_limit(origin: Origin, *, what: str, limit: str, found: str, raise_with: str) -> AcquisitionError:
    return AcquisitionError(
        "archive.limit",
        where=origin.where,
        problem=f"{_last(origin)} has {what}",
        details={**_details(origin), "limit": limit, "found": found},
        action=f"Nothing of the archive was kept. If it is meant to be so large, {raise_with}.",
    )


def disk_full(origin: Origin, *, needed: str, free: str) -> AcquisitionError:
    return AcquisitionError(
        "archive.disk",
        where=origin.where,
        problem=f"the disk has too little space to unpack {_last(origin)}",
        details={**_details(origin), "needed": needed, "free": free},
        action="Free some space, or put the store on another disk. Nothing of the archive was kept.",
    )


def other_kind(origin: Origin, *, expected: str, found: str) -> AcquisitionError:
    return AcquisitionError(
        "archive.kind",
        where=origin.where,
        problem=f"{_last(origin)} is not what it is said to be",
        details={**_details(origin), "expected": expected, "found": found},
        action="If it is a web page or an error message, fetch it again; otherwise state its true kind under `archive` "
        "of the file in the catalog (`none` leaves it packed).",
    )


def missing_volumes(origin: Origin, *, found: Iterable[str], missing: str) -> AcquisitionError:
    return AcquisitionError(
        "archive.volumes",
        where=origin.where,
        problem="a part of an archive in several parts is missing",
        details={"found": ", ".join(found), "missing": missing},
        action="Fetch the missing part: all parts are needed.",
    )


def no_tool(origin: Origin, reason: str) -> AcquisitionError:
    return AcquisitionError(
        "archive.no_tool",
        where=origin.where,
        problem=f"there is no program on this machine that unpacks {_last(origin)}",
        details={**_details(origin), "reader": reason},
        action="Install one: apt-get install unar (or libarchive-tools, which reads no passwords).",
    )


def missing_package(origin: Origin, package: str, error: ImportError) -> MissingExtraError:
    return MissingExtraError(
        "extra.acquisition",
        where=origin.where,
        problem=f"unpacking {_last(origin)} needs the package {package}",
        details={"raised": error},
        action="Run: pip install 'medshard[acquisition]'",
    )


def name_of(paths: Iterable[Path]) -> str:
    return next((path.name for path in paths), "the archive")


def _last(origin: Origin) -> str:
    return shown(origin.archives[-1], quoted=False) if origin.archives else "the archive"


def _details(origin: Origin) -> dict[str, str]:
    return {"archive": origin.chain} if origin.archives else {}
