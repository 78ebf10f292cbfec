"""Files of a listing, brought into a folder of this machine and compared with what their source states."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.archives.names import safe_path
from medshard.registry.acquisition.checksums import check_digest
from medshard.registry.acquisition.lock import LockedPart
from medshard.registry.acquisition.pip_client import pip_download
from medshard.registry.acquisition.transfer.addresses import public_address
from medshard.registry.acquisition.workplace import Workplace
from medshard.registry.hosts import host_of
from medshard.registry.hosts.host import HttpAddress, ListedFile, LocalAddress, ObjectAddress, PipAddress
from medshard.registry.schema import Source
from medshard.registry.store.digests import sha256_file

if TYPE_CHECKING:
    from medshard.registry.acquisition.gates.inbox import TakenFile
    from medshard.registry.acquisition.transfer.download import Fetched


@dataclass(frozen=True, kw_only=True)
class Obtained:
    """A file of a listing that is here, whole and as stated.

    url: the address that was asked, without secrets; None for a file of this machine. transferred: bytes that came
    over the wire in this build.
    """

    listed: ListedFile
    path: Path
    size: int
    sha256: str
    url: str | None = None
    validator: str | None = None
    transferred: int = 0
    attempts: int = 0
    tool: tuple[str, str] | None = None


def obtain(
    place: Workplace,
    source: Source,
    listed: Sequence[ListedFile],
    folder: Path,
    *,
    taken: Mapping[str, TakenFile],
    locked: LockedPart | None,
) -> list[Obtained]:
    """Bring the files below `folder`, in the order of the listing.

    taken: files that a person has put into the inbox, by name. locked: what is known of earlier fetches, so that an
    archive that the store still has is not fetched again. Raises AcquisitionError of the transfer, checksum.mismatch,
    package.modified.
    """
    targets = {file.name: folder / _own_place(listed_path(file, where=place.where)) for file in listed}
    found: dict[str, Obtained] = {}
    for file in listed:
        here = _here(place, source, file, targets[file.name], taken=taken.get(file.name), locked=locked)
        if here is not None:
            found[file.name] = here
    missing = [file for file in listed if file.name not in found]
    for file, fetched in zip(missing, _download(place, source, missing, targets), strict=True):
        found[file.name] = _of_fetched(file, fetched)
    return [found[file.name] for file in listed]


def _here(
    place: Workplace,
    source: Source,
    file: ListedFile,
    target: Path,
    *,
    taken: TakenFile | None,
    locked: LockedPart | None,
) -> Obtained | None:
    """The file, when this machine has it: in the inbox, in the store, as a local source, or by pip."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if taken is not None:
        _bring_in(taken.path, target, inbox=place.inbox)
        return Obtained(listed=file, path=target, size=taken.size, sha256=taken.sha256)
    if isinstance(file.address, LocalAddress):
        return _copied(source, file, file.address.path, target, where=place.where)
    if isinstance(file.address, PipAddress):
        return _by_pip(file, file.address, target, where=place.where)
    return _of_the_store(place, file, target, locked=locked)


def _copied(source: Source, file: ListedFile, path: Path, target: Path, *, where: str) -> Obtained:
    shutil.copyfile(path, target)
    sha256 = sha256_file(target)
    if file.checksum is not None and file.checksum != f"sha256:{sha256}":
        raise _modified(source, file, sha256, where=where)
    return Obtained(listed=file, path=target, size=target.stat().st_size, sha256=sha256)


def _modified(source: Source, file: ListedFile, sha256: str, *, where: str) -> AcquisitionError:
    if source.kind == "package":
        return AcquisitionError(
            "package.modified",
            where=where,
            problem=f"{file.name} was changed after the package was installed",
            details={"expected": file.checksum, "found": f"sha256:{sha256}"},
            action="Reinstall the package: pip install --force-reinstall",
        )
    return AcquisitionError(
        "checksum.mismatch",
        where=where,
        problem=f"{file.name} is not the file that the catalog pins",
        details={"file": file.name, "expected": file.checksum, "found": f"sha256:{sha256}"},
        action="If it was replaced on purpose, review the change and update the catalog.",
    )


def _by_pip(file: ListedFile, address: PipAddress, target: Path, *, where: str) -> Obtained:
    folder = target.with_name(f"{target.name}.pip")
    folder.mkdir(exist_ok=True)
    path = next((path for path in folder.iterdir() if path.is_file()), None) or pip_download(address, folder)
    check_digest(path, f"sha256:{address.sha256}", where=where)
    return Obtained(
        listed=file, path=path, size=path.stat().st_size, sha256=address.sha256, tool=("pip", version("pip"))
    )


def _of_the_store(place: Workplace, file: ListedFile, target: Path, *, locked: LockedPart | None) -> Obtained | None:
    """An archive that an earlier build, or another entry with the same file, has left in the store."""
    known = locked.file(file.name) if locked else None
    sha256 = (known.sha256 if known else None) or (file.checksum or "").removeprefix("sha256:")
    if len(sha256) != len("0" * 64):
        return None
    path = next(place.store.files_of_digest(sha256), None)
    if path is None or sha256_file(path) != sha256:
        return None
    link_or_copy(path, target)
    return Obtained(listed=file, path=target, size=target.stat().st_size, sha256=sha256, url=recorded_address(file))


def _download(
    place: Workplace, source: Source, files: Iterable[ListedFile], targets: Mapping[str, Path]
) -> list[Fetched]:
    from medshard.registry.acquisition.transfer.download import Wanted, download  # noqa: PLC0415 - needs an extra
    from medshard.registry.acquisition.transfer.progress import NoProgress  # noqa: PLC0415 - needs an extra

    wanted = [
        Wanted(
            name=file.name,
            address=file.address,
            target=targets[file.name],
            size=file.size,
            checksum=file.checksum,
            archive=None if file.archive == "none" else file.archive,
            through_page=host_of(source.kind).through_page,
            where=place.where,
        )
        for file in files
        if isinstance(file.address, HttpAddress | ObjectAddress)
    ]
    if not wanted:
        return []
    if place.connect is None:
        raise AssertionError(f"{place.where} has remote files, and nobody may be asked")
    return download(wanted, place.connect(), place.progress or NoProgress())


def _of_fetched(file: ListedFile, fetched: Fetched) -> Obtained:
    return Obtained(
        listed=file,
        path=fetched.path,
        size=fetched.size,
        sha256=fetched.sha256,
        url=fetched.url,
        validator=fetched.validator,
        transferred=fetched.transferred,
        attempts=fetched.attempts,
    )


def listed_path(file: ListedFile, *, where: str) -> PurePosixPath:
    """Where a listed file goes, below the folder of its part.

    Raises AcquisitionError[source.file_name] for a name that a host must not choose: one that leads outside, or that
    some file system cannot hold. Names on this machine are as they are.
    """
    if isinstance(file.address, LocalAddress):
        return PurePosixPath(file.name)
    try:
        return safe_path(file.name)
    except AcquisitionError as error:
        raise AcquisitionError(
            "source.file_name",
            where=where,
            problem=f"the host lists a file whose name cannot be kept: {error.problem}",
            action="Fetch the file by hand and describe it as a `folder` source, or tell its publisher.",
        ) from error


def recorded_address(file: ListedFile) -> str | None:
    """The address of a file as it is written down: without secrets, and none for a file of this machine."""
    if isinstance(file.address, ObjectAddress):
        return f"{file.address.protocol}://{file.address.path}"
    return public_address(file.address.url) if isinstance(file.address, HttpAddress) else None


def _own_place(path: PurePosixPath) -> Path:
    """A folder for each folder of the host, side by side: a file may be called as another one's folder."""
    return Path(hashlib.sha256(path.parent.as_posix().encode()).hexdigest()[:8], path.name)


def _bring_in(path: Path, target: Path, *, inbox: Path) -> None:
    """A file of the inbox: a link when it is nobody else's, so that large files do not lie on the disk twice."""
    real = path.resolve()
    is_own = real == inbox.resolve() / path.relative_to(inbox) and real.stat().st_nlink == 1
    if is_own:
        link_or_copy(real, target)
    else:
        target.unlink(missing_ok=True)
        shutil.copyfile(real, target)


def remove_taken(path: Path, *, inbox: Path) -> None:
    """Take a file out of the inbox after it was taken over; what only a link leads to is somebody else's."""
    if path.parent.resolve().is_relative_to(inbox.resolve()):
        path.unlink(missing_ok=True)


def link_or_copy(source: Path, target: Path) -> None:
    """The same file at a second place; a copy where the file systems differ."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
