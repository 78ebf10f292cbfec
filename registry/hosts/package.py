"""Kind `package`: files that an installed Python package carries; no download."""

from __future__ import annotations

import base64
from importlib.metadata import Distribution, PackageNotFoundError, PackagePath, distribution
from pathlib import Path
from typing import Literal

from medshard.errors import AcquisitionError, MissingExtraError
from medshard.registry.hosts.host import Asking, Host, ListedFile, Listing, LocalAddress
from medshard.registry.hosts.selection import require_selection, select
from medshard.registry.schema.model import Model, Sha256


class PackageSource(Model):
    """Files that an installed Python package carries. `files` pins the digest of a file where given."""

    kind: Literal["package"]
    package: str
    version: str | None = None
    include: tuple[str, ...]
    files: dict[str, Sha256] = {}
    into: str = ""


def _place(source: PackageSource) -> str:
    return f"installed Python package {source.package} {source.version or '(any version)'}"


def _list_files(source: PackageSource, asking: Asking) -> Listing:  # noqa: ARG001 (the interface of all hosts)
    """The selected files, with the digests that the package's own record states.

    Raises MissingExtraError when the package is not installed, AcquisitionError[package.version] when another version
    is, AcquisitionError[source.empty].
    """
    installed = _installed(source)
    files = tuple(
        ListedFile(
            name=str(path),
            address=LocalAddress(path=Path(str(path.locate()))),
            size=path.size,
            checksum=_recorded_digest(path),
            archive="none",
        )
        for path in _selected(source, installed)
    )
    return Listing(files=files, revision=installed.version, tools={source.package: installed.version})


def _installed(source: PackageSource) -> Distribution:
    try:
        found = distribution(source.package)
    except PackageNotFoundError:
        raise MissingExtraError(
            "package.missing",
            where=_where(source),
            problem="the package that carries the data is not installed",
            action=f"Install it: pip install {source.package}, or medshard[samples].",
        ) from None
    if source.version is not None and found.version != source.version:
        raise AcquisitionError(
            "package.version",
            where=_where(source),
            problem="another version of the package is installed",
            details={"expected": source.version, "found": found.version},
            action=f"Install it: pip install {source.package}=={source.version}",
        )
    return found


def _selected(source: PackageSource, installed: Distribution) -> list[PackagePath]:
    files = {str(path): path for path in installed.files or [] if ".." not in path.parts}
    names = select(files, source.include)
    require_selection(names, source.include, where=_where(source), seen=files)
    return [files[name] for name in names]


def _recorded_digest(path: PackagePath) -> str | None:
    """The SHA-256 of the package's record, which writes it as URL-safe base64 without padding."""
    if path.hash is None or path.hash.mode != "sha256":
        return None
    return "sha256:" + base64.urlsafe_b64decode(path.hash.value + "=" * (-len(path.hash.value) % 4)).hex()


def _where(source: PackageSource) -> str:
    return f"package {source.package}"


HOST = Host(source=PackageSource, place=_place, list_files=_list_files, local=True)
