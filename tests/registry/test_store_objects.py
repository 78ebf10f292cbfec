"""Objects: named by their bytes, published whole or not at all, verified file by file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medshard.errors import StoreError
from medshard.registry.store import ObjectRef, Store
from medshard.registry.store.digests import canonical_json, sha256_bytes, tree_listing


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def tree(store: Store, files: dict[str, bytes]) -> ObjectRef:
    with store.scratch() as scratch:
        for name, data in files.items():
            path = scratch / "tree" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return store.publish_tree(scratch / "tree", ".zarr")


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


# --- opening


def test_a_store_opens_again_by_path_and_by_file_url(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "my store")
    assert Store.open(str(tmp_path / "my store"), create=False) == store
    assert Store.open((tmp_path / "my store").as_uri(), create=False) == store


def test_a_file_of_the_store_leads_back_to_it(store: Store, tmp_path: Path) -> None:
    assert Store.containing(store.path(store.publish_bytes(b"voxels", ".bin"))) == store
    assert Store.containing(tmp_path / "elsewhere.zip") is None


def test_a_folder_with_other_files_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(StoreError, match=r"store\.not_a_store"):
        Store.open(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_store_whose_creation_was_killed_can_be_created_again(tmp_path: Path) -> None:
    (tmp_path / ".store.json.host.1.1-abcd.tmp").write_bytes(b"{")
    assert Store.open(tmp_path).root == tmp_path.resolve()


def test_a_missing_store_is_not_created_by_a_reader(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"store\.missing"):
        Store.open(tmp_path / "store", create=False)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("url", ["s3://bucket/store", "gs://bucket/store", "nonsense://store"])
def test_what_is_not_a_local_folder_is_refused_whatever_is_installed(url: str) -> None:
    with pytest.raises(StoreError, match=r"store\.scheme"):
        Store.open(url)


def test_a_store_of_a_newer_format_is_refused(store: Store) -> None:
    (store.root / "store.json").write_bytes(canonical_json({"format_version": 2}))
    with pytest.raises(StoreError, match=r"store\.format_version") as refusal:
        Store.open(store.root)
    assert refusal.value.details == {"expected": "1", "found": "2"}


def test_a_damaged_marker_is_named(store: Store) -> None:
    (store.root / "store.json").write_bytes(b"{")
    with pytest.raises(StoreError, match=r"store\.unreadable.*store\.json"):
        Store.open(store.root)


# --- names


def test_the_same_bytes_have_the_same_name_however_they_come(store: Store) -> None:
    first = store.publish_bytes(b"voxels", ".bin")
    with store.scratch() as scratch:
        (scratch / "draft").write_bytes(b"voxels")
        second = store.publish_file(scratch / "draft", ".bin")
    assert first == second
    assert first.digest == sha256_bytes(b"voxels")
    assert store.read_bytes(first) == b"voxels"
    assert len(list(store.path(first).parent.iterdir())) == 1


def test_a_tree_is_named_by_its_files_and_not_by_the_order_or_time_they_were_written(store: Store) -> None:
    files = {"zarr.json": b"{}", "ct/c/0": b"voxels", "ct/zarr.json": b"{1}"}
    assert tree(store, files) == tree(store, dict(reversed(files.items())))
    assert tree(store, files) != tree(store, {**files, "ct/c/0": b"voxelz"})
    assert tree(store, files) != tree(store, {**files, "ct/c/1": b""})


NAMES = st.text(st.characters(exclude_characters="/\0\n", exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda name: name not in (".", "..") and len(name.encode()) <= 200
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.dictionaries(NAMES, st.binary(max_size=8), max_size=4))
def test_a_listing_gives_back_every_name_and_size(store: Store, files: dict[str, bytes]) -> None:
    ref = tree(store, {"always": b"", **files})
    rows = {row.path: (row.size, row.sha256) for row in store.tree_files(ref)}
    assert rows == {name: (len(data), sha256_bytes(data)) for name, data in {"always": b"", **files}.items()}
    store.verify(ref)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_file_name_that_is_not_utf_8_is_kept(store: Store) -> None:
    name = os.fsdecode(b"L\xf6we.dcm")
    ref = tree(store, {name: b"DICM"})
    assert [row.path for row in store.tree_files(ref)] == [name]
    store.verify(ref)


def test_a_file_name_with_a_line_break_is_refused(tmp_path: Path) -> None:
    (tmp_path / "two\nlines").touch()
    with pytest.raises(StoreError, match=r"object\.file_name"):
        tree_listing(tmp_path)


@pytest.mark.parametrize("document", [float("nan"), [float("inf")]], ids=str)
def test_numbers_that_json_does_not_have_are_refused(document: object) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json(document)


# --- verification


def test_untouched_objects_verify(store: Store) -> None:
    for ref in (store.publish_bytes(b"voxels", ".bin"), tree(store, {"zarr.json": b"{}", "c/0": b"voxels"})):
        store.verify(ref)
        assert store.has(ref)


def test_a_flipped_bit_in_a_file_is_found(store: Store) -> None:
    ref = store.publish_bytes(b"voxels", ".bin")
    flip_a_bit(store.path(ref))
    with pytest.raises(StoreError, match=r"object\.corrupt") as damage:
        store.verify(ref)
    assert damage.value.where == str(store.path(ref))


@pytest.mark.parametrize("member", ["zarr.json", "ct/c/0"])
def test_a_flipped_bit_in_a_tree_names_the_member(store: Store, member: str) -> None:
    ref = tree(store, {"zarr.json": b"{}", "ct/c/0": b"voxels"})
    flip_a_bit(store.path(ref) / member)
    with pytest.raises(StoreError, match=r"object\.corrupt") as damage:
        store.verify(ref)
    assert damage.value.where == str(store.path(ref) / member)


def test_a_member_that_is_gone_or_was_added_is_named(store: Store) -> None:
    ref = tree(store, {"zarr.json": b"{}", "ct/c/0": b"voxels"})
    extra = store.path(ref) / "ct/c/1"
    extra.write_bytes(b"voxels")
    with pytest.raises(StoreError, match=r"object\.corrupt") as damage:
        store.verify(ref)
    assert damage.value.where == str(extra)
    extra.unlink()
    (store.path(ref) / "ct/c/0").unlink()
    with pytest.raises(StoreError, match="no such file"):
        store.verify(ref)


def test_a_flipped_bit_in_a_listing_is_found(store: Store) -> None:
    ref = tree(store, {"zarr.json": b"{}"})
    (listing,) = store.path(ref).parent.glob("*.listing")
    flip_a_bit(listing)
    with pytest.raises(StoreError, match=r"object\.corrupt.*\.listing"):
        store.verify(ref)


def test_a_missing_object_is_named(store: Store) -> None:
    ref = store.publish_bytes(b"voxels", ".bin")
    store.path(ref).unlink()
    assert not store.has(ref)
    for read in (store.verify, store.read_bytes):
        with pytest.raises(StoreError, match=r"object\.missing"):
            read(ref)


# --- publishing whole or not at all

# Forks once for every system call that publishing makes, and kills the fork just before that call or, for a write,
# in the middle of it. Prints what can then be seen under a name that is not its digest, and last the number of kills.
KILLED_AT_EVERY_STEP = """
import io, os, signal, sys
from medshard.registry.store import Store
from medshard.registry.store.digests import sha256_bytes, sha256_file, tree_listing

store = Store.open(sys.argv[1])
real_open = io.open
steps = 0

def step(fatal):
    global steps
    steps += 1
    if steps == fatal:
        os.kill(os.getpid(), signal.SIGKILL)

def watched(call, fatal):
    def wrapper(*args, **kwargs):
        step(fatal)
        return call(*args, **kwargs)
    return wrapper

class TornStream:
    def __init__(self, stream, fatal):
        self.stream, self.fatal = stream, fatal
    def __enter__(self):
        return self
    def __exit__(self, *error):
        self.stream.close()
    def __getattr__(self, name):
        return getattr(self.stream, name)
    def write(self, data):
        self.stream.write(data[: len(data) // 2])
        self.stream.flush()
        step(self.fatal)
        self.stream.write(data[len(data) // 2 :])

def opened(fatal):
    def wrapper(path, mode="r", *args, **kwargs):
        stream = real_open(path, mode, *args, **kwargs)
        return TornStream(stream, fatal) if "w" in mode else stream
    return wrapper

def prepare():
    scratch = store.root / "scratch" / f"test-{os.getpid()}"
    (scratch / "tree" / "ct").mkdir(parents=True)
    (scratch / "file").write_bytes(b"f" * 100_000)
    for name in ("zarr.json", "ct/0", "ct/1"):
        (scratch / "tree" / name).write_bytes(name.encode() * 10_000)
    return scratch

def publish(scratch):
    store.publish_bytes(b"b" * 100_000, ".bin")
    store.publish_file(scratch / "file", ".zip")
    store.publish_tree(scratch / "tree", ".zarr")

def digest(path):
    return sha256_bytes(tree_listing(path)) if path.is_dir() else sha256_file(path)

kills, killed = 0, True
while killed:
    pid = os.fork()
    if pid == 0:
        scratch = prepare()
        for name in ("fsync", "open", "rename", "replace", "mkdir", "unlink"):
            setattr(os, name, watched(getattr(os, name), kills + 1))
        io.open = opened(kills + 1)
        publish(scratch)
        os._exit(0)
    killed = os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    kills += killed
    for path in (store.root / "objects").glob("*/*"):
        if not path.name.startswith(".") and path.name.partition(".")[0] != digest(path):
            print("partial", path)
print(kills)
"""


def test_a_kill_at_any_step_of_publishing_leaves_no_partial_object(store: Store) -> None:
    command = [sys.executable, "-c", KILLED_AT_EVERY_STEP, str(store.root)]
    *partial, kills = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert partial == []
    assert int(kills) >= 12
    visible = (path for path in (store.root / "objects").glob("*/*") if not path.name.startswith("."))
    assert sorted(path.suffix for path in visible) == [".bin", ".listing", ".zarr", ".zip"]


# --- scratch


def test_scratch_is_removed_at_the_end_also_after_an_error(store: Store) -> None:
    def fail() -> None:
        with store.scratch() as scratch:
            (scratch / "half").write_bytes(b"vox")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list((store.root / "scratch").iterdir()) == []


DIES_IN_SCRATCH = """
import os, sys
from medshard.registry.store import Store

with Store.open(sys.argv[1]).scratch():
    os._exit(1)
"""


def test_scratch_of_dead_processes_is_swept_and_that_of_living_ones_stays(store: Store) -> None:
    subprocess.run([sys.executable, "-c", DIES_IN_SCRATCH, str(store.root)], check=False)
    elsewhere = store.root / "scratch" / "another_host.1.1-abcd"
    elsewhere.mkdir()
    with store.scratch() as mine:
        assert len(list((store.root / "scratch").iterdir())) == 3
        store.sweep_scratch()
        assert sorted((store.root / "scratch").iterdir()) == sorted([elsewhere, mine])
