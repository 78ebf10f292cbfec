"""Kind `package`: files that an installed Python package carries; no download."""

from __future__ import annotations

import base64
import hashlib
import shutil
from importlib.metadata import Distribution, PackageNotFoundError, PackagePath, distribution
from pathlib import Path
from typing import Any

from medshard.errors import AcquisitionError, MissingExtraError
from medshard.registry.acquisition.acquired import Acquired, check_files, require_selection, select
from medshard.registry.schema import PackageSource


def identity(source: PackageSource, base: Path) -> dict[str, Any]:  # noqa: ARG001 (the interface of all kinds)
    """The installed version and the digests that the package's own record states, not the catalog entry alone."""
    installed = _installed(source)
    files = _selected(source, installed)
    recorded = {str(path): path.hash.value if path.hash else None for path in files}
    return {**source.model_dump(mode="json", exclude={"into"}), "version": installed.version, "recorded": recorded}


def acquire(source: PackageSource, base: Path, folder: Path) -> Acquired:  # noqa: ARG001 (the interface of all kinds)
    """Copy the selected files out of the installed package, each checked against the package's own record.

    Raises MissingExtraError, AcquisitionError (package.version, package.modified, source.empty, checksum.mismatch).
    """
    installed = _installed(source)
    tree = folder / "tree"
    for path in _selected(source, installed):
        target = tree / str(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(str(path.locate()), target)
        _check_recorded(target, path, where=_where(source))
    check_files(tree, source.files, where=_where(source))
    return Acquired(tree=tree, tools={source.package: installed.version})


def _where(source: PackageSource) -> str:
    return f"package {source.package}"


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


def _check_recorded(path: Path, recorded: PackagePath, *, where: str) -> None:
    if recorded.hash is None:
        return
    digest = hashlib.new(recorded.hash.mode, path.read_bytes()).digest()
    found = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    if found != recorded.hash.value:
        raise AcquisitionError(
            "package.modified",
            where=where,
            problem=f"{recorded} was changed after the package was installed",
            details={"expected": recorded.hash.value, "found": found},
            action="Reinstall the package: pip install --force-reinstall",
        )
