"""The networks: their shapes, and what the segmentation network takes over from the autoencoder."""

import pytest
import torch

from medshard.errors import StoreError
from medshard.training.models import (
    SegmentationNetwork,
    masked_autoencoder,
    parameter_count,
    transfer_encoder,
    upsampling_steps,
)
from medshard.training.objectives import segmentation_loss, tokens_of
from medshard.training.recipe import ModelSection, Recipe, load_recipes


def test_the_segmentation_network_gives_one_channel_per_class_and_the_background(recipe: Recipe) -> None:
    network = SegmentationNetwork(recipe.model, classes=3)
    assert network(torch.zeros(2, 1, 8, 32, 32)).shape == (2, 4, 8, 32, 32)


@pytest.mark.parametrize("token_size", [(1, 8, 8), (4, 4, 16), (2, 2, 2)])
def test_any_token_size_of_powers_of_two_can_be_decoded(recipe: Recipe, token_size: tuple[int, int, int]) -> None:
    section = recipe.model.model_copy(update={"token_size": token_size, "layers": 4})
    network = SegmentationNetwork(section, classes=1)
    assert network(torch.zeros(1, 1, 8, 32, 32)).shape == (1, 2, 8, 32, 32)


def test_upsampling_steps_lead_from_a_token_to_its_voxels_with_long_voxels_spared_last() -> None:
    assert upsampling_steps((8, 16, 16)) == ((2, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2))
    assert upsampling_steps((1, 4, 4)) == ((1, 2, 2), (1, 2, 2))


def test_the_autoencoder_predicts_every_voxel_of_every_token_and_hides_the_share_it_is_told(recipe: Recipe) -> None:
    image = torch.zeros(2, 1, 8, 32, 32)
    prediction, mask = masked_autoencoder(recipe.model, mask_ratio=0.75)(image)
    assert prediction.shape == tokens_of(image, recipe.model.token_size).shape
    assert mask.sum(dim=1).tolist() == [24, 24]


def test_hidden_tokens_do_not_reach_the_prediction(recipe: Recipe) -> None:
    network = masked_autoencoder(recipe.model, mask_ratio=0.75)
    image = torch.randn(1, 1, 8, 32, 32, requires_grad=True)
    prediction, mask = network(image)
    prediction.sum().backward()
    reached = tokens_of(image.grad, recipe.model.token_size).abs().sum(dim=-1) > 0
    assert torch.equal(reached, mask == 0)


def test_the_whole_encoder_and_nothing_else_is_transferred(recipe: Recipe) -> None:
    pretrained = masked_autoencoder(recipe.model, mask_ratio=0.75).state_dict()
    network = SegmentationNetwork(recipe.model, classes=1)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    names = transfer_encoder(pretrained, network)
    after = network.state_dict()
    assert names == sorted(name for name in after if name.startswith("vit."))
    layers = recipe.model.layers
    for name in names:
        source = name.removeprefix("vit.")
        source = source.replace("norm.", f"blocks.{layers}.") if source.startswith("norm.") else source
        assert torch.equal(after[name], pretrained[source]), name
    untouched = set(after) - set(names)
    assert all(torch.equal(after[name], before[name]) for name in untouched)
    assert any(not torch.equal(after[name], before[name]) for name in names)


def test_the_demo_recipe_transfers_the_number_of_parameters_that_its_documentation_names() -> None:
    section = load_recipes()["lesion-demo"].model
    network = SegmentationNetwork(section, classes=1)
    assert parameter_count(network.vit) == 1_384_512
    names = transfer_encoder(masked_autoencoder(section, mask_ratio=0.75).state_dict(), network)
    state = network.state_dict()
    positions = state["vit.patch_embedding.position_embeddings"].numel()
    assert sum(state[name].numel() for name in names) == 1_384_512 + positions == 1_396_800


def test_an_encoder_of_another_size_is_refused_by_the_name_of_the_tensor(recipe: Recipe) -> None:
    other = ModelSection.model_validate({**recipe.model.model_dump(), "hidden_size": 36})
    pretrained = masked_autoencoder(other, mask_ratio=0.75).state_dict()
    with pytest.raises(StoreError, match="patch_embedding") as raised:
        transfer_encoder(pretrained, SegmentationNetwork(recipe.model, classes=1))
    assert raised.value.code == "checkpoint.other_model"


def test_voxels_that_nobody_judged_teach_nothing() -> None:
    """No gradient from them, and the same loss whatever the network says there."""
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn((1, 3, 4, 8, 8), generator=generator, requires_grad=True)
    label = torch.randint(0, 3, (1, 1, 4, 8, 8), generator=generator)
    label[..., :4] = -100
    arguments = {"examined": torch.tensor([[True, True]]), "has_label": torch.tensor([True])}
    loss = segmentation_loss(logits, label, **arguments)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[..., :4].abs().max() == 0
    assert logits.grad[..., 4:].abs().max() > 0
    elsewhere = logits.detach().clone()
    elsewhere[..., :4] = 9.0
    torch.testing.assert_close(segmentation_loss(elsewhere, label, **arguments), loss.detach())
