"""Training a masked autoencoder on windows of the shards."""

from __future__ import annotations

from torch import Tensor, nn
from torch.utils.data import DataLoader

from medshard.loaders.dataset import ShardDataset
from medshard.registry.store import Store
from medshard.training.cohort import Cohort
from medshard.training.curve import CurvePoint
from medshard.training.determinism import deterministic
from medshard.training.models import masked_autoencoder
from medshard.training.objectives import masked_reconstruction_loss
from medshard.training.optimisation import Batch, optimise
from medshard.training.recipe import Recipe


def train_autoencoder(
    store: Store, recipe: Recipe, cohort: Cohort, *, workers: int, progress: bool
) -> tuple[nn.Module, list[CurvePoint]]:
    """A masked autoencoder after the steps of the recipe's `pretraining` section, and its loss curve."""
    section = recipe.pretraining
    dataset = ShardDataset(
        store,
        list(cohort.entries),
        plan=recipe.plan,
        patch_size=recipe.model.patch_size,
        seed=recipe.seed,
        samples_per_epoch=section.steps * section.batch_size,
        foreground=0.0,
        cases=cohort.names,
    )
    batches = DataLoader(dataset, batch_size=section.batch_size, shuffle=False, num_workers=workers)
    with deterministic(recipe.seed, threads=recipe.threads):
        network = masked_autoencoder(recipe.model, mask_ratio=section.mask_ratio)

        def loss_of(batch: Batch) -> Tensor:
            prediction, mask = network(batch["image"])
            return masked_reconstruction_loss(prediction, batch["image"], mask, recipe.model.token_size)

        curve = optimise(network, batches, loss_of, section, title=f"{recipe.id} pretraining", progress=progress)
    return network, curve
