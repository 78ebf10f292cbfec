"""Many damaged files through child processes: a crash costs one batch, which is then tried one file at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fuzzed_files import Outcome, try_damaged

from medshard.pipelines.execution.map_cases import CaseTask, Execution, map_cases

BATCH = 50


@dataclass(frozen=True, kw_only=True)
class Batch:
    name: str
    files: tuple[Path, ...]
    first: int
    count: int
    folder: Path


def try_batch(batch: Batch) -> list[Outcome]:
    return [
        try_damaged(batch.name, list(batch.files), number, batch.folder)
        for number in range(batch.first, batch.first + batch.count)
    ]


def run_tries(
    seeds: Mapping[str, list[Path]], tries: int, folder: Path, *, workers: int
) -> tuple[list[Outcome], list[str]]:
    """The outcome of each try, and the tries that killed their process. The seeds take turns."""
    each = -(-tries // len(seeds))
    batches = {
        f"{name}-{first}": Batch(
            name=name,
            files=tuple(files),
            first=first,
            count=min(BATCH, each - first),
            folder=folder / f"{name}-{first}",
        )
        for name, files in seeds.items()
        for first in range(0, each, BATCH)
    }
    outcomes, broken = _run(batches, workers)
    singles = {
        f"{batch.name}-{number}": Batch(
            name=batch.name, files=batch.files, first=number, count=1, folder=folder / f"{batch.name}-{number}-alone"
        )
        for batch in (batches[name] for name in broken)
        for number in range(batch.first, batch.first + batch.count)
    }
    alone, crashed = _run(singles, workers)
    return outcomes + alone, crashed


def _run(batches: Mapping[str, Batch], workers: int) -> tuple[list[Outcome], list[str]]:
    tasks = [CaseTask(case=name, payload=batch) for name, batch in batches.items()]
    ended = map_cases(try_batch, tasks, execution=Execution(workers=workers, timeout_s=900), where="fuzz")
    found = [outcome for case in ended if case.result is not None for outcome in case.result]
    return found, [case.case for case in ended if case.result is None]
