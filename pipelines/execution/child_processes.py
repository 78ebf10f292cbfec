"""Starting the processes of a pool and ending them for certain."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import IO

from medshard.pipelines.execution.case_child import STACK_SIGNAL
from medshard.pipelines.execution.case_tasks import indented

STACK_DUMP_S = 0.2
TERMINATION_S = 1.0
LAST_LINES = 20

# The children together already use every core; threads in each would only compete.
ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "BLIS_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "BLOSC_NTHREADS",
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
    ),
    "1",
)

# A child finds the modules that its parent finds, but does not run the parent's `__main__` again.
BOOTSTRAP = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from medshard.pipelines.execution.case_child import main; main(*map(int, sys.argv[2:]))"
)


@dataclass(eq=False, kw_only=True)
class Child:
    """A process, the socket to it, and the file that takes what it prints.

    ready: it has answered once.
    read_until: offset in `output` up to which the parent has read.
    """

    process: subprocess.Popen[bytes]
    connection: Connection
    output: IO[bytes]
    ready: bool = False
    read_until: int = 0

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def new_output(self) -> str:
        """What was printed since the last look."""
        descriptor = self.output.fileno()
        size = os.fstat(descriptor).st_size
        data = os.pread(descriptor, size - self.read_until, self.read_until)
        self.read_until = size
        return data.decode(errors="replace").strip()

    def last_words(self) -> dict[str, str]:
        """The last lines of what was printed since the last look, as a detail of an error."""
        lines = self.new_output().splitlines()[-LAST_LINES:]
        return {"last output": indented("\n".join(lines))} if lines else {}

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the process and whatever it has started, unless it has already ended."""
        if self.alive:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def kill_with_stack(self) -> dict[str, str]:
        """Kill the process; where it stood, as a detail of an error."""
        self.new_output()
        self.process.send_signal(STACK_SIGNAL)
        time.sleep(STACK_DUMP_S)
        self.kill()
        return self.last_words()

    def kill(self) -> None:
        self.signal_group(signal.SIGKILL)
        self.process.wait()

    def how_it_ended(self) -> str:
        """The exit code or the signal of a process that has ended."""
        code = self.process.returncode
        if code >= 0:
            return f"exit code {code}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else "unknown"
        hint = ", as the system does when memory runs out" if name == "SIGKILL" else ""
        return f"signal {-code} ({name}{hint})"

    def close(self) -> None:
        """Release the socket and the file; a child that waits for work then ends by itself."""
        self.connection.close()
        self.output.close()


@contextmanager
def lifeline() -> Iterator[int]:
    """The read end of a pipe whose write end only this process holds; children given it end when that is closed."""
    read_end, write_end = os.pipe()
    try:
        yield read_end
    finally:
        os.close(write_end)
        os.close(read_end)


def start_child(lifeline_end: int) -> Child:
    """Start an interpreter that serves cases; it is not waited for."""
    ours, theirs = multiprocessing.Pipe()
    output = tempfile.TemporaryFile()  # noqa: SIM115 - belongs to the child, which outlives this function
    arguments = [json.dumps([str(folder) for folder in sys.path])]
    arguments += [str(number) for number in (theirs.fileno(), lifeline_end, os.getpid())]
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", BOOTSTRAP, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **ONE_THREAD},
            pass_fds=(theirs.fileno(), lifeline_end),
            process_group=0,
        )
    except BaseException:
        ours.close()
        output.close()
        raise
    finally:
        theirs.close()
    return Child(process=process, connection=ours, output=output)


def stop_children(children: Sequence[Child], *, grace_s: float) -> None:
    """End and reap all children: by closing their sockets, then by SIGTERM after `grace_s`, then by SIGKILL."""
    for child in children:
        child.close()
    _wait_for(children, grace_s)
    for child in children:
        child.signal_group(signal.SIGTERM)
    _wait_for(children, TERMINATION_S)
    for child in children:
        child.kill()


def _wait_for(children: Sequence[Child], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for child in children:
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(max(0.0, deadline - time.monotonic()))
