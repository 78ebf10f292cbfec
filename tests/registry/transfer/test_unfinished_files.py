"""What lies on the disk between two calls: byte ranges, their journal, and processes that die without a word."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fault_server import FaultServer, random_bytes
from hypothesis import given
from hypothesis import strategies as st

from medshard.registry.acquisition.transfer import journal as journal_module
from medshard.registry.acquisition.transfer.download import Wanted, download
from medshard.registry.acquisition.transfer.hashing import Hashing
from medshard.registry.acquisition.transfer.journal import Content, Journal, read_journal
from medshard.registry.acquisition.transfer.part import RECORD_BYTES, Part, journal_path, part_path
from medshard.registry.acquisition.transfer.spans import Span, Spans, pieces
from medshard.registry.acquisition.transfer.web import Web

SIZE = 60
CONTENT = Content(url="https://a.org/f", size=1000, validator='"v"')
ranges = st.lists(st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).map(sorted).map(tuple), max_size=12)


@given(ranges)
def test_spans_are_a_set_of_bytes(added: list[tuple[int, int]]) -> None:
    spans, truth = Spans(), set()
    for start, end in added:
        spans.add(start, end)
        truth |= set(range(start, end))

    missing = {byte for gap in spans.gaps(SIZE) for byte in range(gap.start, gap.end)}
    assert missing == set(range(SIZE)) - truth
    assert spans.total == len(truth)
    assert spans.prefix == next((byte for byte in range(SIZE + 1) if byte not in truth), SIZE)
    assert all(end < start for end, start in zip(spans.ends, spans.starts[1:], strict=False))


@given(ranges, st.integers(1, 20))
def test_pieces_cover_the_gaps_in_order(added: list[tuple[int, int]], piece_bytes: int) -> None:
    spans = Spans()
    for start, end in added:
        spans.add(start, end)
    cut = pieces(spans.gaps(SIZE), piece_bytes)

    assert [byte for piece in cut for byte in range(piece.start, piece.end)] == [
        byte for gap in spans.gaps(SIZE) for byte in range(gap.start, gap.end)
    ]
    assert all(0 < len(piece) <= piece_bytes for piece in cut)


def written(path: Path) -> Journal:
    journal = Journal.create(path, CONTENT)
    journal.record(0, 100)
    journal.record(300, 400)
    return journal


def test_a_journal_is_read_back(tmp_path: Path) -> None:
    written(tmp_path / "j").close()

    content, done = read_journal(tmp_path / "j") or (None, Spans())

    assert content == CONTENT
    assert done.gaps(1000) == [Span(100, 300), Span(400, 1000)]


@pytest.mark.parametrize("lost", range(1, 20))
def test_a_record_that_was_cut_short_does_not_count(lost: int, tmp_path: Path) -> None:
    written(tmp_path / "j").close()
    os.truncate(tmp_path / "j", (tmp_path / "j").stat().st_size - lost)

    _, done = read_journal(tmp_path / "j") or (None, Spans())
    assert (done.starts, done.ends) == ([0], [100])


def test_records_after_a_damaged_one_do_not_count(tmp_path: Path) -> None:
    written(tmp_path / "j").close()
    data = bytearray((tmp_path / "j").read_bytes())
    data[-40] ^= 1
    (tmp_path / "j").write_bytes(data)

    _, done = read_journal(tmp_path / "j") or (None, Spans(starts=[1]))
    assert done.starts == []


@pytest.mark.parametrize("data", [b"", b"\n", b"{}\n", b"[]\n", b'{"url": 1', b"\xff\xfe"])
def test_what_is_no_journal_says_nothing(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(data)
    assert read_journal(tmp_path / "j") is None
    assert read_journal(tmp_path / "none") is None


def test_after_a_new_start_of_the_machine_only_what_was_flushed_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = written(tmp_path / "j")
    journal.mark_flushed(1)  # began before the second record
    journal.record(400, 500)
    journal.close()
    monkeypatch.setattr(journal_module, "machine_start", lambda: "a later one")

    _, done = read_journal(tmp_path / "j") or (None, Spans())
    assert (done.starts, done.ends) == ([0], [100])


@pytest.fixture
def threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1)


def test_a_journal_that_promises_more_than_the_file_has_is_not_believed(
    tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    target = tmp_path / "f"
    part_path(target).write_bytes(bytes(399))
    written(journal_path(target)).close()

    part = Part.open(target, url=CONTENT.url, where="made", threads=threads)

    assert (part.earlier, part.content) == (0, None)
    part.close()


def test_nothing_leaves_nothing(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    Part.open(tmp_path / "f", url="https://a.org/f", where="made", threads=threads).close()
    assert list(tmp_path.iterdir()) == []


def test_hardly_anything_of_a_connection_is_not_in_the_journal(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    part = Part.open(tmp_path / "f", url="https://a.org/f", where="made", threads=threads)
    part.begin(size=10 << 20, validator=None)
    with part.stretch(0) as stretch:
        for number in range(1, 100):
            stretch.write(bytes(100_000))
            known = read_journal(journal_path(tmp_path / "f"))
            assert known is not None
            assert number * 100_000 - known[1].total < RECORD_BYTES
    part.close()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("turns", range(4))
def test_hashing_ends_whenever_its_thread_does(turns: int, tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    content = random_bytes(6 << 20, seed=1)
    (tmp_path / "f").write_bytes(content)

    async def hash_in_two_steps() -> str:
        descriptor = os.open(tmp_path / "f", os.O_RDONLY)
        hashing = Hashing(descriptor, frozenset({"sha256"}), threads)
        hashing.advance(5 << 20)
        threads.submit(int).result()  # the first step is over, and the loop has not heard of it
        for _ in range(turns):
            await asyncio.sleep(0)
        digests = await hashing.finish(len(content))
        os.close(descriptor)
        return digests["sha256"]

    assert asyncio.run(hash_in_two_steps()) == hashlib.sha256(content).hexdigest()


CHILD = """
import sys
from pathlib import Path
from medshard.registry.acquisition.transfer.download import Wanted, download
from medshard.registry.acquisition.transfer.settings import TransferSettings
from medshard.registry.acquisition.transfer.web import Web
from medshard.registry.hosts.host import HttpAddress
with Web(TransferSettings(piece_bytes=2 << 20, connections_per_host=2)) as web:
    download([Wanted(name="f", address=HttpAddress(url=sys.argv[1]), target=Path(sys.argv[2]), where="made")], web)
"""


def test_processes_killed_at_random_moments_cost_little(
    server: FaultServer, web: Web, wanted: Callable[..., Wanted]
) -> None:
    content = random_bytes(40_000_000, seed=1)
    file = wanted(server.add("/f", content, bytes_per_s=20_000_000))
    rng = random.Random(2)
    kills = 3
    for _ in range(kills):
        enough = server.sent["/f"] + rng.randrange(6_000_000, 12_000_000)
        with subprocess.Popen([sys.executable, "-c", CHILD, file.address.url, str(file.target)]) as child:  # type: ignore[union-attr]
            while server.sent["/f"] < enough and child.poll() is None:
                time.sleep(0.005)
            assert child.poll() is None
            child.kill()
    known = read_journal(journal_path(file.target))
    assert known is not None
    in_sockets = 1 << 20  # sent, but not read when the process died
    assert server.sent["/f"] - known[1].total <= kills * (2 * RECORD_BYTES + in_sockets)

    server.add("/f", content)
    [fetched] = download([file], web)
    assert fetched.sha256 == hashlib.sha256(content).hexdigest()
    assert fetched.transferred == len(content) - known[1].total
