"""Leases: one builder at a time, and a crashed one blocks nobody."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from medshard.errors import StoreError
from medshard.registry.store import Store, hold_lease, leases, processes


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def leave_lease(store: Store, name: str, *, holder: str, age_s: float = 0.0) -> Path:
    path = store.root / "leases" / f"{name}.lease"
    path.parent.mkdir(exist_ok=True)
    path.write_text(holder)
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def holder_that_died() -> str:
    script = "from medshard.registry.store import processes; print(processes.this_process())"
    return (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip() + "-1"
    )


def test_a_lease_is_held_while_the_block_runs_and_then_free(store: Store) -> None:
    with hold_lease(store, "demo/volumes") as lease:
        assert lease.path.read_text() == lease.holder
        assert lease.holder.startswith(processes.this_process())
    assert not lease.path.exists()


def test_a_lease_is_given_back_after_an_error(store: Store) -> None:
    def fail() -> None:
        with hold_lease(store, "demo/volumes"):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with hold_lease(store, "demo/volumes", wait_s=0.0):
        pass


def test_leases_of_different_stages_do_not_exclude_each_other(store: Store) -> None:
    with hold_lease(store, "demo/volumes") as one, hold_lease(store, "demo/shards", wait_s=0.0) as other:
        assert one.path != other.path
        assert one.path.exists()
        assert other.path.exists()


def test_a_live_lease_times_out_and_names_its_holder(store: Store) -> None:
    with (
        hold_lease(store, "demo/volumes") as lease,
        pytest.raises(StoreError, match=r"lease\.held.*demo/volumes") as refusal,
        hold_lease(store, "demo/volumes", wait_s=0.1),
    ):
        pass
    assert refusal.value.details["holder"] == lease.holder


def test_a_second_builder_waits_for_the_first(store: Store) -> None:
    order = []

    def second() -> None:
        with hold_lease(store, "demo/volumes", wait_s=10):
            order.append("second")

    waiting = threading.Thread(target=second)
    with hold_lease(store, "demo/volumes"):
        waiting.start()
        time.sleep(0.3)
        order.append("first")
    waiting.join(10)
    assert order == ["first", "second"]


def test_the_lease_of_a_dead_process_is_taken_at_once(store: Store) -> None:
    path = leave_lease(store, "demo--volumes", holder=holder_that_died())
    with hold_lease(store, "demo/volumes", wait_s=0.0) as lease:
        assert path.read_text() == lease.holder


def test_a_process_number_that_was_handed_out_again_is_not_mistaken_for_the_holder(store: Store) -> None:
    host, number, start = processes.this_process().rsplit(".", 2)
    leave_lease(store, "demo--volumes", holder=f"{host}.{number}.{int(start) - 1}-abcd")
    with hold_lease(store, "demo/volumes", wait_s=0.0) as lease:
        assert lease.path.read_text() == lease.holder


def test_a_lease_of_another_host_counts_until_it_expires(store: Store) -> None:
    leave_lease(store, "demo--volumes", holder="another_host.1.1-abcd", age_s=leases.EXPIRY_S - 20)
    with pytest.raises(StoreError, match="another_host"), hold_lease(store, "demo/volumes", wait_s=0.0):
        pass
    leave_lease(store, "demo--volumes", holder="another_host.1.1-abcd", age_s=leases.EXPIRY_S + 20)
    with hold_lease(store, "demo/volumes", wait_s=0.0):
        pass


def test_a_lease_is_renewed_while_work_goes_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEWAL_S", 0.02)
    with hold_lease(store, "demo/volumes") as lease:
        os.utime(lease.path, (0, 0))
        deadline = time.monotonic() + 5
        while lease.path.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert time.time() - lease.path.stat().st_mtime < 5


def test_a_builder_that_lost_its_lease_does_not_remove_the_new_holder_s(store: Store) -> None:
    with hold_lease(store, "demo/volumes") as lease:
        lease.path.write_text("another_host.1.1-abcd")
    assert lease.path.read_text() == "another_host.1.1-abcd"


def test_a_lease_taken_between_the_look_and_the_removal_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    # The look finds a dead holder; before the removal, another builder has replaced it.
    path = leave_lease(store, "demo--volumes", holder=holder_that_died())
    remove_if = leases._remove_if

    def late(condition: Callable[[Path], bool], lease: Path) -> None:
        leave_lease(store, "demo--volumes", holder="another_host.1.1-abcd")
        remove_if(condition, lease)

    monkeypatch.setattr(leases, "_remove_if", late)
    with pytest.raises(StoreError, match="another_host"), hold_lease(store, "demo/volumes", wait_s=0.0):
        pass
    assert path.read_text() == "another_host.1.1-abcd"


def test_two_builders_do_not_remove_the_same_stale_lease_at_once(store: Store) -> None:
    path = leave_lease(store, "demo--volumes", holder=holder_that_died())
    taken = threading.Event()

    def take() -> None:
        with hold_lease(store, "demo/volumes", wait_s=10):
            taken.set()

    taking = threading.Thread(target=take)
    with path.with_name(f".{path.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another builder is in the middle of removing it
        taking.start()
        assert not taken.wait(0.3)
    assert taken.wait(10)
    taking.join(10)


# Takes the lease again and again; now and then it is killed while it holds it. The file `inside` names who is in the
# critical section, and whoever finds a living process there reports it.
CONTENDER = """
import os, signal, sys, time
from pathlib import Path
from medshard.registry.store import Store, hold_lease, leases, processes

leases.POLL_S = 0.01
store, dies = Store.open(sys.argv[1]), sys.argv[2] == "dies"
inside = store.root / "scratch" / "inside"
inside.parent.mkdir(exist_ok=True)
for turn in range(8):
    with hold_lease(store, "demo/volumes", wait_s=60):
        if inside.exists() and processes.may_be_alive(inside.read_text()):
            print("overlap", flush=True)
        inside.write_text(processes.this_process())
        time.sleep(0.005)
        if dies and turn == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        inside.unlink()
    print("turn", flush=True)
"""


def test_of_many_builders_one_works_at_a_time_also_when_some_are_killed(store: Store) -> None:
    leave_lease(store, "demo--volumes", holder=holder_that_died())
    contenders = [
        subprocess.Popen([sys.executable, "-c", CONTENDER, str(store.root), fate], stdout=subprocess.PIPE, text=True)
        for fate in ("lives", "dies", "lives", "dies", "lives")
    ]
    outputs = [contender.communicate(timeout=60)[0].split() for contender in contenders]
    assert [contender.returncode for contender in contenders] == [0, -9, 0, -9, 0]
    assert [len(output) for output in outputs] == [8, 3, 8, 3, 8]
    assert all(set(output) == {"turn"} for output in outputs)
