"""The networks: a masked autoencoder, and a segmentation network on its encoder.

Both are put together from the building blocks of MONAI. A window `(b, 1, z, y, x)` of `ModelSection.patch_size` is cut
into tokens of `token_size` voxels. Thick slices want tokens that span fewer of them than columns, so the segmentation
network is composed here: the UNETR that MONAI ships knows cubes of 16 voxels and twelve layers only.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from monai.networks.blocks.dynunet_block import UnetOutBlock
from monai.networks.blocks.unetr_block import UnetrBasicBlock, UnetrUpBlock
from monai.networks.nets.masked_autoencoder_vit import MaskedAutoEncoderViT
from monai.networks.nets.vit import ViT
from torch import Tensor, nn

from medshard.errors import StoreError
from medshard.training.recipe import ModelSection

Step = tuple[int, int, int]

NORMALISATION = "instance"


class SegmentationNetwork(nn.Module):
    """A vision transformer whose tokens are decoded to voxel classes by convolutions with skip connections.

    The layout is that of UNETR (Hatamizadeh et al. 2022, arXiv:2103.10504) for any token size and depth. Each decoder
    level doubles the resolution and takes in a skip connection: the finest one from the image, the others from states
    of the transformer at equal distances in depth, the shallower the finer.

    forward: `(b, 1, z, y, x)` float32 -> logits `(b, 1 + classes, z, y, x)` float32; channel 0 is the background.
    """

    def __init__(self, section: ModelSection, *, classes: int) -> None:
        super().__init__()
        with _without_meshgrid_warning():
            self.vit = ViT(pos_embed_type="sincos", **_encoder_arguments(section))
        self.grid = section.token_grid
        steps = upsampling_steps(section.token_size)
        levels = range(len(steps))  # coarse to fine
        widths = [section.features << (len(steps) - 1 - level) for level in levels]
        self.taps = [section.layers * (len(steps) - 1 - level) // len(steps) - 1 for level in levels[:-1]]
        self.token_skips = nn.ModuleList(
            _projection(section.hidden_size, widths[level], steps[: level + 1]) for level in levels[:-1]
        )
        self.image_skip = UnetrBasicBlock(3, 1, widths[-1], 3, 1, NORMALISATION, res_block=True)
        inputs = [section.hidden_size, *widths[:-1]]
        self.decoders = nn.ModuleList(
            UnetrUpBlock(3, inputs[level], widths[level], 3, steps[level], NORMALISATION, res_block=True)
            for level in levels
        )
        self.classify = UnetOutBlock(3, widths[-1], 1 + classes)

    def forward(self, image: Tensor) -> Tensor:
        tokens, states = self.vit(image)
        skips = [project(self._as_grid(states[tap])) for project, tap in zip(self.token_skips, self.taps, strict=True)]
        features = self._as_grid(tokens)
        for decode, skip in zip(self.decoders, [*skips, self.image_skip(image)], strict=True):
            features = decode(features, skip)
        logits: Tensor = self.classify(features)
        return logits

    def _as_grid(self, tokens: Tensor) -> Tensor:
        """`(b, tokens, hidden)` -> `(b, hidden, z, y, x)` on the grid of tokens."""
        return tokens.transpose(1, 2).reshape(tokens.shape[0], -1, *self.grid)


def masked_autoencoder(section: ModelSection, *, mask_ratio: float) -> MaskedAutoEncoderViT:
    """The masked autoencoder of He et al. 2022 (arXiv:2111.06377) in three dimensions, as MONAI builds it.

    forward: `(b, 1, z, y, x)` float32 -> predictions `(b, tokens, voxels of a token)` and a mask `(b, tokens)`, 1 where
    the token was hidden. Which tokens are hidden comes from torch's global generator.
    """
    with _without_meshgrid_warning():
        return MaskedAutoEncoderViT(
            masking_ratio=mask_ratio,
            decoder_hidden_size=section.decoder_hidden_size,
            decoder_mlp_dim=section.decoder_hidden_size * 2,
            decoder_num_layers=section.decoder_layers,
            decoder_num_heads=section.decoder_heads,
            **_encoder_arguments(section),
        )


def segmentation_network(section: ModelSection, *, classes: int) -> SegmentationNetwork:
    return SegmentationNetwork(section, classes=classes)


def transfer_encoder(pretrained: Mapping[str, Tensor], network: SegmentationNetwork) -> list[str]:
    """Copy the encoder of a masked autoencoder into a segmentation network.

    These weights transfer: the patch embedding, the position embeddings (of a fixed sine and cosine, so equal whenever
    the grid of tokens is), all transformer blocks and the layer norm behind them. The class token, the mask token and
    the decoder of the autoencoder stay behind; the convolutional decoder of the segmentation network starts afresh.

    pretrained: state dict of `masked_autoencoder`.
    Returns the names of the tensors of `network` that were set, sorted. Raises StoreError when a tensor is missing or
    has another shape, which means that the two were made from different `model` sections.
    """
    layers = len(network.vit.blocks)
    target = network.vit.state_dict()
    moved: dict[str, Tensor] = {}
    for name, expected in target.items():
        source = name.replace("norm.", f"blocks.{layers}.") if name.startswith("norm.") else name
        found = pretrained.get(source)
        if found is None or found.shape != expected.shape:
            raise StoreError(
                "checkpoint.other_model",
                where=source,
                problem="the pretrained encoder does not fit the segmentation network",
                details={"expected": tuple(expected.shape), "found": None if found is None else tuple(found.shape)},
                action="Pretrain again with the `model` section of this recipe.",
            )
        moved[name] = found
    network.vit.load_state_dict(moved)
    return sorted(f"vit.{name}" for name in moved)


def parameter_count(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def upsampling_steps(token_size: Step) -> tuple[Step, ...]:
    """Factors (z, y, x) that lead from one token back to its voxels, coarse to fine.

    In-plane resolution is made last along axes where a token has fewer voxels: the finest levels are those where voxels
    are longest, as in networks for anisotropic scans. `(8, 16, 16)` gives three steps of `(2, 2, 2)`, then `(1, 2, 2)`.
    """
    doublings = [size.bit_length() - 1 for size in token_size]
    steps = [tuple(2 if step < count else 1 for count in doublings) for step in range(max(doublings))]
    return tuple((z, y, x) for z, y, x in steps)


def _encoder_arguments(section: ModelSection) -> dict[str, Any]:
    return {
        "in_channels": 1,
        "img_size": section.patch_size,
        "patch_size": section.token_size,
        "hidden_size": section.hidden_size,
        "mlp_dim": section.mlp_size,
        "num_layers": section.layers,
        "num_heads": section.heads,
    }


def _projection(hidden_size: int, features: int, steps: tuple[Step, ...]) -> nn.Sequential:
    """Tokens on their grid, brought to a finer level by transposed convolutions."""
    blocks: list[nn.Module] = []
    channels = hidden_size
    for step in steps:
        blocks += [
            nn.ConvTranspose3d(channels, features, kernel_size=step, stride=step),
            UnetrBasicBlock(3, features, features, 3, 1, NORMALISATION, res_block=True),
        ]
        channels = features
    return nn.Sequential(*blocks)


@contextmanager
def _without_meshgrid_warning() -> Iterator[None]:
    # MONAI 1.6 builds its sine and cosine embeddings with torch.meshgrid and leaves `indexing` out.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.meshgrid", category=UserWarning)
        yield
