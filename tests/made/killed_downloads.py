"""A build of `raw` that is killed again and again, and what was whole at each kill."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

from record_fakes import Reply, record_answers, serve
from remote_entry import Remote, zipped

ANSWER_S = 0.03
"""What each answer takes: long enough that a kill finds files under way, waiting and done."""


@dataclass(frozen=True)
class Slow:
    """Answers that take their time."""

    answers: object

    @property
    def hosts(self) -> tuple[str, ...]:
        return self.answers.hosts  # type: ignore[attr-defined, no-any-return]

    def answer(self, url: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Reply | None:
        time.sleep(ANSWER_S)
        return self.answers.answer(url, query, headers)  # type: ignore[attr-defined, no-any-return]


@dataclass(frozen=True)
class Outcome:
    """landed: kills that met a running build. whole: files that were whole at some kill. again: of those, how many were
    asked for once more. identical: whether the store came to hold exactly the files of the source."""

    kills: int
    landed: int
    whole: int
    again: tuple[str, ...]
    identical: bool


def made_files(rng: random.Random) -> dict[str, bytes]:
    """Sixty plain files and six archives."""
    plain = {f"scan-{n:02d}.nii": rng.randbytes(200_000) for n in range(60)}
    packed = {f"part-{n}.zip": zipped((f"part-{n}/mask.nii", rng.randbytes(300_000))) for n in range(6)}
    return {**plain, **packed}


def kill_builds(remote: Remote, *, kills: int, seed: int = 0) -> Outcome:
    """Kill a build at random moments, then let it finish."""
    rng = random.Random(seed)
    remote.files = made_files(rng)
    (source,) = remote.catalog.entry("remote").acquisition
    landed, whole, again = 0, set[str](), list[str]()
    with serve(Slow(record_answers(source, list(remote.files.items())))) as serving:
        command = [sys.executable, "-m", "medshard.cli", "build", "remote", "--to", "raw"]
        command += ["--root", str(remote.root / "store")]
        environment = {
            **os.environ,
            "MEDSHARD_CATALOG": str(remote.root / "catalog.yaml"),
            "MEDSHARD_MIRRORS": " ".join(f"{asked}={instead}" for asked, instead in serving.mirrors.items()),
            "MEDSHARD_ACCEPT_LICENCE": "remote",
        }
        for _ in range(kills):
            serving.requests.clear()
            victim = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _wait_for_work(victim, remote)
            time.sleep(rng.uniform(0, 0.6))
            landed += victim.poll() is None
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            again += [name for name in whole if any(_asks_for(url, name) for url, _ in serving.requests)]
            whole |= {path.name.removesuffix(".done.json") for path in remote.root.rglob("*.done.json")}
        serving.requests.clear()
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120)
        again += [name for name in whole if any(_asks_for(url, name) for url, _ in serving.requests)]
        result = remote.build(serving)
    found = {path: remote.raw_file(result, path).read_bytes() for path in remote.manifest(result)}
    return Outcome(
        kills=kills, landed=landed, whole=len(whole), again=tuple(again), identical=found == _expected(remote.files)
    )


def _wait_for_work(victim: subprocess.Popen[bytes], remote: Remote) -> None:
    """Until the build has its folder for unfinished work, or ends."""
    folder = remote.root / "store" / "downloads"
    deadline = time.monotonic() + 20
    while victim.poll() is None and time.monotonic() < deadline and not folder.is_dir():
        time.sleep(0.01)
    time.sleep(0.3 if folder.is_dir() else 0)


def _asks_for(url: str, name: str) -> bool:
    return f"/{name}" in url and "/files/" in url


def _expected(files: Mapping[str, bytes]) -> dict[str, bytes]:
    import io

    expected = {name: data for name, data in files.items() if not name.endswith(".zip")}
    for name, data in files.items():
        if name.endswith(".zip"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                expected |= {member: archive.read(member) for member in archive.namelist()}
    return expected
