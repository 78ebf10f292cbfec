"""`ShardDataset`: items of shards as a torch data set."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medshard.converters.plan import Shape
from medshard.errors import CatalogError, MissingExtraError
from medshard.loaders.arguments import check_arguments
from medshard.loaders.channel_maps import map_channels
from medshard.loaders.class_balance import BalanceRule, balance_classes
from medshard.loaders.companions import Companion, Text, companion_of
from medshard.loaders.items import ItemRules, LabelType, read_chosen, read_items
from medshard.loaders.label_numbering import number_labels
from medshard.loaders.mixture import MixtureRule, mix
from medshard.loaders.needs import IMAGES, Need
from medshard.loaders.sample_row import SampleRow
from medshard.loaders.selection import CaseName, Criteria, LeftOut, read_part, select_samples
from medshard.loaders.shard_bytes import AnyStore
from medshard.loaders.shard_reader import SampleIndex, open_store
from medshard.loaders.stream import Draw, Sampling, Stream, draw
from medshard.loaders.views import View, WholeView, WindowView
from medshard.loaders.views.view import Chosen
from medshard.registry.store.objects import ObjectRef, Store

try:
    from torch.utils.data import Dataset

    from medshard.loaders.tensors import as_tensors, transformed
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
    """Items of the samples of one or more entries, as a map-style torch data set.

    Item n is a pure function of the arguments and n: it does not depend on workers, ranks, or items before it. What an
    item has is said by its view; a window, which is the default, has

        image        float32 (c, *patch_size), normalised by the plan's rule for the modality
        label        int64 (1, *patch_size), numbers of `classes`; zeros where the sample has no label,
                     -100 for voxels that nobody judged
        affine       float64 (4, 4): index (z, y, x, 1) of this window -> RAS+ mm

    and every item has

        examined     bool (len(classes),): whether somebody looked for the class in this case
        has_label    bool (): whether the sample has the label layer
        sample_id    the name of the sample in the index; leads to its record in the store
        case_id      "entry/case"
        augmentation_seed   a number below 2**32 for transforms that want one

    Outside of a volume that is smaller than the patch, the image has the value that the modality shows where nothing
    is (`normalisation_of`), and the label 0.
    """

    def __init__(
        self,
        root: str | Path | AnyStore,
        entries: Sequence[str],
        plan: str = "default",
        patch_size: Shape = (32, 96, 96),
        *,
        view: View | None = None,
        seed: int = 0,
        samples_per_epoch: int | None = None,
        foreground: float = 0.33,
        forced_batch: int | None = None,
        balance: BalanceRule | None = None,
        weights: Mapping[str, float] | None = None,
        mixture: MixtureRule | None = None,
        mix_by: str = "entry",
        sampling: Sampling = "permuted",
        cases: Collection[CaseName] | None = None,
        split: ObjectRef | str | Path | None = None,
        part: str | None = None,
        fold: int | None = None,
        criteria: Criteria | None = None,
        layer: str | Mapping[str, str] | None = None,
        classes: Sequence[str] | None = None,
        unions: Mapping[str, Sequence[str]] | None = None,
        labels: bool = True,
        label_type: LabelType = "int64",
        channels: Sequence[str | int | None] | Mapping[str, Sequence[str | int | None]] | None = None,
        with_: Sequence[str | Companion] = (),
        text: str | Text | None = None,
        normalise: bool | Literal["device"] = True,
        transform: Callable[[Item], Item] | None = None,
    ) -> None:
        """Open the shards of the entries; no image is read yet.

        root: the store, its path, or a URL of one. entries: ids; plan: the name of the plan that all of them were built
            with.
        patch_size: (z, y, x) in voxels, of windows; view: another kind of item, from `medshard.loaders.views`.
        samples_per_epoch: `len()`; by default the number of items that show all samples about once.
        foreground: share of the items that are placed on a labelled voxel: class first, then voxel. forced_batch: see
            `Stream`. balance: choose the class before the case, as the rule says; by default the case comes first.
        weights: entry -> relative frequency; by default all samples are equally likely. mixture: any other rule, and
            mix_by the column of the index whose words it is about (`entry`, `modality`, `group`). sampling: see
            `Stream`.
        cases: (entry, case) pairs to restrict to. split, part, fold: a split in the store, by its name or its path, and
            the part of it to restrict to. criteria: what else a sample has to be; what the view and `with_` need, and
            for views with voxels an image, is asked for as well.
        layer, classes, unions: see `number_labels`. labels: False reads no label maps. label_type: of `label`.
        channels: for every entry, or entry -> its stored channels by number or by name in the plan, in the order that
            items have them; None for one that is missing. Without it all samples must have equally many.
        with_: what items have beside voxels, by the names in the index (`annotations/findings`, `signals/ecg`) or as
            `medshard.loaders.companions`. text: `report`, `question-answers`, `classes`, `texts/<name>` or a `Text`.
        normalise: False gives physical values; "device" stored numbers, which `DeviceTransform` finishes on the batch.
        transform: called with the item while torch, numpy and random are seeded by `augmentation_seed`; if it has
            `set_random_state(seed=...)`, as MONAI's do, that is called instead.
        Raises StoreError, SplitError, CatalogError or CaseError (different numbers of channels).
        """
        self.entries = (entries,) if isinstance(entries, str) else tuple(entries)
        check_arguments(
            {
                "entries": self.entries,
                "label_type": label_type,
                "normalise": normalise,
                "mix_by": mix_by,
                "classes": classes,
                "weights": weights,
                "cases": cases,
            }
        )
        self.store = open_store(root) if isinstance(root, str | Path) else root
        self.view = WindowView(patch_size) if view is None else view
        self.transform = transform
        self.indices = tuple(SampleIndex.open(self.store, entry, plan) for entry in self.entries)
        numbering = number_labels(self.indices, layer, classes, unions=unions)
        _check_label_type(label_type, len(numbering.classes))
        companions = tuple(companion_of(asked) for asked in with_)
        if text is not None:
            companions = (*companions, Text(text) if isinstance(text, str) else text)
        needs = (*self.view.needs, *(each.need for each in companions if not each.optional))
        self._selection = select_samples(
            self.indices,
            _wanted_cases(self.store, self.indices, cases, split=split, part=part, fold=fold),
            _criteria(criteria, needs, maps_channels=channels is not None),
            numbering=numbering,
        )
        mapped = None if channels is None else map_channels(self.indices, self._selection.rows, channels)
        self._rules = ItemRules(
            view=self.view,
            companions=companions,
            numbering=numbering,
            normalise=normalise,
            labels=labels,
            label_type=label_type,
            channels=mapped,
        )
        rule = MixtureRule(weights=weights) if weights is not None else mixture
        groups = None if mix_by == "entry" else [column.tolist() for column in self._selection.column(mix_by)]
        mixed = mix(self.entries, self._selection.sizes, rule, groups=groups)
        present = [
            numbering.present(index, rows) if balance is not None else None
            for index, rows in zip(self.indices, self._selection.rows, strict=True)
        ]
        self.stream = Stream(
            seed=seed,
            mixture=mixed,
            rows=self._selection.rows,
            foreground=foreground,
            forced_batch=forced_batch,
            sampling=sampling,
            balance=None
            if balance is None
            else balance_classes(mixed, numbering.classes, [each for each in present if each is not None], balance),
            sources=tuple(index.head.attachments["index"].digest for index in self.indices),
        )
        shapes = [np.asarray(each, np.int64) for each in self._selection.column("shape")]
        items = sum(self.view.items_in(shape) for shape in shapes)
        self._length = items if samples_per_epoch is None else samples_per_epoch
        self._epoch = 0

    @property
    def classes(self) -> tuple[str, ...]:
        """The concepts of the label numbers 1, 2, ...; 0 is everything else."""
        return self._rules.numbering.classes

    @property
    def samples(self) -> list[CaseName]:
        """(entry, case) of every sample that items are drawn from."""
        names = self._selection.column("case")
        return [
            (index.entry, case) for index, cases in zip(self.indices, names, strict=True) for case in cases.tolist()
        ]

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """The cases that were asked for and are not in the data set, with the reason."""
        return self._selection.left_out

    def rows(self) -> Iterator[SampleRow]:
        """What the index knows of every sample that items are drawn from, entry by entry."""
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
        return self.__getitems__([n])[0]

    def __getitems__(self, numbers: Sequence[int]) -> list[Item]:
        """Several items, read together: torch's loader asks for a whole batch this way."""
        draws = [self._draw(n) for n in numbers]
        items = read_items(self._rules, [(self.indices[drawn.entry_index], drawn) for drawn in draws])
        return [self._finished(item, drawn.augmentation_seed) for item, drawn in zip(items, draws, strict=True)]

    def whole(self, entry: str, case: str) -> Item:
        """A whole case as an untransformed item: image (c, z, y, x), label (1, z, y, x), treated like the windows.

        Raises StoreError[sample.unknown] when the plan has no sample of it.
        """
        index = self.indices[self.entries.index(entry)]
        rules = replace(self._rules, view=WholeView(), companions=())
        chosen = Chosen(row=index.find(case), drawn=draw(self.stream, 0))
        return as_tensors(read_chosen(rules, [(index, chosen)])[0])

    def _draw(self, n: int) -> Draw:
        if n < 0:
            raise IndexError(n)
        return draw(self.stream, self._epoch * self._length + n)

    def _finished(self, item: Item, seed: int) -> Item:
        tensors = as_tensors(item)
        tensors["augmentation_seed"] = seed
        return tensors if self.transform is None else transformed(tensors, self.transform, seed)


def _wanted_cases(
    store: AnyStore,
    indices: Sequence[SampleIndex],
    cases: Collection[CaseName] | None,
    *,
    split: ObjectRef | str | Path | None,
    part: str | None,
    fold: int | None,
) -> set[CaseName] | None:
    if (split is None) != (part is None):
        raise CatalogError(
            "dataset.split", where="ShardDataset", problem="`split` and `part` belong together", details={"part": part}
        )
    wanted = None if cases is None else {(entry, case) for entry, case in cases}
    if split is not None and part is not None:
        if not isinstance(store, Store):
            raise CatalogError(
                "dataset.split",
                where="ShardDataset",
                problem="a split is read from a local store",
                action="Read it where it is and give its cases: `cases=read_split(store, name).rows_of(part)`.",
            )
        chosen = read_part(store, split, part, fold, indices=indices)
        wanted = chosen if wanted is None else wanted & chosen
    return wanted


def _criteria(criteria: Criteria | None, needs: tuple[Need, ...], *, maps_channels: bool) -> Criteria:
    """What the user asks of samples, and what the view and the companions need."""
    images = IMAGES[0] in needs
    # Samples whose channels are mapped may have different numbers of them.
    checked = images and not maps_channels
    others = tuple(need for need in needs if need not in IMAGES or not checked)
    return replace(criteria or Criteria(), images=checked, needs=others)


def _check_label_type(label_type: LabelType, classes: int) -> None:
    if classes > np.iinfo(label_type).max:
        raise CatalogError(
            "dataset.label_type",
            where="label_type",
            problem=f"{label_type} does not hold the numbers of {classes} classes",
            action="Take int16, or fewer classes.",
        )
