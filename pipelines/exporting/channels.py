"""Images of a case as channels on one grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medshard.converters.volume import Affine, Array, Image, LabelLayer, Volume
from medshard.pipelines.exporting.label_map import same_grid


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One channel (z, y, x) of an image. number: its place in the image; of: how many the image has."""

    image: Image
    name: str
    number: int

    @property
    def key(self) -> tuple[str, int]:
        return self.name, self.number

    @property
    def of(self) -> int:
        return int(self.image.array.shape[-4])

    @property
    def array(self) -> Array:
        """(1, z, y, x), or (t, 1, z, y, x)."""
        return self.image.array[..., self.number : self.number + 1, :, :, :]

    @property
    def label(self) -> str:
        """What it shows: the sequence or the modality, else the name of the image."""
        shown = self.image.sequence or self.image.modality or self.name
        return shown if self.of == 1 else f"{shown}-{self.number}"


@dataclass(frozen=True, kw_only=True)
class OnOneGrid:
    """What of a case lies on the grid of its labels, or of its first image where it has none.

    channels, layers: on that grid. elsewhere: names of images on other grids. other_layers: likewise.
    """

    shape: tuple[int, int, int]
    affine: Affine
    channels: tuple[Channel, ...]
    layers: Mapping[str, LabelLayer]
    elsewhere: tuple[str, ...] = ()
    other_layers: tuple[str, ...] = ()


def on_one_grid(volume: Volume, layers: Mapping[str, LabelLayer]) -> OnOneGrid | None:
    """None where no image lies on the grid of a label, or there is no image at all."""
    images = list(volume.images.items())
    reference = next(
        (image for _, image in images for layer in layers.values() if _alike(image, layer)),
        images[0][1] if images and not layers else None,
    )
    if reference is None:
        return None
    here = {name: image for name, image in images if _alike(reference, image)}
    kept = {name: layer for name, layer in layers.items() if _alike(reference, layer)}
    return OnOneGrid(
        shape=reference.shape,
        affine=reference.affine,
        channels=channels_of(here),
        layers=kept,
        elsewhere=tuple(name for name, _ in images if name not in here),
        other_layers=tuple(name for name in layers if name not in kept),
    )


def channels_of(images: Mapping[str, Image]) -> tuple[Channel, ...]:
    return tuple(
        Channel(image=image, name=name, number=number)
        for name, image in images.items()
        for number in range(image.array.shape[-4])
    )


def has_bad_numbers(channels: Sequence[Channel]) -> bool:
    """Whether a float image has a number that is not finite."""
    return any(channel.image.array.dtype.kind == "f" and not np.isfinite(channel.array).all() for channel in channels)


def _alike(one: Image | LabelLayer, other: Image | LabelLayer) -> bool:
    return same_grid(one.shape, one.affine, other.shape, other.affine)
