"""What is minimised: the reconstruction of hidden tokens, and the overlap of classes that somebody looked for."""

from __future__ import annotations

import torch
from monai.losses.dice import DiceCELoss
from torch import Tensor

Shape = tuple[int, int, int]

# A token of one constant value (air, padding) has no variance to divide by; He et al. add the same number.
VARIANCE_FLOOR = 1e-6


CERTAIN = 50.0
"""A logit whose softmax is 1 to every digit of float32, and whose negative is 0."""


def tokens_of(image: Tensor, token_size: Shape) -> Tensor:
    """Cut windows `(b, 1, z, y, x)` into tokens `(b, tokens, voxels)`, both in C order of (z, y, x)."""
    batch = image.shape[0]
    depth, height, width = token_size
    z, y, x = (size // token for size, token in zip(image.shape[2:], token_size, strict=True))
    blocks = image.reshape(batch, z, depth, y, height, x, width)
    return blocks.permute(0, 1, 3, 5, 2, 4, 6).reshape(batch, z * y * x, depth * height * width)


def masked_reconstruction_loss(prediction: Tensor, image: Tensor, mask: Tensor, token_size: Shape) -> Tensor:
    """Mean squared error over the hidden tokens, each normalised to mean 0 and variance 1 by its own voxels.

    He et al. 2022, Masked Autoencoders Are Scalable Vision Learners (arXiv:2111.06377), section 3: with x the voxels of
    a hidden token, loss = mean((prediction - (x - mean(x)) / sqrt(var(x) + 1e-6))^2). A visible token counts nothing.

    prediction: (b, tokens, voxels) float32. image: (b, 1, z, y, x) float32. mask: (b, tokens), 1 where hidden.
    Returns a scalar.
    """
    target = tokens_of(image, token_size)
    variance, mean = torch.var_mean(target, dim=-1, keepdim=True)
    target = (target - mean) / (variance + VARIANCE_FLOOR).sqrt()
    error = (prediction - target).square().mean(dim=-1)
    hidden = mask.to(error.dtype)
    return (error * hidden).sum() / hidden.sum()


def segmentation_loss(logits: Tensor, label: Tensor, *, examined: Tensor, has_label: Tensor) -> Tensor:
    """Dice plus cross-entropy (MONAI's DiceCELoss) over background and examined classes of the labelled samples.

    Data sets are annotated in part. A class that nobody looked for in a sample takes no part in its softmax, so its
    channel gets no gradient from there: it is neither taught to be absent nor to be present. A sample without a label
    is left out. Dice is taken over all samples with the same examined classes together, because a window without the
    class has no overlap of its own; such groups are weighted by their number of samples. The loss is zero when no
    sample is left.

    Voxels that nobody judged count as background that is predicted as such, which has no gradient and no part in the
    Dice of a class.

    logits: (b, 1 + classes, z, y, x) float32. label: (b, 1, z, y, x) int64, 0 for the background, below 0 where nobody
    judged. examined: (b, classes) bool. has_label: (b,) bool.
    Returns a scalar that depends on `logits` also when it is zero, so that it can be differentiated.
    """
    dice_ce = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
    usable = has_label & examined.any(dim=1)
    total = logits.sum() * 0.0
    logits, label = torch.where(label < 0, _background_like(logits), logits), label.clamp(min=0)
    if not usable.any():
        return total
    for looked_for in torch.unique(examined[usable], dim=0):
        members = torch.nonzero(usable & (examined == looked_for).all(dim=1)).flatten()
        channels = torch.cat([torch.zeros(1, dtype=torch.int64), 1 + torch.nonzero(looked_for).flatten()])
        # A value of a class that is not examined cannot be told from background in these samples.
        renumbered = torch.zeros(logits.shape[1], dtype=torch.int64)
        renumbered[channels] = torch.arange(len(channels))
        loss = dice_ce(logits[members][:, channels], renumbered[label[members]])
        total = total + loss * len(members) / usable.sum()
    return total


def _background_like(logits: Tensor) -> Tensor:
    """(1, 1 + classes, 1, 1, 1): logits of a voxel that is background beyond doubt."""
    certain = torch.full((1, logits.shape[1], 1, 1, 1), -CERTAIN, dtype=logits.dtype)
    certain[:, 0] = CERTAIN
    return certain
