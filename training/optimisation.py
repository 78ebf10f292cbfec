"""The loop that all trainings share: batches in, a curve out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from medshard.errors import MedshardError
from medshard.training.curve import CurvePoint

# Longer gradients are cut to this length: with few samples a step, a single odd window can throw the weights far off.
GRADIENT_NORM = 1.0

Batch = Mapping[str, Any]


class StepSettings(Protocol):
    """The fields that the sections of a recipe have in common."""

    @property
    def steps(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def warmup_steps(self) -> int: ...


def optimise(
    network: nn.Module,
    batches: Iterable[Batch],
    loss_of: Callable[[Batch], Tensor],
    settings: StepSettings,
    *,
    validate: Callable[[], float] | None = None,
    validate_every: int = 1,
    title: str,
    progress: bool,
) -> list[CurvePoint]:
    """Train with AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101), one point of the curve for each batch.

    validate: measured after each `validate_every` steps and after the last one.
    Raises MedshardError[training.diverged] when a loss is not finite.
    """
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    curve: list[CurvePoint] = []
    network.train()
    for step, batch in enumerate(tqdm(batches, title, total=settings.steps, unit="step", disable=not progress)):
        rate = settings.learning_rate * rate_factor(step, steps=settings.steps, warmup_steps=settings.warmup_steps)
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad(set_to_none=True)
        loss = loss_of(batch)
        if not torch.isfinite(loss):
            raise MedshardError(
                "training.diverged",
                where=f"{title}, step {step + 1}",
                problem="the loss is not a finite number any more",
                details={"loss": loss.item(), "samples": ", ".join(batch["case_id"])},
                action="Lower learning_rate in the recipe, or look at these samples.",
            )
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_NORM)
        optimiser.step()
        due = (step + 1) % validate_every == 0 or step + 1 == settings.steps
        dice = validate() if validate is not None and due else None
        curve.append(CurvePoint(step=step + 1, loss=loss.item(), learning_rate=rate, validation_dice=dice))
    return curve


def rate_factor(step: int, *, steps: int, warmup_steps: int) -> float:
    """Share of the full learning rate at a step: linear warm-up, then half a cosine down to nearly zero.

    The cosine is that of Loshchilov and Hutter 2017 (arXiv:1608.03983) without restarts.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup_steps) / max(1, steps - warmup_steps)))
