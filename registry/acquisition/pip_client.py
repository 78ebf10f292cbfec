"""A distribution from the Python package index, fetched by the pip client, which checks the digest."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from medshard.errors import AcquisitionError
from medshard.registry.hosts.host import PipAddress

TIMEOUT_S = 1800


def pip_download(address: PipAddress, target: Path) -> Path:
    """Download the distribution into the folder `target`, under the name that its publisher gave it.

    Raises AcquisitionError: download.no_pip, download.failed, download.timeout, checksum.mismatch.
    """
    with tempfile.TemporaryDirectory(dir=target) as folder:
        fetched = _download(address, Path(folder))
        return fetched.rename(target / fetched.name)


def _download(address: PipAddress, folder: Path) -> Path:
    where = f"pip {address.package}=={address.version}"
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
    requirements.write_text(f"{address.package}=={address.version} --hash=sha256:{address.sha256}\n")
    form = "--no-binary" if address.form == "sdist" else "--only-binary"
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
        run = subprocess.run(
            command, capture_output=True, encoding="utf8", errors="replace", timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise AcquisitionError(
            "download.timeout",
            where=where,
            problem=f"pip did not finish in {TIMEOUT_S} s",
            action="Build again: nothing is lost.",
        ) from error
    requirements.unlink()
    if run.returncode != 0:
        raise _explain(run.stdout + run.stderr, address, where=where)
    return next(path for path in sorted(folder.iterdir()) if path.is_file())


def _explain(output: str, address: PipAddress, *, where: str) -> AcquisitionError:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if "DO NOT MATCH THE HASHES" in output:
        got = next((line.split()[-1] for line in lines if line.startswith("Got")), "another digest")
        return AcquisitionError(
            "checksum.mismatch",
            where=where,
            problem="the distribution is not the one that the catalog pins",
            details={"expected": f"sha256 {address.sha256}", "found": f"sha256 {got}"},
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
