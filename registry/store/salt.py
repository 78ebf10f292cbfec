"""The store's salt: what keeps hashed ids of one store from being looked up, or matched with those of another.

A UID or a patient number has too few possible values for a bare hash: whoever has a list of candidates can hash them
all. With a secret of 32 random bytes that only this store has, nobody can without the secret.
"""

from __future__ import annotations

import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path

from medshard.errors import StoreError
from medshard.registry.store.objects import Store

SALT_BYTES = 32
SALT_FILE = "salt"
SALT_VARIABLE = "MEDSHARD_SALT"
HASH_BYTES = 16


def store_salt(store: Store) -> bytes:
    """The 32 bytes of the store's salt: from the environment (`MEDSHARD_SALT`, 64 hex digits), else from its file.

    The file is made at the first call, readable by its owner only. Of several processes that make it at the same time
    one wins, and all return its salt. Raises StoreError[salt.invalid] when what is stated is no salt.
    """
    stated = os.environ.get(SALT_VARIABLE)
    if stated:
        return _parsed(stated, where=SALT_VARIABLE)
    path = store.root / SALT_FILE
    if not path.exists():
        _make(path)
    return _parsed(path.read_text("ascii", errors="replace"), where=str(path))


def hashed(salt: bytes, value: str, *, kind: str = "id") -> str:
    """HMAC-SHA-256 of a value, cut to 16 bytes, as `kind-<32 hex digits>`; blanks around the value do not count.

    The kind goes into the hash, so that equal values of different attributes cannot be matched.
    """
    message = f"{kind}\0{value.strip()}".encode(errors="surrogatepass")
    return f"{kind}-{hmac.digest(salt, message, 'sha256')[:HASH_BYTES].hex()}"


def _make(path: Path) -> None:
    """Write a new salt aside and link it into place, which fails where there is one: it is never seen half-written."""
    draft = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(secrets.token_hex(SALT_BYTES).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _parsed(stated: str, *, where: str) -> bytes:
    try:
        salt = bytes.fromhex(stated.strip())
    except ValueError:
        salt = b""
    if len(salt) != SALT_BYTES:
        raise StoreError(
            "salt.invalid",
            where=where,
            problem=f"the salt is not {SALT_BYTES} bytes in hexadecimal digits",
            details={"expected": f"{2 * SALT_BYTES} digits", "found": f"{len(stated.strip())} characters"},
            action="Restore it. With another salt the ids that the store has hashed so far cannot be matched again.",
        )
    return salt
