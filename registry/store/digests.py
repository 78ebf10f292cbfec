"""SHA-256 digests of files, trees and JSON documents."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from medshard.errors import StoreError

BLOCK_BYTES = 1 << 20


def sha256_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def canonical_json(document: Any) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces, so that equal documents have equal bytes.

    File names that are not UTF-8 (lone surrogates in Python) keep their bytes' identity, and `json.loads` reads them
    back. Raises ValueError for NaN and infinities, which JSON does not have.
    """
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode(errors="surrogatepass")


def sha256_json(document: Any) -> str:
    return sha256_bytes(canonical_json(document))


def tree_files(folder: Path) -> Iterable[Path]:
    """All files below a folder, sorted by their path as posix text."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(files, key=lambda path: path.relative_to(folder).as_posix())


def tree_listing(folder: Path, known: Mapping[str, str] | None = None) -> bytes:
    """One line `sha256 size path` per file, sorted by path: the text whose digest names a tree object.

    known: path -> SHA-256 of files that need not be read again.
    Raises StoreError for a file name with a line break, which such a list cannot hold.
    """
    lines = []
    for path in tree_files(folder):
        name = path.relative_to(folder).as_posix()
        if "\n" in name:
            raise StoreError(
                "object.file_name",
                where=repr(name),
                problem="a file name with a line break cannot be kept in the store",
                action="Rename the file at its source.",
            )
        digest = (known or {}).get(name) or sha256_file(path)
        lines.append(f"{digest} {path.stat().st_size} {name}\n")
    return os.fsencode("".join(lines))
