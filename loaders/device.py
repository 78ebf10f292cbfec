"""Batches on the device of the network: cast, normalised, and changed at random, one batch at a time.

Workers hand over stored integers (`ShardDataset(normalise="device")`), half the bytes of float32. What they would have
done, `DeviceTransform` does where the network is: the same steps in the same order in float32, so the values are equal
bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from medshard.errors import CatalogError
from medshard.loaders.augmentation import NO_CHANGE, Augmentation, Change, Matrix, change_of, index_matrix
from medshard.loaders.label_numbering import IGNORED

Batch = dict[str, Any]
SCALE, OUTSIDE = "_scale", "_outside"
"""What the keys end with that say how an image is normalised, and which part of it lies outside of the volume."""
PLACES = {"annotations/": ("box", "point"), "meshes/": ("points",)}
"""What keys begin with -> what in their rows are indices of the item."""


@dataclass(frozen=True, kw_only=True)
class DeviceTransform:
    """A function on collated batches, for images with and without `normalise="device"`.

    device: where everything that is a tensor goes; pinned memory is copied without waiting.
    augmentation: of `image` and `label` together; None changes nothing. The change of an item comes from its
        `augmentation_seed` alone; `affine`, `box`, `point` and the `points` of meshes follow it, a box as the box
        around its corners. The tiles of a bag (`tiles`) change alike, each in its plane. Noise is the same on every
        device of one kind, not of two.
    labels: "nearest", or "linear": the class with the largest share after linear interpolation of each class.
    border: label of places that were outside of the item before it was turned: "ignore" (-100), since nobody knows
        what the image would show there, or "background". There the image is what it is outside of a volume.
    """

    device: str | torch.device = "cuda"
    augmentation: Augmentation | None = None
    labels: Literal["nearest", "linear"] = "nearest"
    border: Literal["ignore", "background"] = "ignore"

    def __call__(self, batch: Mapping[str, Any]) -> Batch:
        """The batch on the device: images float32, labels int64, `<image>_scale` and `<image>_outside` used up.

        Raises CatalogError[batch.shapes] for images of different shapes that are to be changed, and
        CatalogError[batch.rows] for rows with places that cannot follow a change.
        """
        moved: Batch = {key: self._moved(value) for key, value in batch.items()}
        padding = torch.zeros((), device=self.device)
        for name in [key.removesuffix(SCALE) for key in batch if key.endswith(SCALE)]:
            scale, outside = moved.pop(name + SCALE), moved.pop(name + OUTSIDE, [])
            image = moved[name]
            moved[name] = (
                normalised(image, scale, outside) if isinstance(image, Tensor) else _each(image, scale, outside)
            )
            if name == "image":
                padding = scale[:, 6]
        for name in [key for key in moved if key.rpartition("/")[2] == "label"]:
            moved[name] = _long(moved[name])
        if self.augmentation is not None and "image" in moved:
            self._augment(moved, batch, self.augmentation, padding)
        return moved

    def _moved(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to(self.device, non_blocking=True)
        if isinstance(value, list) and any(isinstance(each, Tensor) for each in value):
            return [self._moved(each) for each in value]
        return value

    def _augment(self, moved: Batch, batch: Mapping[str, Any], augmentation: Augmentation, padding: Tensor) -> None:
        if not isinstance(moved["image"], Tensor):
            raise CatalogError(
                "batch.shapes",
                where="DeviceTransform",
                problem="images of different shapes cannot be changed together",
                action="Give the view a size, or leave out the augmentation.",
            )
        if _moves(augmentation):
            _check_rows(moved)
        image, bags = moved["image"].to(torch.float32), "tiles" in moved
        volumes = _volumes(image, bags)
        size = tuple(volumes.shape[2:])
        seeds = [int(seed) for seed in batch["augmentation_seed"]]
        spacings = _spacings(batch.get("affine"), len(seeds))
        changes = [change_of(augmentation, seed, spacing) for seed, spacing in zip(seeds, spacings, strict=True)]
        fill = padding.expand(len(seeds)) if "image_scale" in batch else _smallest(volumes)
        label = moved.get("label")
        maps = None if label is None else _volumes(label, bags)
        volumes, maps = self._turned(volumes, maps, changes, fill)
        moved["image"] = intensities_changed(volumes, changes, seeds).reshape(image.shape)
        if label is not None and maps is not None:
            moved["label"] = maps.reshape(label.shape)
        matrices = [index_matrix(change, size) for change in changes]
        if "affine" in moved:
            affine = batch["affine"].to(torch.float64)
            stacked = torch.from_numpy(np.stack(matrices))
            moved["affine"] = (affine[:, :, :, None] * stacked[:, None]).sum(dim=2).to(self.device)
        if _moves(augmentation):
            _move_rows(moved, matrices)

    def _turned(
        self, volumes: Tensor, maps: Tensor | None, changes: Sequence[Change], fill: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Images and label maps (b, c, z, y, x) after rotation, scaling and mirroring."""
        if all(change.linear is None and not change.flips for change in changes):
            return volumes, maps
        volumes = volumes.clone()
        maps = None if maps is None else maps.clone()
        for number, change in enumerate(changes):
            if change.linear is None and change.flips:  # exactly: nothing is interpolated
                axes = [axis - 3 for axis in change.flips]
                volumes[number] = volumes[number].flip(axes)
                if maps is not None:
                    maps[number] = maps[number].flip(axes)
        turned = [number for number, change in enumerate(changes) if change.linear is not None]
        if not turned:
            return volumes, maps
        grid = _places([changes[number] for number in turned], volumes.shape[2:], volumes.device)
        value = fill[turned].reshape(-1, 1, 1, 1, 1)
        volumes[turned] = grid_sample(volumes[turned] - value, grid, align_corners=True) + value
        if maps is not None:
            outside = IGNORED if self.border == "ignore" else 0
            turn = labels_nearest if self.labels == "nearest" else labels_linear
            maps[turned] = turn(maps[turned], grid, outside)
        return volumes, maps


def normalised(image: Tensor, scale: Tensor, outside: Sequence[Tensor | None]) -> Tensor:
    """`(clip(slope * stored + intercept) - mean) / std`, each step in float32, and the padding around it.

    image: (b, ...) as stored; scale: float32 (b, 7): slope, intercept, low, high, mean, std, padding; outside: for each
    item a mask of its shape, or one that broadcasts to it, of what lies outside of the volume; None when nothing does.
    """
    slope, intercept, low, high, mean, std, padding = (
        column.reshape(-1, *(1,) * (image.ndim - 1)) for column in scale.unbind(dim=1)
    )
    # A division by a tensor, since one by a number is a multiplication on CUDA.
    values = image.to(torch.float32, copy=True).mul_(slope).add_(intercept)
    torch.minimum(torch.maximum(values, low, out=values), high, out=values)
    values.sub_(mean).div_(std)
    for number, mask in enumerate(outside):
        if mask is not None:
            values[number] = torch.where(mask, padding[number], values[number])
    return values


def _each(images: Sequence[Tensor], scale: Tensor, outside: Sequence[Tensor | None]) -> list[Tensor]:
    """The same for images of different shapes."""
    masks = outside if len(outside) else [None] * len(images)
    return [
        normalised(image[None], scale[number : number + 1], [mask])[0]
        for number, (image, mask) in enumerate(zip(images, masks, strict=True))
    ]


def _long(labels: Tensor | Sequence[Tensor]) -> Tensor | list[Tensor]:
    if isinstance(labels, Tensor):
        return labels.to(torch.int64)
    return [label.to(torch.int64) for label in labels]


def labels_nearest(maps: Tensor, grid: Tensor, outside: int) -> Tensor:
    """Label maps (b, c, z, y, x) int64 at the places of a grid, each from the nearest voxel."""
    shifted = (maps - outside).to(torch.float32)  # exact below 2**24; zero is what `grid_sample` puts outside
    return grid_sample(shifted, grid, mode="nearest", align_corners=True).to(torch.int64) + outside


def labels_linear(maps: Tensor, grid: Tensor, outside: int) -> Tensor:
    """Label maps (b, c, z, y, x) int64: the class with the largest share at each place; of equal ones the smallest."""
    best = 1.0 - grid_sample(torch.ones_like(maps, dtype=torch.float32), grid, align_corners=True)
    chosen = torch.full_like(maps, outside)
    for value in maps.unique().tolist():
        share = grid_sample((maps == value).to(torch.float32), grid, align_corners=True)
        if value == outside:
            share = share + 1.0 - grid_sample(torch.ones_like(share), grid, align_corners=True)
        better = share > best
        best, chosen = torch.where(better, share, best), torch.where(better, value, chosen)
    return chosen


def intensities_changed(volumes: Tensor, changes: Sequence[Change], seeds: Sequence[int]) -> Tensor:
    """Images (b, c, z, y, x) with noise, brightness and gamma, item by item."""
    if all(
        (change.noise, change.brightness, change.gamma) == (NO_CHANGE.noise, NO_CHANGE.brightness, NO_CHANGE.gamma)
        for change in changes
    ):
        return volumes
    changed = []
    for volume, change, seed in zip(volumes, changes, seeds, strict=True):
        values = volume
        if change.noise:
            generator = torch.Generator(device=values.device).manual_seed(seed)
            values = values + change.noise * torch.randn(values.shape, generator=generator, device=values.device)
        if change.brightness != 1.0:
            values = values * change.brightness
        if change.gamma != 1.0:
            low, high = values.aminmax()
            extent = (high - low).clamp(min=torch.finfo(torch.float32).tiny)
            values = ((values - low) / extent) ** change.gamma * extent + low
        changed.append(values)
    return torch.stack(changed)


def places_moved(places: Tensor, matrix: Matrix) -> Tensor:
    """Points (n, 3), or low and high edges of boxes (n, 6), where a change takes them; the dtype stays.

    matrix: (4, 4), index (z, y, x, 1) before the change -> after it. Boxes become the boxes around their eight corners,
    found axis by axis (Arvo, Transforming axis-aligned bounding boxes, Graphics Gems, 1990).
    """
    to_after = torch.from_numpy(matrix).to(places.device)
    ends = places.to(torch.float64).unflatten(1, (places.shape[1] // 3, 1, 3))
    terms = ends * to_after[:3, :3]  # (n, ends, axis after, axis before)
    edges = [terms.amin(dim=1), terms.amax(dim=1)][: ends.shape[1]]
    return torch.cat([edge.sum(dim=2) + to_after[:3, 3] for edge in edges], dim=1).to(places.dtype)


def _move_rows(moved: Batch, matrices: Sequence[Matrix]) -> None:
    """The rows and meshes of each item follow its change; those of the caller's batch stay as they are.

    matrices: (4, 4) of each item, index after the change -> before it.
    """
    inverses: list[Matrix] = [np.asarray(np.linalg.inv(matrix), np.float64) for matrix in matrices]
    for key, names in _with_places(moved):
        moved[key] = [
            rows and {**rows, **{name: places_moved(rows[name], matrix) for name in names if name in rows}}
            for rows, matrix in zip(moved[key], inverses, strict=True)
        ]


def _with_places(batch: Batch) -> list[tuple[str, tuple[str, ...]]]:
    return [(key, names) for key in batch for start, names in PLACES.items() if key.startswith(start)]


def _check_rows(batch: Batch) -> None:
    """Raises CatalogError[batch.rows] for places that are no indices of an item, or are not listed item by item."""
    for key, _ in _with_places(batch):
        problem = ""
        if not isinstance(batch[key], list):
            problem = "rows are not a list with a place for each item, so they cannot follow its change"
            action = "Make batches with `collate_samples`."
        elif any(rows and {"z", "z_min"} & rows.keys() for rows in batch[key]):
            problem = "items without an affine (clips, bags of tiles) have places of the source, which cannot follow"
            action = (
                "Leave flips, rotation and scaling out of the augmentation; or leave these rows out of `with_`, or "
                "their columns of places out in a `transform`; or take a view with an affine."
            )
        if problem:
            raise CatalogError("batch.rows", where=key, problem=problem, action=action)


def _moves(augmentation: Augmentation) -> bool:
    """Whether it may move anything, rather than change values alone."""
    turns = any(augmentation.rotation_degrees) or augmentation.scaling != (1.0, 1.0)
    return bool(augmentation.flips) or (turns and augmentation.affine_probability > 0.0)


def _volumes(values: Tensor, bags: bool) -> Tensor:
    """(b, c, z, y, x) of an image or a label map; slices have one z, and so have tiles (b, tiles, c, y, x)."""
    if bags:
        return values.flatten(1, 2).unsqueeze(2)
    return values.reshape(*values.shape[:2], *(1,) * (5 - values.ndim), *values.shape[2:])


def _places(changes: Sequence[Change], size: Sequence[int], device: torch.device) -> Tensor:
    """(b, z, y, x, 3): where each voxel of the result comes from, as `grid_sample` counts, x first, from -1 to 1."""
    matrices = np.stack([index_matrix(change, size) for change in changes])
    axes = [torch.arange(length, dtype=torch.float32, device=device) for length in size]
    z, y, x = axes[0][None, :, None, None], axes[1][None, None, :, None], axes[2][None, None, None, :]
    coordinates = []
    for axis in (2, 1, 0):
        row = torch.from_numpy(matrices[:, axis].astype(np.float32)).to(device)[:, :, None, None, None]
        index = row[:, 0] * z + row[:, 1] * y + row[:, 2] * x + row[:, 3]
        coordinates.append(index * (2.0 / (size[axis] - 1)) - 1.0 if size[axis] > 1 else index)
    return torch.stack(torch.broadcast_tensors(*coordinates), dim=-1)


def _spacings(affine: Tensor | None, count: int) -> list[list[float]]:
    if affine is None:
        return [[1.0, 1.0, 1.0]] * count
    spacings: list[list[float]] = affine[:, :3, :3].to(torch.float64).norm(dim=1).tolist()
    return spacings


def _smallest(volumes: Tensor) -> Tensor:
    return volumes.flatten(1).amin(dim=1)
