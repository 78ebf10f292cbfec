"""Training the segmentation network on windows of the shards, and applying it to whole cases."""

from __future__ import annotations

import torch
from monai.inferers.inferer import SlidingWindowInferer
from monai.metrics.meandice import compute_dice
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from medshard.loaders.dataset import ShardDataset
from medshard.registry.store import CaseRecord, Store
from medshard.training.checkpoint import load_checkpoint
from medshard.training.cohort import Cohort
from medshard.training.curve import CurvePoint
from medshard.training.determinism import deterministic
from medshard.training.metrics import mean_of
from medshard.training.models import SegmentationNetwork, transfer_encoder
from medshard.training.objectives import segmentation_loss
from medshard.training.optimisation import Batch, optimise
from medshard.training.recipe import ModelSection, Recipe
from medshard.training.stages import output_folder

Shape = tuple[int, int, int]


def train_segmentation(
    store: Store,
    recipe: Recipe,
    cohort: Cohort,
    validation: Cohort | None,
    base: CaseRecord,
    *,
    workers: int,
    progress: bool,
) -> tuple[SegmentationNetwork, int, list[CurvePoint]]:
    """(network, number of parameters taken over from `base`, curve) after the recipe's `finetuning` section.

    base: record of the stage `pretrained`; its output is a checkpoint of a masked autoencoder.
    """
    section = recipe.finetuning
    dataset = windows(store, recipe, cohort, section.steps * section.batch_size, foreground=section.foreground)
    batches = DataLoader(dataset, batch_size=section.batch_size, shuffle=False, num_workers=workers)
    held_out = _validation_batch(store, recipe, validation)
    with deterministic(recipe.seed, threads=recipe.threads):
        network = SegmentationNetwork(recipe.model, classes=len(recipe.classes))
        transferred = transfer_encoder(load_checkpoint(output_folder(store, base)).state_dict, network)
        use_channels_last(network)

        def loss_of(batch: Batch) -> Tensor:
            image = batch["image"].contiguous(memory_format=torch.channels_last_3d)
            return segmentation_loss(
                network(image), batch["label"], examined=batch["examined"], has_label=batch["has_label"]
            )

        curve = optimise(
            network,
            batches,
            loss_of,
            section,
            validate=(lambda: window_dice(network, held_out)) if held_out is not None else None,
            validate_every=section.validate_every,
            title=f"{recipe.id} fine-tuning",
            progress=progress,
        )
    tensors = network.state_dict()
    return network, sum(tensors[name].numel() for name in transferred), curve


def load_segmentation_network(store: Store, record: CaseRecord) -> SegmentationNetwork:
    """The network of a `finetuned` record, ready to predict."""
    checkpoint = load_checkpoint(output_folder(store, record))
    model = dict(checkpoint.model)
    classes = model.pop("classes")
    network = SegmentationNetwork(ModelSection.model_validate(model), classes=len(classes))
    network.load_state_dict(dict(checkpoint.state_dict))
    use_channels_last(network)
    return network.eval()


def predict_case(network: SegmentationNetwork, image: Tensor, *, patch_size: Shape, overlap: float) -> Tensor:
    """The class of every voxel of a whole case.

    image: (1, z, y, x) float32, normalised as in training. Returns (z, y, x) int64, 0 for the background.
    Overlapping windows are blended with Gaussian weights, as their borders see less of the surroundings.
    """
    inferer = SlidingWindowInferer(roi_size=patch_size, sw_batch_size=1, overlap=overlap, mode="gaussian")
    with torch.inference_mode():
        logits = inferer(image[None], network)
    if not isinstance(logits, Tensor):
        message = "the segmentation network must give one tensor"
        raise TypeError(message)
    return logits[0].argmax(dim=0)


def windows(store: Store, recipe: Recipe, cohort: Cohort, count: int, *, foreground: float) -> ShardDataset:
    """The first `count` windows of the recipe's stream over the cases of a cohort, with labels."""
    return ShardDataset(
        store,
        cohort.entries,
        plan=recipe.plan,
        patch_size=recipe.model.patch_size,
        seed=recipe.seed,
        samples_per_epoch=count,
        foreground=foreground,
        cases=cohort.names,
        classes=list(recipe.classes),
    )


def use_channels_last(network: SegmentationNetwork) -> None:
    """Lay the weights of convolutions out with channels last, which CPUs work through in two thirds of the time."""
    for parameter in network.parameters():
        if parameter.dim() == 5:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)


def window_dice(network: SegmentationNetwork, batch: Batch) -> float:
    """Mean Dice over the windows and classes of a batch that were examined and hold the class."""
    network.eval()
    scores: list[float | None] = []
    with torch.inference_mode():
        for image, label, examined in zip(batch["image"], batch["label"], batch["examined"], strict=True):
            prediction = torch.where(label < 0, 0, network(image[None]).argmax(dim=1, keepdim=True))
            for value in (1 + torch.nonzero(examined).flatten()).tolist():
                if bool((label == value).any()):
                    scores.append(compute_dice(prediction == value, (label == value)[None]).item())
    network.train()
    return mean_of(scores) or 0.0


def _validation_batch(store: Store, recipe: Recipe, validation: Cohort | None) -> Batch | None:
    if validation is None:
        return None
    # Placed on labelled voxels: a window without the class has no Dice.
    dataset = windows(store, recipe, validation, recipe.finetuning.validation_windows, foreground=1.0)
    batch: Batch = default_collate([dataset[number] for number in range(recipe.finetuning.validation_windows)])
    return batch
