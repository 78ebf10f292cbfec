"""Kind `pip`: a distribution from the Python package index, fetched by the pip client, which checks the digest."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.acquired import Acquired, check_digest
from medshard.registry.acquisition.archives import unpack
from medshard.registry.schema import PipSource

TIMEOUT_S = 1800


def identity(source: PipSource, base: Path) -> dict[str, Any]:  # noqa: ARG001 (the interface of all kinds)
    return source.model_dump(mode="json", exclude={"into"})


def acquire(source: PipSource, base: Path, folder: Path) -> Acquired:  # noqa: ARG001 (the interface of all kinds)
    """Download the distribution below `folder` and unpack the selected members.

    Raises AcquisitionError: download.no_pip, download.failed, checksum.mismatch, and those of unpacking.
    """
    where = f"pip {source.package}=={source.version}"
    download = folder / "download"
    download.mkdir(parents=True)
    archive = _download(source, download, where=where)
    check_digest(archive, source.sha256, where=where)
    tree = folder / "tree"
    unpack(archive, tree, include=source.include, where=where)
    return Acquired(tree=tree, archive=archive, tools={"pip": version("pip")})


def _download(source: PipSource, folder: Path, *, where: str) -> Path:
    try:
        version("pip")
    except PackageNotFoundError:
        raise AcquisitionError(
            "download.no_pip",
            where=where,
            problem="pip is not installed in this environment",
            action="Install it: python -m ensurepip",
        ) from None
    # With --require-hashes pip compares the digest before it runs anything out of the archive. A source distribution's
    # metadata are prepared without isolation, because an isolated build would fetch build tools of its own.
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{source.package}=={source.version} --hash=sha256:{source.sha256}\n")
    form = "--no-binary" if source.form == "sdist" else "--only-binary"
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--disable-pip-version-check",
        "--no-input",
        "--no-deps",
        "--no-build-isolation",
        "--require-hashes",
        form,
        ":all:",
        "-r",
        str(requirements),
        "-d",
        str(folder),
    ]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise AcquisitionError(
            "download.timeout",
            where=where,
            problem=f"pip did not finish in {TIMEOUT_S} s",
            action="Build again: nothing is lost.",
        ) from error
    requirements.unlink()
    if run.returncode != 0:
        raise _explain(run.stdout + run.stderr, source, where=where)
    return next(path for path in sorted(folder.iterdir()) if path.is_file())


def _explain(output: str, source: PipSource, *, where: str) -> AcquisitionError:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if "DO NOT MATCH THE HASHES" in output:
        got = next((line.split()[-1] for line in lines if line.startswith("Got")), "another digest")
        return AcquisitionError(
            "checksum.mismatch",
            where=where,
            problem="the distribution is not the one that the catalog pins",
            details={"expected": f"sha256 {source.sha256}", "found": f"sha256 {got}"},
            action="If its publisher has replaced it, review the change and update the catalog.",
        )
    reason = next((line for line in lines if line.startswith("ERROR")), lines[-1] if lines else "no output")
    return AcquisitionError(
        "download.failed",
        where=where,
        problem="pip could not download the distribution",
        details={"pip says": reason},
        action="Check the network and the version, then build again.",
    )
