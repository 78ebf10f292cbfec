"""Files compared with the digests that somebody states for them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from medshard.errors import AcquisitionError


def check_files(tree: Path, expected: Mapping[str, str], *, where: str) -> None:
    """Compare files below `tree` with the SHA-256 (bare hex) that the catalog states for them."""
    for path, digest in expected.items():
        check_digest(tree / path, f"sha256:{digest}", where=where)


def check_digest(path: Path, expected: str, *, where: str) -> None:
    """Raise AcquisitionError[checksum.mismatch] when a file has not the checksum `kind:hex` that the catalog pins."""
    kind, _, digest = expected.partition(":")
    if not path.is_file():
        raise _mismatch(path, expected, "no such file", where=where)
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, kind).hexdigest()
    if found != digest:
        raise _mismatch(path, expected, f"{kind}:{found}", where=where)


def _mismatch(path: Path, expected: str, found: str, *, where: str) -> AcquisitionError:
    return AcquisitionError(
        "checksum.mismatch",
        where=where,
        problem=f"{path.name} is not the file that the catalog pins",
        details={"file": path.name, "expected": expected.replace(":", " "), "found": found.replace(":", " ")},
        action="Fetch the file again; if its publisher has replaced it, review the change and update the catalog.",
    )
