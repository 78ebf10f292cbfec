"""The losses: what counts, what must not count, and what that does to gradients."""

import torch

from medshard.training.objectives import masked_reconstruction_loss, segmentation_loss, tokens_of

TOKEN = (2, 4, 4)


def _windows(batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 1, 4, 8, 12, generator=torch.Generator().manual_seed(1))


def test_tokens_are_boxes_of_voxels_in_c_order() -> None:
    image = _windows()
    tokens = tokens_of(image, TOKEN)
    assert tokens.shape == (2, 2 * 2 * 3, 2 * 4 * 4)
    # Token 4 of a grid of 2x2x3 is (z 0, y 1, x 1).
    assert torch.equal(tokens[1, 4], image[1, 0, 0:2, 4:8, 4:8].flatten())


def test_the_masked_loss_is_the_normalised_error_of_hidden_tokens() -> None:
    image = _windows(1)
    mask = torch.zeros(1, 12)
    mask[0, [2, 7]] = 1
    prediction = torch.zeros(1, 12, 32)
    target = tokens_of(image, TOKEN)[0, [2, 7]]
    target = (target - target.mean(1, keepdim=True)) / (target.var(1, keepdim=True) + 1e-6).sqrt()
    expected = target.square().mean()
    assert torch.isclose(masked_reconstruction_loss(prediction, image, mask, TOKEN), expected)


def test_visible_tokens_count_nothing() -> None:
    image = _windows()
    mask = torch.zeros(2, 12)
    mask[:, :5] = 1
    prediction = torch.randn(2, 12, 32, generator=torch.Generator().manual_seed(2)).requires_grad_()
    masked_reconstruction_loss(prediction, image, mask, TOKEN).backward()
    assert prediction.grad is not None
    assert torch.count_nonzero(prediction.grad[:, 5:]) == 0
    assert torch.count_nonzero(prediction.grad[:, :5]) > 0


def test_a_constant_token_does_not_divide_by_zero() -> None:
    loss = masked_reconstruction_loss(
        torch.zeros(1, 12, 32), torch.full((1, 1, 4, 8, 12), 7.0), torch.ones(1, 12), TOKEN
    )
    assert loss.item() == 0.0


def _segmentation_gradient(examined: list[list[bool]], has_label: list[bool]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 3, 4, 6, 6, generator=generator).requires_grad_()
    label = torch.zeros(2, 1, 4, 6, 6, dtype=torch.int64)
    label[:, :, 1:3, 1:4, 1:4] = 1
    label[:, :, 3, 4:, 4:] = 2
    loss = segmentation_loss(logits, label, examined=torch.tensor(examined), has_label=torch.tensor(has_label))
    loss.backward()
    assert logits.grad is not None
    return logits.grad


def test_a_class_that_nobody_looked_for_gets_no_gradient_from_that_sample() -> None:
    gradient = _segmentation_gradient([[True, False], [True, True]], [True, True])
    assert torch.count_nonzero(gradient[0, 2]) == 0
    assert torch.count_nonzero(gradient[0, 1]) > 0
    assert torch.count_nonzero(gradient[1, 2]) > 0


def test_an_unlabelled_sample_gets_no_gradient() -> None:
    gradient = _segmentation_gradient([[True, True], [True, True]], [True, False])
    assert torch.count_nonzero(gradient[1]) == 0
    assert torch.count_nonzero(gradient[0]) > 0


def test_a_batch_without_any_label_has_loss_zero_and_can_be_differentiated() -> None:
    assert torch.count_nonzero(_segmentation_gradient([[False, False], [True, True]], [True, False])) == 0


def test_an_unlabelled_sample_does_not_dilute_the_loss_of_the_others() -> None:
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(2, 2, 4, 6, 6, generator=generator)
    label = torch.ones(2, 1, 4, 6, 6, dtype=torch.int64)
    examined = torch.ones(2, 1, dtype=torch.bool)
    both = segmentation_loss(logits, label, examined=examined, has_label=torch.tensor([True, False]))
    alone = segmentation_loss(logits[:1], label[:1], examined=examined[:1], has_label=torch.tensor([True]))
    assert torch.equal(both, alone)


def test_a_confident_right_answer_costs_next_to_nothing() -> None:
    label = torch.zeros(1, 1, 4, 6, 6, dtype=torch.int64)
    label[:, :, 1:3, 1:4, 1:4] = 1
    logits = torch.cat([(label == 0).float(), (label == 1).float()], dim=1) * 40
    loss = segmentation_loss(logits, label, examined=torch.ones(1, 1, dtype=torch.bool), has_label=torch.tensor([True]))
    assert loss.item() < 1e-4


def test_a_window_without_the_class_costs_nothing_beside_one_that_has_it() -> None:
    label = torch.zeros(2, 1, 4, 6, 6, dtype=torch.int64)
    label[0, :, 1:3, 1:4, 1:4] = 1
    logits = torch.cat([(label == 0).float(), (label == 1).float()], dim=1) * 10
    loss = segmentation_loss(
        logits, label, examined=torch.ones(2, 1, dtype=torch.bool), has_label=torch.tensor([True, True])
    )
    assert loss.item() < 0.01


def test_samples_with_other_examined_classes_count_by_their_number() -> None:
    logits = torch.randn(3, 3, 4, 6, 6, generator=torch.Generator().manual_seed(5))
    label = torch.zeros(3, 1, 4, 6, 6, dtype=torch.int64)
    label[:, :, 1:3, 1:4, 1:4] = 1
    examined = torch.tensor([[True, False], [True, True], [True, False]])
    has_label = torch.ones(3, dtype=torch.bool)
    groups = [([0, 2], 2 / 3), ([1], 1 / 3)]
    expected = sum(
        weight
        * segmentation_loss(logits[members], label[members], examined=examined[members], has_label=has_label[members])
        for members, weight in groups
    )
    assert torch.isclose(
        segmentation_loss(logits, label, examined=examined, has_label=has_label), torch.as_tensor(expected)
    )
