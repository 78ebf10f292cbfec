"""Ids of patients, studies and institutions: hashed beside the manifests, or as pseudonyms in the tables.

Hashed ids stand in files of their own, in no object and no record: their salt is the store's, so they differ from
store to store, and the data version of an entry must not.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from medshard.registry.store.digests import canonical_json, sha256_bytes
from medshard.registry.store.objects import FORMAT_VERSION, Store, check_format_version, read_json, write_atomically
from medshard.registry.store.salt import hashed, store_salt

KINDS = {
    "StudyInstanceUID": "study",
    "SeriesInstanceUID": "series",
    "FrameOfReferenceUID": "frame-of-reference",
    "PatientID": "patient",
}
"""Keyword -> how its hashed values begin. Other keywords are not written."""

PSEUDONYM_DIGITS = 8
LONGEST_NAME = 200


def write_identifiers(store: Store, entry: str, case: str, images: Mapping[str, Mapping[str, str]]) -> Path:
    """Hash the ids of one case's images and write them to `<store>/identifiers/<entry>/<case>.json`.

    images: image -> keyword -> id as its header states it. Nothing raw is written; what is hashed again gives the same
    bytes. The file is whole or not there.
    """
    salt = store_salt(store)
    document = {
        "format_version": FORMAT_VERSION,
        "images": {
            image: {
                keyword: hashed(salt, value, kind=KINDS[keyword])
                for keyword, value in sorted(stated.items())
                if keyword in KINDS and value.strip()
            }
            for image, stated in images.items()
        },
    }
    path = identifiers_path(store, entry, case)
    write_atomically(path, canonical_json(document) + b"\n")
    return path


def read_identifiers(store: Store, entry: str, case: str) -> dict[str, dict[str, str]]:
    """Image -> keyword -> hashed id of one case; empty where none were written."""
    path = identifiers_path(store, entry, case)
    if not path.exists():
        return {}
    document = read_json(path)
    check_format_version(document, where=str(path))
    return {image: dict(stated) for image, stated in document["images"].items()}


def identifiers_path(store: Store, entry: str, case: str) -> Path:
    """A case's name may hold slashes or be longer than a file name can be; then a digest stands for its end."""
    name = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in case)
    if name != case or len(name.encode()) > LONGEST_NAME or name.startswith("."):
        digest = hashlib.sha256(case.encode(errors="surrogatepass")).hexdigest()[:16]
        name = f"{name.encode(errors='replace')[:100].decode(errors='ignore').lstrip('.')}-{digest}"
    return store.root / "identifiers" / entry / f"{name}.json"


def site_pseudonym(entry: str, institution: str | None) -> str | None:
    """`site-1f2e3d4c`: equal for equal institutions of one entry, in every store; None where none is stated.

    Letter case, accents, punctuation and blanks do not count. There is no secret in it, because the table of cases is
    part of the data version and must be the same everywhere. Whoever guesses an institution can therefore test the
    guess: it hides the name from readers of a table, not from somebody who looks for it (docs/de-identification.md).
    """
    plain = unicodedata.normalize("NFKD", institution or "").casefold()
    words = "".join(letter if letter.isalnum() else " " for letter in plain if not unicodedata.combining(letter))
    name = " ".join(words.split())
    if not name:
        return None
    digest = sha256_bytes("\0".join(("medshard site", entry, name)).encode(errors="surrogatepass"))
    return f"site-{digest[:PSEUDONYM_DIGITS]}"
