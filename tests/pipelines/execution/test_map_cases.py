"""One function over many cases: what becomes of each case, and of the processes."""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

from medshard.errors import CaseError, MedshardError, MissingExtraError, StoreError
from medshard.pipelines.execution.child_processes import lifeline, start_child, stop_children
from medshard.pipelines.execution.map_cases import CaseOutcome, CaseTask, Execution, map_cases

HERE = Path(__file__).parent
SERIAL = Execution()
POOL = Execution(workers=2)

on_serial_and_pool = pytest.mark.parametrize("execution", [SERIAL, POOL], ids=["serial", "pool"])


@pytest.fixture
def cases(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(HERE)
    return importlib.import_module("misbehaving_cases")


def run(
    function: Callable[[Any], Any], payloads: Sequence[Any], execution: Execution, **options: Any
) -> list[CaseOutcome[Any]]:
    tasks = [CaseTask(case=str(payload), payload=payload) for payload in payloads]
    return map_cases(function, tasks, execution=execution, where="demo", **options)


def own_children() -> list[psutil.Process]:
    """Children of this process that serve cases."""
    return [child for child in psutil.Process().children() if "case_child" in " ".join(child.cmdline())]


# --- outcomes


@on_serial_and_pool
def test_outcomes_come_in_the_order_of_the_tasks(cases: ModuleType, execution: Execution) -> None:
    tasks = [CaseTask(case=f"case_{n}", payload=n, bytes_needed=n % 4) for n in range(12)]
    outcomes = map_cases(cases.double, tasks, execution=execution, where="demo")
    assert [(outcome.case, outcome.result) for outcome in outcomes] == [(f"case_{n}", 2 * n) for n in range(12)]
    assert all(outcome.error is None and outcome.attempts == 1 for outcome in outcomes)


@on_serial_and_pool
def test_no_tasks_give_no_outcomes(cases: ModuleType, execution: Execution) -> None:
    assert run(cases.double, [], execution) == []


@on_serial_and_pool
def test_the_caller_hears_of_each_case_once_in_its_own_process(cases: ModuleType, execution: Execution) -> None:
    heard: list[CaseOutcome[int]] = []
    outcomes = run(cases.double, range(5), execution, on_outcome=heard.append)
    assert sorted(heard, key=lambda outcome: outcome.case) == outcomes


@on_serial_and_pool
def test_a_bad_case_leaves_the_others_alone(cases: ModuleType, execution: Execution) -> None:
    good, bad, also_good = run(cases.fail_in_the_way_of, ["one", "bad data", "two"], execution)
    assert (good.result, also_good.result) == ("one", "two")
    assert isinstance(bad.error, CaseError)
    assert (bad.error.code, bad.error.where) == ("geometry.mismatch", "demo/bad data")
    assert bad.deterministic
    assert bad.attempts == 1


@on_serial_and_pool
def test_an_unforeseen_exception_names_the_case_and_the_line_and_is_not_held_against_the_data(
    cases: ModuleType, execution: Execution
) -> None:
    (outcome,) = run(cases.fail_in_the_way_of, ["bug"], execution)
    assert isinstance(outcome.error, CaseError)
    assert (outcome.error.code, outcome.error.where) == ("case.unexpected", "demo/bug")
    assert outcome.error.details["raised"] == "KeyError: 'spacing'"
    assert 'raise KeyError("spacing")' in outcome.error.details["traceback"]
    assert not outcome.deterministic


@on_serial_and_pool
def test_an_error_of_the_store_keeps_its_code_and_is_tried_again_by_the_next_build(
    cases: ModuleType, execution: Execution
) -> None:
    (outcome,) = run(cases.fail_in_the_way_of, ["bad store"], execution)
    assert isinstance(outcome.error, StoreError)
    assert outcome.error.code == "object.corrupt"
    assert not outcome.deterministic


@on_serial_and_pool
def test_a_shortage_of_memory_is_reported_with_the_estimate(cases: ModuleType, execution: Execution) -> None:
    task = CaseTask(case="large", payload="memory", bytes_needed=300 << 20)
    (outcome,) = map_cases(cases.fail_in_the_way_of, [task], execution=execution, where="demo")
    assert outcome.error is not None
    assert outcome.error.code == "case.out_of_memory"
    assert outcome.error.details["estimated need"] == "300 MiB"
    assert not outcome.deterministic


def test_a_payload_or_a_result_that_does_not_pickle_fails_its_own_case(cases: ModuleType) -> None:
    payloads = ["one", "result that does not pickle", lambda: None, "two"]
    one, no_result, no_payload, two = run(cases.fail_in_the_way_of, payloads, POOL)
    assert (one.result, two.result) == ("one", "two")
    for outcome in (no_result, no_payload):
        assert outcome.error is not None
        assert outcome.error.code == "case.unexpected"
        assert "pickle" in outcome.error.details["raised"]


def test_an_outcome_crosses_a_process_boundary_unchanged(cases: ModuleType) -> None:
    (outcome,) = run(cases.fail_in_the_way_of, ["bad data"], SERIAL)
    copy = pickle.loads(pickle.dumps(outcome))
    assert str(copy.error) == str(outcome.error)
    assert copy.deterministic == outcome.deterministic


# --- crashes and time-outs


@pytest.mark.parametrize(
    ("way", "evidence"), [("exit", "exit code 9"), ("kill", "signal 9 (SIGKILL"), ("segfault", "signal 11 (SIGSEGV)")]
)
def test_a_case_that_kills_its_process_is_tried_twice_and_then_named(
    cases: ModuleType, way: str, evidence: str
) -> None:
    tasks = [CaseTask(case=name, payload=name, bytes_needed=5 << 20) for name in ("one", way, "two", "three")]
    outcomes = map_cases(cases.fail_in_the_way_of, tasks, execution=POOL, where="demo")
    assert [outcome.result for outcome in outcomes] == ["one", None, "two", "three"]
    crashed = outcomes[1]
    assert isinstance(crashed.error, CaseError)
    assert (crashed.error.code, crashed.error.where, crashed.attempts) == ("case.crashed", f"demo/{way}", 2)
    assert evidence in crashed.error.details["process"]
    assert crashed.error.details["estimated need"] == "5 MiB"
    assert not crashed.deterministic


def test_a_segmentation_fault_says_where_it_happened(cases: ModuleType) -> None:
    (outcome,) = run(cases.fail_in_the_way_of, ["segfault"], POOL)
    assert outcome.error is not None
    assert "in fail_in_the_way_of" in outcome.error.details["last output"]


def test_a_crash_is_tried_again_with_nothing_else_running(cases: ModuleType, tmp_path: Path) -> None:
    names = ["dies once", "dies once too", *(f"other_{n}" for n in range(5))]
    tasks = [CaseTask(case=name, payload=cases.Appointment(tmp_path, name)) for name in names]
    heard: list[str] = []
    outcomes = map_cases(
        cases.work_beside_others,
        tasks,
        execution=Execution(workers=3),
        where="demo",
        on_outcome=lambda outcome: heard.append(outcome.case),
    )
    assert [(outcome.error, outcome.result, outcome.attempts) for outcome in outcomes[:2]] == [(None, [], 2)] * 2
    assert [(outcome.error, outcome.attempts) for outcome in outcomes[2:]] == [(None, 1)] * 5
    assert sorted(heard) == sorted(names)


def test_a_case_that_takes_too_long_is_ended_and_says_where_it_stood(cases: ModuleType) -> None:
    started = time.monotonic()
    hangs, good = run(cases.fail_in_the_way_of, ["hang", "one"], Execution(workers=2, timeout_s=0.5))
    assert time.monotonic() - started < 0.5 * cases.PATIENCE_S
    assert good.result == "one"
    assert hangs.error is not None
    assert (hangs.error.code, hangs.attempts, hangs.deterministic) == ("case.timeout", 2, False)
    assert "in fail_in_the_way_of" in hangs.error.details["last output"]


# --- the budget


def test_cases_run_at_once_when_the_budget_allows_it(cases: ModuleType, tmp_path: Path) -> None:
    tasks = [
        CaseTask(case="a", payload=cases.Appointment(tmp_path, "a", ("b",)), bytes_needed=50),
        CaseTask(case="b", payload=cases.Appointment(tmp_path, "b", ("a",)), bytes_needed=50),
    ]
    outcomes = map_cases(cases.meet, tasks, execution=Execution(workers=2, memory_bytes=100), where="demo")
    assert [outcome.result for outcome in outcomes] == [True, True]


def test_the_sum_of_the_estimates_stays_within_the_budget_and_larger_cases_run_alone(cases: ModuleType) -> None:
    needs = [41, 60, 250, 30, 70, 10, 90, 20]
    tasks = [CaseTask(case=f"case_{n}", payload=0.1, bytes_needed=need) for n, need in enumerate(needs)]
    outcomes = map_cases(cases.interval, tasks, execution=Execution(workers=4, memory_bytes=100), where="demo")
    spans = [outcome.result for outcome in outcomes if outcome.result is not None]
    assert len(spans) == len(needs)
    assert min(spans) == spans[needs.index(250)], "the largest case starts first"
    for moment, _ in spans:
        at_once = [need for need, (start, end) in zip(needs, spans, strict=True) if start <= moment < end]
        assert sum(at_once) <= 100 or at_once == [250]


def test_two_cases_that_exceed_the_budget_by_one_byte_do_not_overlap(cases: ModuleType) -> None:
    tasks = [CaseTask(case=str(need), payload=0.3, bytes_needed=need) for need in (41, 60)]
    small, large = map_cases(cases.interval, tasks, execution=Execution(workers=2, memory_bytes=100), where="demo")
    assert small.result is not None
    assert large.result is not None
    assert large.result[1] <= small.result[0]


@pytest.mark.parametrize("field", [{"workers": 0}, {"memory_bytes": -1}, {"timeout_s": 0.0}], ids=str)
def test_an_execution_with_nothing_to_run_on_is_refused(field: dict[str, Any]) -> None:
    with pytest.raises(MedshardError, match="must be more than 0"):
        Execution(**field)


# --- the processes


def test_no_more_children_than_tasks_and_none_is_left(cases: ModuleType) -> None:
    outcomes = run(cases.process_of, range(2), Execution(workers=8))
    assert len({outcome.result for outcome in outcomes}) <= 2
    assert os.getpid() not in {outcome.result for outcome in outcomes}
    assert own_children() == []


def test_children_use_one_thread_and_the_environment_of_the_parent_is_untouched(cases: ModuleType) -> None:
    before = dict(os.environ)
    outcomes = run(cases.environment_of, ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"], POOL)
    assert [outcome.result for outcome in outcomes] == ["1", "1"]
    assert dict(os.environ) == before


def test_children_do_not_run_the_script_of_the_caller_again(cases: ModuleType) -> None:
    (outcome,) = run(cases.imported_main, [None], POOL)
    assert outcome.error is None
    assert outcome.result is None


def test_what_a_case_prints_is_logged_under_its_name(cases: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    run(cases.say, ["a tag with an unknown VR"], POOL)
    assert "demo/a tag with an unknown VR printed:\na tag with an unknown VR" in caplog.text


def test_a_function_that_children_cannot_import_is_refused_with_the_reason(
    cases: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def local(number: int) -> int:
        return number

    with pytest.raises(MedshardError, match=r"pool\.start_failed") as refusal:
        run(local, [1, 2], POOL)
    assert "top level of an installed module" in str(refusal.value)

    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder != str(HERE)])
    with pytest.raises(MedshardError, match=r"pool\.start_failed") as refusal:
        run(cases.double, [1, 2], POOL)
    assert "No module named 'misbehaving_cases'" in refusal.value.details["traceback"]
    assert own_children() == []


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_what_the_caller_raises_ends_the_children_and_goes_on_up(
    cases: ModuleType, tmp_path: Path, interruption: type[BaseException]
) -> None:
    def stop(_: CaseOutcome[Any]) -> None:
        raise interruption

    tasks = [CaseTask(case="short", payload="one"), CaseTask(case="long", payload="hang")]
    started = time.monotonic()
    with pytest.raises(interruption):
        map_cases(cases.fail_in_the_way_of, tasks, execution=POOL, where="demo", on_outcome=stop)
    assert time.monotonic() - started < 5
    assert own_children() == []


PARENT = """
import signal, sys
from pathlib import Path

sys.path.insert(0, {helpers!r})
import misbehaving_cases
from medshard.pipelines.execution.map_cases import CaseTask, Execution, map_cases


class Interruption(BaseException):
    pass


def interrupt(number, frame):
    raise Interruption


if {handler}:
    signal.signal(signal.SIGTERM, interrupt)
tasks = [CaseTask(case=str(n), payload=Path({folder!r})) for n in range(4)]
map_cases(misbehaving_cases.{function}, tasks, execution=Execution(workers=2), where="demo")
"""


@contextmanager
def parent_at_work(
    folder: Path, *, function: str, handler: bool = False
) -> Iterator[tuple[psutil.Popen, list[psutil.Process]]]:
    """A process whose two children are at work, and those children."""
    script = folder / "parent.py"
    script.write_text(PARENT.format(helpers=str(HERE), folder=str(folder), function=function, handler=handler))
    parent = psutil.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL, process_group=0)
    try:
        deadline = time.monotonic() + 30
        while len(pids := list(folder.glob("*.pid"))) < 2:
            assert time.monotonic() < deadline, "the children did not start"
            assert parent.poll() is None
            time.sleep(0.05)
        yield parent, [psutil.Process(int(path.stem)) for path in pids]
    finally:
        for path in folder.glob("*.pid"):
            with suppress(ProcessLookupError):
                os.kill(int(path.stem), signal.SIGKILL)
        parent.kill()
        parent.wait()


def still_running_after(processes: list[psutil.Process], *, seconds: float) -> list[psutil.Process]:
    deadline = time.monotonic() + seconds
    while (alive := [process for process in processes if is_running(process)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return alive


def is_running(process: psutil.Process) -> bool:
    """A zombie has ended: only its new parent has not taken note of it yet."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(
    ("number", "handler"),
    [(signal.SIGINT, False), (signal.SIGTERM, True), (signal.SIGTERM, False), (signal.SIGKILL, False)],
    ids=["Ctrl-C", "SIGTERM made an exception", "SIGTERM", "SIGKILL"],
)
def test_no_child_outlives_its_parent(tmp_path: Path, number: int, handler: bool) -> None:
    with parent_at_work(tmp_path, function="sleep_long", handler=handler) as (parent, children):
        parent.send_signal(number)
        assert still_running_after([parent, *children], seconds=5) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process that holds the interpreter lock")
def test_no_child_outlives_its_parent_while_it_holds_the_interpreter_lock(tmp_path: Path) -> None:
    with parent_at_work(tmp_path, function="never_release_the_interpreter_lock") as (parent, children):
        parent.kill()
        assert still_running_after([parent, *children], seconds=5) == []


def test_a_child_ends_when_its_lifeline_does_although_its_parent_lives() -> None:
    with lifeline() as end:
        child = start_child(end)
        time.sleep(0.5)
        assert child.alive
    child.process.wait(5)
    stop_children([child], grace_s=0.0)
    assert not child.alive


# --- Dask


@pytest.fixture(scope="module")
def dask_address() -> Iterator[str]:
    dask = pytest.importorskip("dask")
    distributed = pytest.importorskip("distributed")
    path = sys.path.copy()
    sys.path.insert(0, str(HERE))  # handed to the workers, which are started now
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
        ) as cluster,
    ):
        sys.path[:] = path
        yield cluster.scheduler_address


def test_dask_gives_the_same_outcomes_as_this_process(cases: ModuleType, dask_address: str) -> None:
    ways = ["one", "bad data", "bug", "memory", "bad store", "two"]
    heard: list[str] = []
    serial = run(cases.fail_in_the_way_of, ways, SERIAL)
    remote = run(
        cases.fail_in_the_way_of,
        ways,
        Execution(dask_address=dask_address),
        on_outcome=lambda outcome: heard.append(outcome.case),
    )
    for here, there in zip(serial, remote, strict=True):
        assert (here.case, here.result, here.deterministic) == (there.case, there.result, there.deterministic)
        assert type(here.error) is type(there.error)
        assert str(here.error).splitlines()[:2] == str(there.error).splitlines()[:2]
    assert sorted(heard) == sorted(ways)


def test_a_case_that_kills_dask_workers_is_named_and_the_others_go_on(cases: ModuleType, dask_address: str) -> None:
    one, crashed, two = run(cases.fail_in_the_way_of, ["one", "exit", "two"], Execution(dask_address=dask_address))
    assert (one.result, two.result) == ("one", "two")
    assert crashed.error is not None
    assert (crashed.error.code, crashed.error.where) == ("case.crashed", "demo/exit")
    assert crashed.attempts == 2
    assert not crashed.deterministic


def test_what_the_caller_raises_goes_on_up_from_dask_too(cases: ModuleType, dask_address: str) -> None:
    def stop(_: CaseOutcome[Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(cases.double, range(50), Execution(dask_address=dask_address), on_outcome=stop)


def test_a_scheduler_that_is_not_there_is_named(cases: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    dask_cases = pytest.importorskip("medshard.pipelines.execution.dask_cases")
    monkeypatch.setattr(dask_cases, "CONNECT_TIMEOUT_S", 0.2)
    with pytest.raises(MedshardError, match=r"dask\.unreachable") as refusal:
        run(cases.double, [1], Execution(dask_address="tcp://127.0.0.1:9"))
    assert refusal.value.details["scheduler"] == "tcp://127.0.0.1:9"


def test_without_the_extra_the_error_names_it(cases: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "medshard.pipelines.execution.dask_cases", raising=False)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"medshard\[dask\]"):
        run(cases.double, [1], Execution(dask_address="tcp://127.0.0.1:9"))
