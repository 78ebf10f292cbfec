"""Archives damaged at random, many times over: each is refused or unpacked as it was, and nothing lies outside.

MEDSHARD_SOAK_ARCHIVES says how many damaged archives (default 3000). docs/soak.md keeps dated results.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import shutil
import subprocess
import tarfile
import threading
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.archives import Limits, unpack

pytestmark = pytest.mark.soak

LIMITS = Limits(max_total_bytes=1 << 30, ratio_from_bytes=256 << 20)


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "tree"
    noise = random.Random(0)
    for number in range(6):
        (folder / f"case{number}").mkdir(parents=True)
        (folder / f"case{number}" / "image.nii").write_bytes(noise.randbytes(3000) + bytes(20_000))
        packed = gzip.compress(noise.randbytes(2000) + bytes(9000), mtime=0)
        (folder / f"case{number}" / "label.nii.gz").write_bytes(packed)
    return folder


def make_zip(tree: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(tree.rglob("*")):
            archive.write(file, file.relative_to(tree))


def make_tar(mode: str) -> Callable[[Path, Path], None]:
    def make(tree: Path, path: Path) -> None:
        with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
            archive.add(tree, ".")

    return make


def make_7z(tree: Path, path: Path) -> None:
    import py7zr

    with py7zr.SevenZipFile(path, "w") as archive:
        archive.writeall(tree, "")


MAKERS = {
    "a.zip": make_zip,
    "a.tar": make_tar("w"),
    "a.tar.gz": make_tar("w:gz"),
    "a.tar.xz": make_tar("w:xz"),
    "a.7z": make_7z,
}


def damaged(data: bytes, rng: random.Random) -> bytes:
    """A few bytes changed, a piece cut out, doubled or zeroed, or the end missing."""
    changed = bytearray(data)
    at = rng.randrange(len(data))
    length = rng.randint(1, 200)
    kind = rng.randrange(6)
    if kind == 0:
        return data[:at]
    if kind == 1:
        del changed[at : at + length]
    elif kind == 2:
        changed[at:at] = data[at : at + length]
    elif kind == 3:
        changed[at : at + length] = bytes(length)
    elif kind == 4:
        for _ in range(rng.randint(1, 5)):
            changed[rng.randrange(len(data))] = rng.randrange(256)
    else:
        near_end = max(len(data) - rng.randint(1, 400), 0)
        changed[near_end] ^= 1 << rng.randrange(8)
    return bytes(changed)


def test_damaged_archives_are_refused_and_never_half_unpacked(tree: Path, tmp_path: Path) -> None:
    rounds = int(os.environ.get("MEDSHARD_SOAK_ARCHIVES", "3000"))
    rng = random.Random(int(os.environ.get("MEDSHARD_SOAK_SEED", "0")))
    expected = digests(tree)
    whole = {}
    for name, make in MAKERS.items():
        make(tree, tmp_path / name)
        whole[name] = (tmp_path / name).read_bytes()
    outcomes: Counter[str] = Counter()
    target = tmp_path / "target"
    for number in range(rounds):
        name = list(MAKERS)[number % len(MAKERS)]
        (tmp_path / name).write_bytes(damaged(whole[name], rng))
        try:
            unpacked = unpack(tmp_path / name, target, where="soak", limits=LIMITS)
        except AcquisitionError as error:
            outcomes[f"{name} {error.code}"] += 1
            assert not target.exists()
            continue
        found = digests(target)
        # Tar has checksums of its headers alone: without a packing around it, changed bytes go unseen.
        if name != "a.tar" and not unpacked.damaged:
            assert all(expected.get(path, digest) == digest for path, digest in found.items())
        outcomes[f"{name} unpacked"] += 1
        shutil.rmtree(target)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(MAKERS)
    assert threading.active_count() < 10
    print(dict(sorted(outcomes.items())))  # noqa: T201


def test_unpacking_that_is_killed_leaves_only_its_own_folder(tree: Path, tmp_path: Path) -> None:
    """What a killed run leaves behind begins with a dot, and the next run is not disturbed by it."""
    import signal
    import sys
    import time

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(3000):
            archive.writestr(f"s{number % 9}/{number}.dcm", bytes(20_000))
    code = (
        "import sys; from pathlib import Path; from medshard.registry.acquisition.archives import unpack; "
        "unpack(Path(sys.argv[1]), Path(sys.argv[2]), where='soak')"
    )
    rng = random.Random(1)
    for _ in range(20):
        target = tmp_path / "target"
        command = [sys.executable, "-c", code, str(tmp_path / "a.zip"), str(target)]
        victim = subprocess.Popen(command)
        time.sleep(rng.uniform(0.2, 0.9))
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        if target.exists():
            left = {path.name for path in target.iterdir() if not path.name.startswith(".unpacking-")}
            assert left <= {f"s{number}" for number in range(9)}
        unpack(tmp_path / "a.zip", target, where="soak")
        assert sum(path.suffix == ".dcm" for path in target.glob("s*/*")) == 3000
        shutil.rmtree(target)
