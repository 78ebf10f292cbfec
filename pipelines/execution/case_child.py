"""The process that works on cases for a parent, one after the other, and never outlives it.

It is a fresh interpreter (nothing is forked, so no lock or thread of the parent is inherited) that speaks to the parent
over one socket: it receives the pickled function once, answers whether it could be imported, and from then on receives
a task and answers with its outcome until the parent closes the socket.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from medshard.pipelines.execution.case_tasks import CaseOutcome, CaseTask, run_case

# Makes a child print where it stands; the parent sends it before it ends a case that takes too long.
STACK_SIGNAL = signal.SIGUSR1
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """The first message to a child.

    function: pickled by reference, that is as the name of a module and of a function in it.
    where: what the errors are about, such as the entry's name.
    """

    function: bytes
    where: str


@dataclass(frozen=True, kw_only=True)
class Started:
    """The first answer of a child. problem: None, or the traceback that kept the function from being imported."""

    problem: str | None


@dataclass(frozen=True, kw_only=True)
class Job:
    """A task on its way to a child; payload and result travel pickled, so that a failure to do so is the case's."""

    task: CaseTask[bytes]
    attempts: int


def main(socket: int, lifeline: int, parent: int) -> None:
    """Serve the parent.

    socket: file descriptor to speak to the parent.
    lifeline: read end of a pipe whose write end only the parent holds.
    parent: process id.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which decides about its children
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for descriptor in (socket, lifeline):
        os.set_inheritable(descriptor, False)
    _die_with_parent(lifeline, parent)
    faulthandler.enable(all_threads=False)
    faulthandler.register(STACK_SIGNAL, all_threads=False)
    with Connection(socket) as connection:
        _serve(connection)


def _serve(connection: Connection) -> None:
    assignment: Assignment = pickle.loads(connection.recv_bytes())
    try:
        function: Callable[[Any], Any] = pickle.loads(assignment.function)
    except Exception:
        connection.send(Started(problem=traceback.format_exc()))
        return
    connection.send(Started(problem=None))
    while (job := _next_job(connection)) is not None:
        outcome: CaseOutcome[bytes] = run_case(
            lambda payload: pickle.dumps(function(pickle.loads(payload)), pickle.HIGHEST_PROTOCOL),
            job.task,
            where=assignment.where,
            attempts=job.attempts,
        )
        sys.stdout.flush()
        sys.stderr.flush()
        connection.send(outcome)


def _next_job(connection: Connection) -> Job | None:
    try:
        job: Job = connection.recv()
    except (EOFError, ConnectionError):
        return None
    return job


def _die_with_parent(lifeline: int, parent: int) -> None:
    """End this process when the parent does, however it ends.

    The pipe works everywhere, but noticing it takes the interpreter lock, which a long call into C may hold. Linux can
    send a signal as well; it does so already when the thread that started this process ends, and that thread waits in
    `map_cases` for as long as this process is of use.
    """
    threading.Thread(target=_wait_for_the_end, args=(lifeline,), daemon=True, name="lifeline").start()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the signal was asked for
        os._exit(1)


def _wait_for_the_end(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(1)
