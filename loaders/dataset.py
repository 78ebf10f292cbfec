"""`ShardDataset`: windows of shards as a torch data set."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medshard.converters.plan import Shape
from medshard.converters.volume import Array
from medshard.errors import CatalogError, MissingExtraError
from medshard.loaders.label_numbering import number_labels
from medshard.loaders.normalisation import normalisation_of
from medshard.loaders.sample_row import SampleRow, StoredLabel
from medshard.loaders.selection import CaseName, LeftOut, read_part, select_samples
from medshard.loaders.shard_reader import SampleIndex
from medshard.loaders.stream import Draw, Stream, draw, entry_weights, pick, place_window
from medshard.registry.store.objects import ObjectRef, Store

try:
    import torch
    from torch.utils.data import Dataset
except ImportError as error:
    raise MissingExtraError(
        "extra.loaders",
        where="medshard.loaders.dataset",
        problem="torch is not installed",
        details={"reason": error},
        action="Install it with: pip install medshard[loaders]",
    ) from error

Item = dict[str, Any]


class ShardDataset(Dataset[Item]):
    """Windows of the samples of one or more entries, as a map-style torch data set.

    Item n is a pure function of the arguments and n: it does not depend on workers, ranks, or items before it.

        image        float32 (c, *patch_size), normalised by the plan's rule for the modality
        label        int64 (1, *patch_size), numbers of `classes`; zeros where the sample has no label,
                     -100 for voxels that nobody judged
        examined     bool (len(classes),): whether somebody looked for the class in this case
        has_label    bool (): whether the sample has the label layer
        affine       float64 (4, 4): index (z, y, x, 1) of this window -> RAS+ mm
        sample_id    the name of the sample in the index; leads to its record in the store
        case_id      "entry/case"
        augmentation_seed   a number below 2**32 for transforms that want one

    Outside of a volume that is smaller than the patch, the image has the value that the modality shows where nothing
    is (`normalisation_of`), and the label 0.
    """

    def __init__(
        self,
        root: str | Path | Store,
        entries: Sequence[str],
        plan: str = "default",
        patch_size: Shape = (32, 96, 96),
        *,
        seed: int = 0,
        samples_per_epoch: int | None = None,
        foreground: float = 0.33,
        weights: Mapping[str, float] | None = None,
        cases: Collection[CaseName] | None = None,
        split: ObjectRef | str | Path | None = None,
        part: str | None = None,
        layer: str | Mapping[str, str] | None = None,
        classes: Sequence[str] | None = None,
        normalise: bool = True,
        transform: Callable[[Item], Item] | None = None,
    ) -> None:
        """Open the shards of the entries; no image is read yet.

        root: the store, or its path. entries: ids; plan: the name of the plan that all of them were built with.
        patch_size: (z, y, x) in voxels.
        samples_per_epoch: `len()`; by default the number of patches that tile all samples.
        foreground: probability that a window is placed on a labelled voxel: class first, then voxel.
        weights: entry -> relative frequency; by default all samples are equally likely.
        cases: (entry, case) pairs to restrict to. split, part: a split table in the store, by its name or its path,
            and the part of it to restrict to.
        layer, classes: see `number_labels`.
        transform: called with the item; if it has `set_random_state(seed=...)`, as MONAI's do, it is seeded each time.
        Raises StoreError, SplitError, CatalogError or CaseError (different numbers of channels).
        """
        self.store = root if isinstance(root, Store) else Store.open(root, create=False)
        self.entries = (entries,) if isinstance(entries, str) else tuple(entries)
        self.patch_size = _checked_patch_size(patch_size)
        self.normalise = normalise
        self.transform = transform
        self.indices = tuple(SampleIndex.open(self.store, entry, plan) for entry in self.entries)
        self._numbering = number_labels(self.indices, layer, classes)
        wanted = _wanted_cases(self.store, cases, split, part)
        self._selection = select_samples(self.indices, wanted)
        sizes = tuple(len(rows) for rows in self._selection.rows)
        self.stream = Stream(
            seed=seed, sizes=sizes, weights=entry_weights(self.entries, sizes, weights), foreground=foreground
        )
        self._length = samples_per_epoch if samples_per_epoch is not None else self._patches_to_cover()
        self._epoch = 0

    @property
    def classes(self) -> tuple[str, ...]:
        """The concepts of the label numbers 1, 2, ...; 0 is everything else."""
        return self._numbering.classes

    @property
    def samples(self) -> list[CaseName]:
        """(entry, case) of every sample that windows are drawn from."""
        return [(row.entry, row.case) for row in self.rows()]

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """The cases that were asked for and are not in the data set, with the reason."""
        return self._selection.left_out

    def rows(self) -> Iterator[SampleRow]:
        """What the index knows of every sample that windows are drawn from, entry by entry."""
        for index, numbers in zip(self.indices, self._selection.rows, strict=True):
            for number in numbers:
                yield index.row(int(number))

    def set_epoch(self, epoch: int) -> None:
        """Let item n be number `epoch * len(self) + n` of the stream.

        Workers that outlive the epoch (`persistent_workers=True`) do not see this: number samples through with a
        `SampleStream` there.
        """
        self._epoch = epoch

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Item]:
        return (self[n] for n in range(len(self)))

    def __getitem__(self, n: int) -> Item:
        """Item n; n may be larger than `len(self)`, as the numbers of a `SampleStream` are."""
        if n < 0:
            raise IndexError(n)
        drawn = draw(self.stream, self._epoch * self._length + n)
        index = self.indices[drawn.entry_index]
        row = index.row(int(self._selection.rows[drawn.entry_index][drawn.sample_index]))
        voxel = self._foreground_voxel(index, row, drawn) if drawn.foreground else None
        start = place_window(drawn, row.shape, self.patch_size, voxel)
        item = self._window(index, row, start, self.patch_size)
        item["augmentation_seed"] = drawn.augmentation_seed
        if self.transform is None:
            return item
        set_random_state = getattr(self.transform, "set_random_state", None)
        if set_random_state is not None:
            set_random_state(seed=drawn.augmentation_seed)
        return self.transform(item)

    def whole(self, entry: str, case: str) -> Item:
        """A whole case as an untransformed item: image (c, z, y, x), label (1, z, y, x), treated like the windows.

        Raises StoreError[sample.unknown] when the plan has no sample of it.
        """
        index = self.indices[self.entries.index(entry)]
        row = index.find(case)
        return self._window(index, row, (0, 0, 0), row.shape)

    def _window(self, index: SampleIndex, row: SampleRow, start: Shape, size: Shape) -> Item:
        label = self._numbering.label_of(row)
        affine = row.affine.copy()
        affine[:, 3] = row.affine @ (*start, 1.0)
        return {
            "image": torch.from_numpy(self._image(index, row, start, size)),
            "label": torch.from_numpy(self._label(index, row, label, start, size)),
            "examined": torch.from_numpy(self._numbering.examined(label[1] if label else None)),
            "has_label": torch.tensor(label is not None),
            "affine": torch.from_numpy(affine),
            "sample_id": row.sample_id,
            "case_id": row.name,
        }

    def _image(self, index: SampleIndex, row: SampleRow, start: Shape, size: Shape) -> Array:
        normalisation = normalisation_of(row, index.plan, normalise=self.normalise)
        # Only what lies inside is read and normalised: the padding need not be a number that can be stored.
        low = tuple(max(0, begin) for begin in start)
        inside = tuple(
            min(extent, begin + length) - first
            for begin, length, first, extent in zip(start, size, low, row.shape, strict=True)
        )
        image = normalisation.apply(index.read_window(row, "image", low, inside, dtype=np.float32))
        if inside == tuple(size):
            return image
        padded = np.full((row.channels, *size), normalisation.padding, np.float32)
        place = tuple(slice(a - begin, a - begin + n) for a, begin, n in zip(low, start, inside, strict=True))
        padded[(slice(None), *place)] = image
        return padded

    def _label(
        self, index: SampleIndex, row: SampleRow, label: tuple[str, StoredLabel] | None, start: Shape, size: Shape
    ) -> Array:
        if label is None:
            return np.zeros((1, *size), np.int64)
        layer, facts = label
        return self._numbering.renumber(index.read_window(row, f"labels/{layer}", start, size), facts)

    def _foreground_voxel(self, index: SampleIndex, row: SampleRow, drawn: Draw) -> Shape | None:
        """A voxel of one of the classes, each class and each listed voxel of it equally likely; None without any."""
        label = self._numbering.label_of(row)
        if label is None:
            return None
        layer, facts = label
        first_row: dict[int, int] = {}
        total = 0
        for value, count in facts.foreground.items():
            first_row[value] = total
            total += count
        values = [value for value in first_row if facts.classes.get(value) in self.classes]
        if not values:
            return None
        value = values[pick(drawn.class_fraction, len(values))]
        number = first_row[value] + pick(drawn.voxel_fraction, facts.foreground[value])
        return index.read_foreground(row, layer, number)[1:]

    def _patches_to_cover(self) -> int:
        """The number of patches that tile all samples, each sample on its own."""
        total = 0
        for index, numbers in zip(self.indices, self._selection.rows, strict=True):
            shapes = index.table["shape"].combine_chunks().flatten().to_numpy().reshape(-1, 3)[numbers]
            total += int(np.prod(-(-shapes // np.asarray(self.patch_size)), axis=1).sum())
        return total


def _wanted_cases(
    store: Store, cases: Collection[CaseName] | None, split: ObjectRef | str | Path | None, part: str | None
) -> set[CaseName] | None:
    if (split is None) != (part is None):
        raise CatalogError(
            "dataset.split", where="ShardDataset", problem="`split` and `part` belong together", details={"part": part}
        )
    wanted = None if cases is None else {(entry, case) for entry, case in cases}
    if split is not None and part is not None:
        chosen = read_part(store, split, part)
        wanted = chosen if wanted is None else wanted & chosen
    return wanted


def _checked_patch_size(patch_size: Sequence[int]) -> Shape:
    if len(patch_size) != 3 or any(length < 1 for length in patch_size):
        raise CatalogError(
            "dataset.patch_size",
            where="ShardDataset",
            problem="a patch has three sizes of at least one voxel, (z, y, x)",
            details={"found": patch_size},
        )
    z, y, x = patch_size
    return z, y, x
