"""The shared loop: its learning rate, its curve, and what it does when a loss is no number any more."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from medshard.errors import MedshardError
from medshard.training.curve import CurvePoint, summarise_losses, write_curve_picture, write_curve_table
from medshard.training.determinism import deterministic
from medshard.training.optimisation import Batch, optimise, rate_factor
from medshard.training.recipe import PretrainingSection

SETTINGS = PretrainingSection(entries=("any",), steps=20, batch_size=1, learning_rate=0.1, weight_decay=0.0)


def test_the_learning_rate_warms_up_linearly_and_falls_along_half_a_cosine() -> None:
    factors = [rate_factor(step, steps=104, warmup_steps=4) for step in range(104)]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert factors[54] == pytest.approx(0.5)
    assert all(a > b for a, b in pairwise(factors[4:]))
    assert 0 < factors[-1] < 0.001


def test_each_batch_gives_one_point_and_training_lowers_the_loss() -> None:
    network = torch.nn.Linear(2, 1)
    batches = [{"case_id": ["entry/case"], "x": torch.ones(4, 2)} for _ in range(20)]

    def loss_of(batch: Batch) -> torch.Tensor:
        return (network(batch["x"]) - 3).square().mean()

    curve = optimise(
        network, batches, loss_of, SETTINGS, validate=lambda: 0.5, validate_every=8, title="test", progress=False
    )
    assert [point.step for point in curve] == list(range(1, 21))
    assert [point.step for point in curve if point.validation_dice is not None] == [8, 16, 20]
    losses = summarise_losses(curve)
    assert losses["last"] < losses["first"] / 2


def test_a_loss_that_is_no_number_stops_the_training_and_names_the_samples() -> None:
    network = torch.nn.Linear(1, 1)
    with pytest.raises(MedshardError) as raised:
        optimise(
            network,
            [{"case_id": ["entry/odd"]}],
            lambda _: network(torch.full((1, 1), torch.inf)).sum() * 0,
            SETTINGS,
            title="test",
            progress=False,
        )
    assert raised.value.code == "training.diverged"
    assert "entry/odd" in str(raised.value)


def test_a_deterministic_block_repeats_itself_and_leaves_the_caller_as_it_was() -> None:
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    drawn = []
    for _ in range(2):
        with deterministic(7, threads=threads + 1):
            drawn.append((torch.rand(3).tolist(), np.random.rand(3).tolist()))
            assert torch.get_num_threads() == threads + 1
    assert drawn[0] == drawn[1]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_equal_curves_are_equal_files(tmp_path: Path) -> None:
    curve = [
        CurvePoint(step=step, loss=1 / step, learning_rate=0.1, validation_dice=0.5 if step == 4 else None)
        for step in range(1, 9)
    ]
    for name in ("a", "b"):
        write_curve_table(curve, tmp_path / f"{name}.csv")
        write_curve_picture(curve, tmp_path / f"{name}.png", title="test")
    assert (tmp_path / "a.csv").read_text().splitlines()[4] == "4,0.25,0.1,0.5"
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_curve_of_one_step_can_be_drawn(tmp_path: Path) -> None:
    write_curve_picture([CurvePoint(step=1, loss=0.0, learning_rate=0.1)], tmp_path / "one.png", title="test")
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.size == (700, 400)
