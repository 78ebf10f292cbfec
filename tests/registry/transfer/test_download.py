"""Downloads over a network that fails: whole and right in the end, or an error that says why and keeps the rest."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from fault_server import (
    HASTY,
    Change,
    Cut,
    FaultServer,
    NoRange,
    Request,
    Stall,
    Status,
    Trickle,
    WrongLength,
    WrongRange,
    random_bytes,
)

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.transfer import disk_space
from medshard.registry.acquisition.transfer import part as part_module
from medshard.registry.acquisition.transfer.download import Wanted, download
from medshard.registry.acquisition.transfer.journal import read_journal
from medshard.registry.acquisition.transfer.part import journal_path, part_path
from medshard.registry.acquisition.transfer.sidecar import sidecar_path
from medshard.registry.acquisition.transfer.web import Web

SMALL = random_bytes(300_000, seed=1)  # comes in one request
LARGE = random_bytes(3_000_000, seed=2)  # comes in pieces
Make = Callable[..., Wanted]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def failure(wanted: Wanted, web: Web) -> AcquisitionError:
    with pytest.raises(AcquisitionError) as caught:
        download([wanted], web)
    assert caught.value.where == "made"
    return caught.value


@pytest.mark.parametrize("content", [b"", b"x", SMALL, LARGE], ids=["empty", "one byte", "small", "large"])
@pytest.mark.parametrize("size_is_stated", [True, False])
def test_a_file_comes_whole(content: bytes, size_is_stated: bool, server: FaultServer, web: Web, wanted: Make) -> None:
    file = wanted(server.add("/a", content), size=len(content) if size_is_stated else None)

    [fetched] = download([file], web)

    assert fetched.path.read_bytes() == content
    assert (fetched.size, fetched.sha256, fetched.transferred) == (len(content), sha256(content), len(content))
    assert fetched.url == server.url("/a")
    assert fetched.validator == '"first"' or not content
    assert sorted(path.name for path in fetched.path.parent.iterdir()) == ["scans.bin", "scans.bin.done.json"]


def test_a_second_call_asks_nobody_and_reads_nothing(
    server: FaultServer, web: Web, wanted: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = wanted(server.add("/a", SMALL), checksum=f"sha256:{sha256(SMALL)}")
    first = download([file], web)[0]
    requests = len(server.requests)
    monkeypatch.setattr(hashlib, "file_digest", None)

    [again] = download([file], web)

    assert len(server.requests) == requests
    assert (again.transferred, again.attempts) == (0, 0)
    assert (again.sha256, again.size, again.validator) == (first.sha256, first.size, first.validator)


def test_a_finished_file_that_was_changed_is_fetched_again(server: FaultServer, web: Web, wanted: Make) -> None:
    file = wanted(server.add("/a", SMALL))
    download([file], web)
    file.target.write_bytes(b"changed")

    assert download([file], web)[0].path.read_bytes() == SMALL


def test_a_newly_stated_checksum_is_compared_with_the_file_that_is_here(
    server: FaultServer, web: Web, wanted: Make
) -> None:
    file = wanted(server.add("/a", SMALL))
    download([file], web)
    requests = len(server.requests)

    download([replace(file, checksum=f"md5:{hashlib.md5(SMALL).hexdigest()}")], web)
    assert len(server.requests) == requests

    assert failure(replace(file, checksum="md5:" + "0" * 32), web).code == "checksum.mismatch"


def test_a_file_of_another_address_is_not_taken_for_the_wanted_one(server: FaultServer, web: Web, wanted: Make) -> None:
    download([wanted(server.add("/version-1", SMALL))], web)

    assert download([wanted(server.add("/version-2", LARGE))], web)[0].path.read_bytes() == LARGE


def test_after_a_new_start_of_the_machine_a_finished_file_is_hashed_once(
    server: FaultServer, web: Web, wanted: Make
) -> None:
    file = wanted(server.add("/a", SMALL))
    download([file], web)
    record = json.loads(sidecar_path(file.target).read_text())
    sidecar_path(file.target).write_text(json.dumps({**record, "machine_start": "an earlier one"}))
    stat = file.target.stat()
    file.target.write_bytes(bytes(len(SMALL)))  # what a power cut can leave: the length is right
    os.utime(file.target, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    assert download([file], web)[0].path.read_bytes() == SMALL


@pytest.mark.parametrize("kind", ["sha256", "sha1", "md5"])
def test_checksums_are_compared(kind: str, server: FaultServer, web: Web, wanted: Make) -> None:
    right = hashlib.new(kind, LARGE).hexdigest()
    url = server.add("/a", LARGE)

    download([wanted(url, name="right", checksum=f"{kind}:{right.upper()}")], web)
    error = failure(wanted(url, name="wrong", checksum=f"{kind}:{'0' * len(right)}"), web)

    assert error.code == "checksum.mismatch"
    assert (error.details["expected"], error.details["found"]) == (f"{kind}:{'0' * len(right)}", f"{kind}:{right}")


def test_a_wrong_checksum_of_bytes_of_this_call_is_believed_at_once(
    server: FaultServer, web: Web, wanted: Make
) -> None:
    file = wanted(server.add("/a", SMALL), size=len(SMALL), checksum="sha256:" + "0" * 64)

    assert failure(file, web).code == "checksum.mismatch"

    assert server.sent["/a"] == len(SMALL)
    assert list(file.target.parent.iterdir()) == []


def test_thirty_random_cuts_cost_at_most_two_per_cent(server: FaultServer, web: Web, wanted: Make) -> None:
    content = random_bytes(20_000_000, seed=3)
    rng = random.Random(4)
    url = server.add("/a", content, cuts=[rng.randrange(len(content)) for _ in range(30)])

    [fetched] = download([wanted(url, checksum=f"sha256:{sha256(content)}")], web)

    assert len([request for request in server.requests if request.range]) >= 30
    assert server.sent["/a"] <= 1.02 * len(content)
    assert fetched.path.read_bytes() == content


def test_a_large_file_comes_over_several_connections_but_not_more_than_allowed(
    server: FaultServer, wanted: Make
) -> None:
    url = server.add("/a", LARGE, bytes_per_s=4_000_000)
    with Web(replace(HASTY, connections_per_host=3)) as web:
        download([wanted(url)], web)

    assert server.most_open["/a"] == 3


def test_files_of_one_host_share_its_connections(server: FaultServer, wanted: Make) -> None:
    open_now, most = 0, 0
    lock = threading.Lock()

    def answer(request: Request) -> tuple[int, dict[str, str], bytes]:
        nonlocal open_now, most
        with lock:
            open_now += 1
            most = max(most, open_now)
        time.sleep(0.02)
        with lock:
            open_now -= 1
        return 200, {}, request.path.encode()

    files = [wanted(server.answer(f"/{number}", answer), name=f"{number}.txt", size=2) for number in range(10)]
    with Web(replace(HASTY, connections_per_host=2)) as web:
        fetched = download(files, web)

    assert most == 2
    assert [file.path.read_text() for file in fetched] == [f"/{number}" for number in range(10)]


def test_a_resumed_request_names_the_state_of_the_file(server: FaultServer, web: Web, wanted: Make) -> None:
    download([wanted(server.add("/a", SMALL, faults=[Cut(100_000)]), size=len(SMALL))], web)

    first, second = server.requests
    assert first.range is None
    assert second.range == f"bytes=100000-{len(SMALL) - 1}"
    assert second.headers["if-range"] == '"first"'


def test_a_weak_etag_is_not_sent_as_a_condition(server: FaultServer, web: Web, wanted: Make) -> None:
    url = server.add("/a", SMALL, faults=[Cut(100_000)], etag='W/"weak"')
    download([wanted(url, size=len(SMALL))], web)

    assert "if-range" not in server.requests[1].headers
    assert server.sent["/a"] == len(SMALL)


def test_the_date_of_change_serves_where_there_is_no_etag(server: FaultServer, web: Web, wanted: Make) -> None:
    date = "Tue, 03 Nov 2026 10:00:00 GMT"
    url = server.add("/a", SMALL, faults=[Cut(100_000)], etag=None, last_modified=date)

    [fetched] = download([wanted(url, size=len(SMALL))], web)

    assert server.requests[1].headers["if-range"] == date
    assert fetched.validator == date


@pytest.mark.parametrize("fault", [Stall(50_000), Trickle(50_000, bytes_per_s=50)], ids=["stall", "trickle"])
def test_a_connection_that_gives_next_to_nothing_is_replaced(
    fault: Stall | Trickle, server: FaultServer, web: Web, wanted: Make
) -> None:
    [fetched] = download([wanted(server.add("/a", SMALL, faults=[fault]), size=len(SMALL))], web)

    assert fetched.sha256 == sha256(SMALL)
    assert int((server.requests[1].range or "=0").partition("=")[2].split("-")[0]) >= 50_000


def test_a_wrong_range_is_never_written(server: FaultServer, web: Web, wanted: Make) -> None:
    [fetched] = download([wanted(server.add("/a", LARGE, faults=[None, WrongRange(), None, WrongRange(7)]))], web)

    assert fetched.sha256 == sha256(LARGE)


def test_a_server_that_only_sends_wrong_ranges_is_asked_for_the_whole(
    server: FaultServer, web: Web, wanted: Make
) -> None:
    url = server.add("/a", LARGE, faults=[WrongRange()] * 3)

    [fetched] = download([wanted(url)], web)

    assert fetched.sha256 == sha256(LARGE)
    assert server.requests[-1].range is None


def test_a_server_without_ranges_is_heard_from_the_beginning(server: FaultServer, web: Web, wanted: Make) -> None:
    url = server.add("/a", LARGE, ranges=False, faults=[Cut(1_000_000), Cut(2_000_000)])

    [fetched] = download([wanted(url)], web)

    assert fetched.sha256 == sha256(LARGE)


def test_a_server_without_ranges_sends_a_file_once_when_nothing_is_cut(
    server: FaultServer, web: Web, wanted: Make
) -> None:
    download([wanted(server.add("/a", LARGE, ranges=False))], web)

    assert server.sent["/a"] == len(LARGE)


def test_an_archive_that_is_packed_anew_is_never_asked_for_a_range(server: FaultServer, web: Web, wanted: Make) -> None:
    url = server.add("/a", LARGE, chunked=True, ranges=False, etag=None, faults=[Cut(1_000_000), Cut(1_500_000)])

    [fetched] = download([wanted(url, ranges=False)], web)

    assert fetched.sha256 == sha256(LARGE)
    assert all(request.range is None for request in server.requests)


def test_a_server_that_always_cuts_at_the_same_place_is_given_up(server: FaultServer, web: Web, wanted: Make) -> None:
    url = server.add("/a", LARGE, ranges=False, faults=[Cut(1_000_000)] * 50)

    error = failure(wanted(url, ranges=False), web)

    assert error.code == "host.unreachable"
    assert len(server.requests) == HASTY.attempts


def test_a_range_that_is_answered_with_the_whole_begins_the_file_anew(
    server: FaultServer, web: Web, wanted: Make
) -> None:
    url = server.add("/a", SMALL, faults=[Cut(100_000), NoRange()])

    assert download([wanted(url, size=len(SMALL))], web)[0].sha256 == sha256(SMALL)


def test_a_file_that_changes_on_the_way_is_begun_anew(server: FaultServer, web: Web, wanted: Make) -> None:
    other = random_bytes(len(LARGE), seed=5)

    [fetched] = download([wanted(server.add("/a", LARGE, faults=[None, None, Change(other, '"second"')]))], web)

    assert (fetched.sha256, fetched.validator) == (sha256(other), '"second"')


def test_a_change_of_size_shows_without_an_etag(server: FaultServer, web: Web, wanted: Make) -> None:
    other = random_bytes(len(LARGE) + 1, seed=5)

    [fetched] = download([wanted(server.add("/a", LARGE, etag=None, faults=[None, None, Change(other, None)]))], web)

    assert fetched.sha256 == sha256(other)


def test_a_change_that_nothing_shows_is_found_by_the_checksum(server: FaultServer, web: Web, wanted: Make) -> None:
    other = random_bytes(len(LARGE), seed=5)
    url = server.add("/a", LARGE, etag=None, faults=[None, None, Change(other, None)])

    [fetched] = download([wanted(url, checksum=f"sha256:{sha256(other)}")], web)

    assert fetched.path.read_bytes() == other


def test_a_file_that_changes_twice_is_an_error(server: FaultServer, web: Web, wanted: Make) -> None:
    changes = [Change(random_bytes(len(LARGE), seed=seed), f'"{seed}"') for seed in range(60)]

    error = failure(wanted(server.add("/a", LARGE, faults=changes)), web)

    assert error.code == "download.changing"


@pytest.mark.parametrize("by", [-1000, 1000], ids=["short", "long"])
def test_a_length_that_is_not_the_stated_size_is_an_error(by: int, server: FaultServer, web: Web, wanted: Make) -> None:
    error = failure(wanted(server.add("/a", SMALL, faults=[WrongLength(by)] * 9), size=len(SMALL)), web)

    assert error.code == "download.size"
    assert error.details["expected"] == f"{len(SMALL):,} bytes"
    assert error.details["found"] == f"{len(SMALL) + by:,} bytes"


def test_a_server_that_promises_more_than_it_has_is_found_out(server: FaultServer, web: Web, wanted: Make) -> None:
    url = server.add("/a", SMALL, faults=[WrongLength(1000)], etag=None)

    error = failure(wanted(url, size=len(SMALL) + 1000), web)

    assert error.code == "download.size"


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 202])
def test_statuses_that_pass_are_tried_again(status: int, server: FaultServer, web: Web, wanted: Make) -> None:
    [fetched] = download([wanted(server.add("/a", SMALL, faults=[Status(status)] * 3))], web)

    assert (fetched.sha256, fetched.attempts) == (sha256(SMALL), 4)


def test_retry_after_in_seconds_pauses_all_transfers_of_the_host(server: FaultServer, web: Web, wanted: Make) -> None:
    times: list[float] = []

    def answer(request: Request) -> tuple[int, dict[str, str], bytes]:
        times.append(time.monotonic())
        return (503, {"Retry-After": "1"}, b"") if len(times) == 1 else (200, {}, b"ok")

    url = server.answer("/a", answer)
    download([wanted(url, name="a", size=2)], web)
    assert times[1] - times[0] >= 0.95


def test_retry_after_may_be_a_date(server: FaultServer, web: Web, wanted: Make) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(days=2), usegmt=True)

    error = failure(wanted(server.add("/a", SMALL, faults=[Status(429, {"Retry-After": date})])), web)

    assert error.code == "host.busy"
    assert error.details["not before"].startswith(f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%d}")


def test_too_long_a_pause_is_an_error_that_says_when_to_come_back(server: FaultServer, web: Web, wanted: Make) -> None:
    error = failure(wanted(server.add("/a", SMALL, faults=[Status(503, {"Retry-After": "7200"})])), web)

    assert error.code == "host.busy"
    assert error.details["not before"].endswith("UTC")


def test_patience_ends_and_what_has_come_is_kept(server: FaultServer, web: Web, wanted: Make) -> None:
    url = server.add("/a", SMALL, faults=[Cut(100_000), *[Status(503)] * 4])
    file = wanted(url, size=len(SMALL))

    error = failure(file, web)
    assert error.code == "host.unreachable"
    assert error.details["last"] == "status 503"
    assert error.details["kept"] == f"100,000 of {len(SMALL):,} bytes"

    [fetched] = download([file], web)
    assert fetched.transferred == len(SMALL) - 100_000
    assert fetched.sha256 == sha256(SMALL)


@pytest.mark.parametrize(
    ("status", "code"), [(401, "host.refused"), (403, "host.refused"), (404, "host.gone"), (410, "host.gone"),
                         (400, "host.answer"), (204, "host.answer")],
)  # fmt: skip
def test_statuses_that_stay_are_errors_at_once(
    status: int, code: str, server: FaultServer, web: Web, wanted: Make
) -> None:
    body = b"" if status == 204 else b"<html><title>Access &amp; terms</title></html>"
    error = failure(wanted(server.add("/a", SMALL, faults=[Status(status, {}, body)])), web)

    assert error.code == code
    assert error.details["status"] == str(status)
    if body:
        assert error.details["it says"] == "Access & terms"
    assert len(server.requests) == 1


def test_nobody_there_is_an_error_after_all_tries(web: Web, wanted: Make) -> None:
    error = failure(wanted("http://127.0.0.1:1/a"), web)

    assert error.code == "host.unreachable"
    assert "refused" in error.details["last"]


def test_when_one_file_fails_the_others_stop_and_go_on_later(server: FaultServer, web: Web, wanted: Make) -> None:
    slow = wanted(server.add("/slow", LARGE, bytes_per_s=2_000_000), name="slow")
    missing = wanted(server.url("/missing"), name="missing")

    with pytest.raises(AcquisitionError) as caught:
        download([slow, missing], web)
    assert caught.value.code == "host.gone"

    [fetched] = download([slow], web)
    assert fetched.sha256 == sha256(LARGE)
    assert server.sent["/slow"] < 2 * len(LARGE)


def test_two_processes_do_not_write_one_file(server: FaultServer, web: Web, wanted: Make) -> None:
    url = server.add("/a", SMALL)

    with pytest.raises(AcquisitionError) as caught:
        download([wanted(url), wanted(url)], web)

    assert caught.value.code == "download.busy"


def test_space_is_checked_before_the_first_byte(
    server: FaultServer, web: Web, wanted: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = disk_space.shutil.disk_usage("/")._replace(free=len(SMALL))
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _: free)

    error = failure(wanted(server.add("/a", SMALL), size=len(SMALL)), web)

    assert error.code == "disk.full"
    assert error.details["needed"] == f"{int(len(SMALL) * 1.05):,} bytes"
    assert error.details["free"] == f"{len(SMALL):,} bytes"
    assert server.requests == []


def test_space_is_checked_when_only_the_host_knows_the_size(
    server: FaultServer, web: Web, wanted: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = disk_space.shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _: free)

    assert failure(wanted(server.add("/a", SMALL)), web).code == "disk.full"


def test_a_disk_that_fills_up_keeps_what_is_there(
    server: FaultServer, web: Web, wanted: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.pwrite

    def full(descriptor: int, data: bytes, offset: int) -> int:
        if offset >= 100_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[: 100_000 - offset], offset)

    file = wanted(server.add("/a", SMALL), size=len(SMALL))
    with monkeypatch.context() as patch:
        patch.setattr(part_module.os, "pwrite", full)
        assert failure(file, web).code == "disk.full"

    assert download([file], web)[0].sha256 == sha256(SMALL)


def test_an_interrupt_leaves_a_state_that_the_next_call_goes_on_with(
    server: FaultServer, web: Web, wanted: Make
) -> None:
    file = wanted(server.add("/a", LARGE, bytes_per_s=400_000))

    def interrupt() -> None:
        while server.sent["/a"] < 1_000_000:
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        download([file], web)
    thread.join()

    known = read_journal(journal_path(file.target))
    assert known is not None
    kept = known[1].total
    assert kept >= 500_000
    server.add("/a", LARGE)
    [fetched] = download([file], web)
    assert fetched.transferred == len(LARGE) - kept
    assert fetched.sha256 == sha256(LARGE)


def test_bytes_of_an_earlier_call_that_the_disk_has_lost_are_fetched_again(
    server: FaultServer, web: Web, wanted: Make
) -> None:
    file = wanted(
        server.add("/a", SMALL, faults=[Cut(100_000), *[Status(503)] * 4]),
        size=len(SMALL),
        checksum=f"sha256:{sha256(SMALL)}",
    )
    failure(file, web)
    with part_path(file.target).open("r+b") as stream:
        stream.write(bytes(4096))

    assert download([file], web)[0].path.read_bytes() == SMALL


def test_a_whole_part_whose_process_died_before_naming_it_costs_no_request(
    server: FaultServer, web: Web, wanted: Make
) -> None:
    file = wanted(server.add("/a", SMALL), size=len(SMALL))
    download([file], web)
    requests = len(server.requests)
    file.target.rename(part_path(file.target))

    assert download([file], web)[0].sha256 == sha256(SMALL)
    assert len(server.requests) == requests
