"""Which numbers a rank reads, and that a run goes on exactly where its training stopped, whatever read ahead."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset
from torchdata.stateful_dataloader import StatefulDataLoader

from medshard.errors import CatalogError
from medshard.loaders.mixture import MixtureRule, mix
from medshard.loaders.sampler import SampleStream
from medshard.loaders.stream import Stream
from medshard.registry.store import Store

# torchdata 0.11 asks torch 2.13 for something that is about to go.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.set_vital. is deprecated"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),  # more workers than this machine has cores
]

EPOCH = 26  # six global batches of four, and two numbers that fill none


class Numbers(Dataset[int]):
    """Item n is n: what a loader hands out is what the sampler said."""

    def __len__(self) -> int:
        return EPOCH

    def __getitem__(self, n: int) -> int:
        return n


def make_loader(sampler: SampleStream, workers: int, **options: Any) -> StatefulDataLoader:
    if workers:
        options = {"multiprocessing_context": "fork", "prefetch_factor": 3, **options}
    return StatefulDataLoader(Numbers(), sampler=sampler, batch_size=sampler.batch_size, num_workers=workers, **options)


def sampler(global_batch: int = 4, **options: Any) -> SampleStream:
    return SampleStream(EPOCH, global_batch=global_batch, **options)


def taken(loader: StatefulDataLoader | DataLoader[int]) -> list[list[int]]:
    return [batch.tolist() for batch in loader]


BATCHES = [list(range(first, first + 4)) for first in range(0, 4 * 6 * 4, 4)]


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 8])
def test_the_global_batches_do_not_depend_on_the_number_of_ranks(world_size: int) -> None:
    ranks = [SampleStream(100, global_batch=8, rank=rank, world_size=world_size) for rank in range(world_size)]
    dealt = [list(rank) for rank in ranks]
    assert {len(numbers) for numbers in dealt} == {len(ranks[0])} == {12 * ranks[0].batch_size}
    for batch in range(12):
        local = slice(batch * ranks[0].batch_size, (batch + 1) * ranks[0].batch_size)
        numbers = [number for rank in dealt for number in rank[local]]
        # Where the ranks do not divide the batch, its first numbers fill the gap.
        surplus = ranks[0].batch_size * world_size - 8
        assert sorted(numbers) == sorted([*range(8 * batch, 8 * batch + 8), *range(8 * batch, 8 * batch + surplus)])


@pytest.mark.parametrize("workers", [0, 1, 4])
@pytest.mark.parametrize("world_size", [1, 2])
def test_workers_change_nothing(world_size: int, workers: int) -> None:
    ranks = [sampler(rank=rank, world_size=world_size) for rank in range(world_size)]
    dealt = [taken(make_loader(rank, workers)) for rank in ranks]
    together = [sorted(number for rank in step for number in rank) for step in zip(*dealt, strict=True)]
    assert together == BATCHES[:6]


def test_epochs_follow_each_other_and_no_number_is_left_out() -> None:
    numbers = sampler()
    assert [list(numbers) for _ in range(2)] == [list(range(24)), list(range(24, 48))]
    assert numbers.epoch == 2
    numbers.set_epoch(1)
    assert list(numbers) == list(range(24, 48))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_off_epoch_is_over_however_far_workers_have_read(workers: int) -> None:
    numbers = sampler()
    loader = DataLoader(
        Numbers(),
        sampler=numbers,
        batch_size=4,
        num_workers=workers,
        multiprocessing_context="fork" if workers else None,
    )
    for number, batch in enumerate(loader):
        if number == 4:
            assert batch.tolist() == BATCHES[4]
            break
    assert taken(loader) == BATCHES[6:12]


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_that_outlive_an_epoch_read_the_next_one(persistent: bool) -> None:
    loader = make_loader(sampler(), 2, persistent_workers=persistent)
    assert [taken(loader) for _ in range(3)] == [BATCHES[:6], BATCHES[6:12], BATCHES[12:18]]


@pytest.mark.parametrize("workers", [0, 1, 4])
@pytest.mark.parametrize("steps", [0, 1, 5, 6, 8])
def test_torchdata_goes_on_behind_what_was_taken(workers: int, steps: int) -> None:
    """steps: 6 ends an epoch; 8 lies in the second."""
    loader = make_loader(sampler(), workers)
    seen: list[list[int]] = []
    while len(seen) < steps:
        for batch in loader:
            seen.append(batch.tolist())
            if len(seen) == steps:
                break
    state = pickle.loads(pickle.dumps(loader.state_dict()))
    resumed = make_loader(sampler(), workers)
    resumed.load_state_dict(state)
    while len(seen) < 18:
        seen += taken(resumed)
    assert seen == BATCHES[:18]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_state_saved_behind_an_epoch_begins_the_next_one(workers: int) -> None:
    loader = make_loader(sampler(), workers)
    assert taken(loader) == BATCHES[:6]
    resumed = make_loader(sampler(), workers)
    resumed.load_state_dict(loader.state_dict())
    assert taken(resumed) == BATCHES[6:12]


@pytest.mark.parametrize("workers", [0, 3])
def test_a_run_that_was_resumed_twice_is_the_run(workers: int) -> None:
    seen: list[list[int]] = []
    state: dict[str, Any] = {}
    for steps in (2, 5, 4, 6):
        loader = make_loader(sampler(), workers)
        loader.load_state_dict(state)
        batches: list[list[int]] = []
        while len(batches) < steps:
            for batch in loader:
                batches.append(batch.tolist())
                if len(batches) == steps:
                    break
        state = loader.state_dict()
        seen += batches
    assert seen == BATCHES[:17]


def test_torchdata_saves_where_a_batch_of_the_loader_is_no_global_batch() -> None:
    """Gradient accumulation: the loader's batches are halves of what this rank takes of a global batch."""
    whole = [batch.tolist() for batch in StatefulDataLoader(Numbers(), sampler=sampler(), batch_size=2)]
    loader = StatefulDataLoader(Numbers(), sampler=sampler(), batch_size=2)
    steps = iter(loader)
    seen = [next(steps).tolist() for _ in range(3)]
    state = loader.state_dict()
    resumed = StatefulDataLoader(Numbers(), sampler=sampler(), batch_size=2)
    resumed.load_state_dict(state)
    assert seen + taken(resumed) == whole
    inside = sampler()
    numbers = iter(inside)
    next(numbers)
    with pytest.raises(CatalogError, match="inside of a global batch"):
        sampler(rank=0, world_size=2).load_state_dict(inside.state_dict())


KILLED = """
import os, pickle, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_sampler import make_loader, sampler
folder, workers, dies = Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "dies"
loader = make_loader(sampler(), workers)
saved = folder / "state"
if saved.exists():
    loader.load_state_dict(pickle.loads(saved.read_bytes()))
with (folder / "seen").open("a") as seen:
    for step, batch in enumerate(loader):
        print(*batch.tolist(), file=seen, flush=True)
        if dies and step == 2:
            saved.write_bytes(pickle.dumps(loader.state_dict()))
            os._exit(9)
"""


def test_a_killed_process_is_continued_by_another(tmp_path: Path) -> None:
    workers = 2
    for how in ("dies", "lives"):
        command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(tmp_path), str(workers), how]
        done = subprocess.run(command, check=False, timeout=60)
        assert done.returncode == (9 if how == "dies" else 0)
    lines = (tmp_path / "seen").read_text().splitlines()
    assert [[int(number) for number in line.split()] for line in lines] == BATCHES[:6]


def test_resume_is_a_number_whatever_the_number_of_ranks() -> None:
    first = sampler(rank=1, world_size=2)
    numbers = iter(first)
    seen = [next(numbers) for _ in range(6)]  # three steps of this rank
    state = first.state_dict()
    assert state == {"next": 12, "global_batch": 4} == first.state_dict(batches_done=3)
    rest = sampler(rank=1, world_size=2)
    rest.load_state_dict(state)
    assert seen + list(rest) == list(sampler(rank=1, world_size=2))
    alone = sampler()
    alone.load_state_dict(state)
    assert list(alone) == list(range(12, 24))
    assert list(alone) == list(range(24, 48))


def test_a_loader_of_two_ranks_is_continued_by_one() -> None:
    pair = [make_loader(sampler(rank=rank, world_size=2), 2) for rank in range(2)]
    runs = [iter(loader) for loader in pair]
    for _ in range(2):
        [next(run) for run in runs]
    states = [loader.state_dict() for loader in pair]
    alone = make_loader(sampler(), 2)
    alone.load_state_dict(states[1])
    assert taken(alone) == BATCHES[2:6]


def test_resume_at_a_million_steps_needs_no_replay() -> None:
    """By the numbers that are made: none but those that are asked for."""
    numbers = SampleStream(10**10, global_batch=4)
    numbers.load_state_dict({"next": 4_000_000, "global_batch": 4})
    assert next(iter(numbers)) == 4_000_000


def mixture(**changes: Any) -> Stream:
    mixed = mix(["a", "b"], [10, 20], changes.pop("rule", MixtureRule(temperature=2.0)))
    return Stream(seed=1, mixture=mixed, **changes)


def test_a_state_says_what_its_numbers_mean() -> None:
    state = sampler(stream=mixture()).state_dict()
    sampler(stream=mixture()).load_state_dict(pickle.loads(pickle.dumps(state)))
    with pytest.raises(CatalogError, match=r"stream\.state(.|\n)*mixture\.components\.a\.share"):
        sampler(stream=mixture(rule=MixtureRule(temperature=3.0))).load_state_dict(state)
    with pytest.raises(CatalogError, match=r"seed +was 1, is 2"):
        sampler(stream=replace(mixture(), seed=2)).load_state_dict(state)
    with pytest.raises(CatalogError, match=r"foreground +was 0\.0, is 0\.5"):
        sampler(stream=mixture(foreground=0.5)).load_state_dict(state)
    with pytest.raises(CatalogError, match="does not say"):
        sampler().load_state_dict(state)
    with pytest.raises(CatalogError, match="does not say"):
        sampler(stream=mixture()).load_state_dict(sampler().state_dict())


@pytest.mark.parametrize(
    "wrong",
    [
        {"global_batch": 0},
        {"rank": 2, "world_size": 2},
        {"rank": 1},
        {"global_batch": 27},
        {"stream": mixture(forced_batch=8)},
        {"stream": mixture(grouped_batch=2)},
    ],
)
def test_batches_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(CatalogError, match=r"stream\.batch"):
        sampler(**wrong)


def test_another_global_batch_cannot_go_on() -> None:
    with pytest.raises(CatalogError, match=r"stream\.state"):
        sampler().load_state_dict({"next": 12, "global_batch": 6})
    with pytest.raises(CatalogError, match=r"stream\.state"):
        sampler().load_state_dict({"next": 3, "global_batch": 4})


def test_the_place_of_a_process_is_that_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert list(sampler())[:4] == [1, 3, 5, 7]


def test_items_are_tensors_of_numbers() -> None:
    """The tests above rely on it."""
    assert torch.equal(next(iter(make_loader(sampler(), 0))), torch.arange(4))


def test_the_page_about_the_stream_runs(shard_store: Store) -> None:
    page = (Path(__file__).parents[2] / "docs" / "stream.md").read_text()
    names: dict[str, Any] = {"root": shard_store, "entries": ["brains", "noises"]}
    blocks = [block.split("```", 1)[0] for block in page.split("```python\n")[1:]]
    assert len(blocks) == 2
    for block in blocks:
        exec(block, names)
    assert names["batch"]["image"].shape == (4, 1, 16, 32, 32)
    assert names["state"]["_sampler_iter_state"]["sampler_iter_state"]["next"] == 4
