"""The salt of a store: made once, by one of many, readable by its owner only."""

from __future__ import annotations

import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from medshard.errors import StoreError
from medshard.registry.store import Store
from medshard.registry.store.salt import SALT_VARIABLE, hashed, store_salt


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.delenv(SALT_VARIABLE, raising=False)
    return Store.open(tmp_path / "store")


def test_it_is_made_once_and_kept(store: Store) -> None:
    first = store_salt(store)
    assert len(first) == 32
    assert store_salt(store) == first


def test_it_is_readable_by_its_owner_only(store: Store) -> None:
    store_salt(store)
    assert stat.S_IMODE((store.root / "salt").stat().st_mode) == 0o600


def test_two_stores_have_two_salts(store: Store, tmp_path: Path) -> None:
    assert store_salt(store) != store_salt(Store.open(tmp_path / "other"))


def test_of_those_who_make_it_at_once_all_get_the_same(store: Store) -> None:
    gate = threading.Barrier(8)

    def salt_of(_: int) -> bytes:
        gate.wait()
        return store_salt(store)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(salt_of, range(8)))) == 1
    assert [path.name for path in store.root.iterdir() if "salt" in path.name] == ["salt"]


def test_the_environment_stands_above_the_file(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SALT_VARIABLE, "ab" * 32)
    assert store_salt(store) == b"\xab" * 32
    assert not (store.root / "salt").exists()


@pytest.mark.parametrize("stated", ["secret", "ab" * 31, "ab" * 33, "zz" * 32])
def test_what_is_no_salt_is_refused_and_not_quoted(store: Store, monkeypatch: pytest.MonkeyPatch, stated: str) -> None:
    monkeypatch.setenv(SALT_VARIABLE, stated)
    with pytest.raises(StoreError, match=r"salt\.invalid") as error:
        store_salt(store)
    assert stated not in str(error.value)
    monkeypatch.delenv(SALT_VARIABLE)
    (store.root / "salt").write_text(stated)
    with pytest.raises(StoreError, match=r"salt\.invalid"):
        store_salt(store)


def test_a_hash_depends_on_salt_value_and_kind_and_on_nothing_else() -> None:
    one = hashed(b"a" * 32, "1.2.3", kind="study")
    assert one == hashed(b"a" * 32, " 1.2.3 ", kind="study")
    assert one.startswith("study-")
    assert len(one) == len("study-") + 32
    others = (hashed(b"b" * 32, "1.2.3", kind="study"), hashed(b"a" * 32, "1.2.4", kind="study"))
    assert one not in others
    assert one[-32:] != hashed(b"a" * 32, "1.2.3", kind="series")[-32:]


def test_a_hash_is_hmac_sha_256_cut_to_16_bytes() -> None:
    import hashlib
    import hmac

    expected = hmac.new(b"a" * 32, b"patient\x0042", hashlib.sha256).hexdigest()[:32]
    assert hashed(b"a" * 32, "42", kind="patient") == f"patient-{expected}"
