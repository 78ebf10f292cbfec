"""Names of cases that other tools can bear: made by rule, told apart, and kept beside what they stand for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Literal

from medshard.registry.store.digests import sha256_bytes

Alphabet = Literal["file", "key", "bids"]

# What a name must not hold. `key`: WebDataset cuts a member's name at its first point. `bids`: letters and digits only.
_UNFIT = {
    "file": re.compile(r"[^A-Za-z0-9._-]+"),
    "key": re.compile(r"[^A-Za-z0-9_-]+"),
    "bids": re.compile(r"[^A-Za-z0-9]+"),
}
_JOINT = {"file": "-", "key": "-", "bids": "x"}
_LONGEST = 80
_DIGITS = 8


def safe_names(names: Iterable[str], alphabet: Alphabet = "file") -> dict[str, str]:
    """Name -> safe name; no two are equal, also where a file system does not tell large letters from small ones.

    A name that is safe stays. One that is not, or that is another one's in other letters, gets the first digits of its
    SHA-256, so that what a case is called seldom depends on the cases beside it.
    """
    distinct = sorted(set(names))
    bare = {name: _bare(name, alphabet) for name in distinct}
    common = Counter(safe.lower() for safe in bare.values())
    return {
        name: safe if safe and safe == name and common[safe.lower()] == 1 else _told_apart(name, safe, alphabet)
        for name, safe in bare.items()
    }


def _bare(name: str, alphabet: Alphabet) -> str:
    return _UNFIT[alphabet].sub("" if alphabet == "bids" else "-", name).strip("._-")[:_LONGEST]


def _told_apart(name: str, safe: str, alphabet: Alphabet) -> str:
    digits = sha256_bytes(name.encode(errors="surrogatepass"))[:_DIGITS]
    return f"{safe}{_JOINT[alphabet]}{digits}" if safe else f"c{digits}"
