"""Draws -> items: what the view and its companions ask for is read for a whole batch at once, and put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medshard.converters.volume import Array
from medshard.loaders.companions import Beside, Companion, Piece
from medshard.loaders.foreground import VoxelDraw, draw_foreground
from medshard.loaders.label_numbering import IGNORED, LabelNumbering
from medshard.loaders.normalisation import Normalisation, normalisation_of, view_normalisation
from medshard.loaders.sample_row import SampleRow, StoredLabel
from medshard.loaders.shard_reader import SampleIndex
from medshard.loaders.stream import Draw
from medshard.loaders.view_labels import view_layer
from medshard.loaders.views.view import IMAGE, Box, Chosen, Item, Part, View
from medshard.loaders.window_reading import array_of, read_boxes, read_windows
from medshard.loaders.windows import Window

LabelType = Literal["int64", "int32", "int16", "int8"]
ChannelMap = Mapping[str, Sequence[int | None]]
NOT_FINITE = "masks/not_finite"
SCALE, OUTSIDE = "_scale", "_outside"


@dataclass(frozen=True, kw_only=True)
class ItemRules:
    """How items are made.

    normalise: True, False for physical values, or "device" for stored numbers with what turns them into normalised
        ones. labels: whether label maps are read. label_type: of the label maps.
    channels: entry -> number of the stored channel for each channel of an item, None for one that is missing.
    """

    view: View
    companions: tuple[Companion, ...]
    numbering: LabelNumbering
    normalise: bool | Literal["device"] = True
    labels: bool = True
    label_type: LabelType = "int64"
    channels: ChannelMap | None = None

    def number_of(self, concept: str | None) -> int:
        """The number of a concept among the classes, 0 for every other."""
        classes = self.numbering.classes
        return classes.index(concept) + 1 if concept in classes else 0


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One item before its voxels are read."""

    index: SampleIndex
    chosen: Chosen
    label: tuple[str, StoredLabel] | None
    boxes: list[Box]


@dataclass
class _Windows:
    """Windows that are collected for one reading, and afterwards what was read."""

    asked: list[tuple[SampleIndex, Window]] = field(default_factory=list)
    found: list[Array] = field(default_factory=list)

    def ask(self, index: SampleIndex, window: Window) -> int:
        self.asked.append((index, window))
        return len(self.asked) - 1


@dataclass(frozen=True, kw_only=True)
class _Ticket:
    """Where the arrays of a box stand among what was read."""

    box: Box
    normalisation: Normalisation | None = None
    layer: tuple[str, StoredLabel] | None = None
    image: int | None = None
    label: int | None = None
    invalid: int | None = None


def read_items(rules: ItemRules, draws: Sequence[tuple[SampleIndex, Draw]]) -> list[Item]:
    """The items of these draws, as numpy arrays, texts and numbers.

    Over an object store this takes at most three round trips: tables of labelled voxels, voxels, companions.
    """
    return read_chosen(rules, _chosen(rules, draws))


def read_chosen(rules: ItemRules, cases: Sequence[tuple[SampleIndex, Chosen]]) -> list[Item]:
    """The items of cases whose place is known."""
    windows = _Windows()
    asked = [_ask(rules, index, chosen) for index, chosen in cases]
    tickets = [[_ticket(rules, item, box, windows) for box in item.boxes] for item in asked]
    windows.found = read_windows(windows.asked)
    items = [_item(rules, item, boxes, windows.found) for item, boxes in zip(asked, tickets, strict=True)]
    if rules.companions:
        _add_companions(rules, asked, items)
    return items


def _chosen(rules: ItemRules, draws: Sequence[tuple[SampleIndex, Draw]]) -> list[tuple[SampleIndex, Chosen]]:
    """The case of each draw, with a labelled voxel where one is wanted and there."""
    rows = [index.row(drawn.row) for index, drawn in draws]
    voxels: dict[int, tuple[int, int, int]] = {}
    wanted: list[tuple[SampleIndex, VoxelDraw]] = []
    numbers: list[int] = []
    for number, ((index, drawn), row) in enumerate(zip(draws, rows, strict=True)):
        label = rules.numbering.label_of(row) if drawn.foreground else None
        if label is None:
            continue
        layer, facts = label
        values = rules.numbering.values_of(facts, drawn.class_number)
        fractions = {"class_fraction": drawn.class_fraction, "voxel_fraction": drawn.voxel_fraction}
        wanted.append((index, VoxelDraw(row=row, layer=layer, values=values, **fractions)))
        numbers.append(number)
    for number, voxel in zip(numbers, draw_foreground(wanted), strict=True):
        if voxel is not None:
            voxels[number] = voxel[1:]
    return [
        (index, Chosen(row=row, drawn=drawn, voxel=voxels.get(number)))
        for number, ((index, drawn), row) in enumerate(zip(draws, rows, strict=True))
    ]


def _ask(rules: ItemRules, index: SampleIndex, chosen: Chosen) -> Asked:
    return Asked(index=index, chosen=chosen, label=rules.numbering.label_of(chosen.row), boxes=rules.view.boxes(chosen))


def _ticket(rules: ItemRules, item: Asked, box: Box, windows: _Windows) -> _Ticket:
    row, index = item.chosen.row, item.index
    normalisation, image, label, invalid = None, None, None, None
    if box.image:
        normalisation = _normalisation(rules, index, row, box.source)
        on_device = rules.normalise == "device"
        image = windows.ask(
            index,
            Window(
                row=row,
                name=box.source,
                start=box.start,
                size=box.size,
                pad_value=0.0 if on_device else normalisation.padding,
                scale=None if on_device else normalisation.scale,
            ),
        )
    layer = _layer_of(rules, item, box)
    if layer is not None:
        label = windows.ask(index, Window(row=row, name=layer[0], start=box.start, size=box.size))
        if box.source == IMAGE and NOT_FINITE in row.arrays:
            invalid = windows.ask(index, Window(row=row, name=NOT_FINITE, start=box.start, size=box.size))
    return _Ticket(box=box, normalisation=normalisation, layer=layer, image=image, label=label, invalid=invalid)


def _layer_of(rules: ItemRules, item: Asked, box: Box) -> tuple[str, StoredLabel] | None:
    """(array, what its values mean) of the label map that belongs to the image of a box, if it is to be read."""
    if not (box.label and rules.labels):
        return None
    if box.source == IMAGE:
        return None if item.label is None else (f"labels/{item.label[0]}", item.label[1])
    view, row = box.source.partition("/")[2], item.chosen.row
    found = view_layer(row, view, rules.numbering.layers.get(row.entry))
    return None if found is None else (f"view_labels/{view}/{found[0]}", found[1])


def _normalisation(rules: ItemRules, index: SampleIndex, row: SampleRow, source: str) -> Normalisation:
    normalise = bool(rules.normalise)
    if source == IMAGE:
        return normalisation_of(row, index.plan, normalise=normalise)
    return view_normalisation(row, source.partition("/")[2], index.plan, normalise=normalise)


def _item(rules: ItemRules, item: Asked, tickets: Sequence[_Ticket], found: Sequence[Array]) -> Item:
    row = item.chosen.row
    parts = [_part(rules, item, ticket, found) for ticket in tickets]
    made = rules.view.item(item.chosen, parts)
    if rules.normalise == "device":
        made |= _for_device(rules, item.chosen, tickets, parts)
    label = item.label
    return {
        **made,
        "examined": rules.numbering.examined(label[1] if label else None),
        "has_label": np.bool_(label is not None),
        "sample_id": row.sample_id,
        "case_id": row.name,
    }


def _part(rules: ItemRules, item: Asked, ticket: _Ticket, found: Sequence[Array]) -> Part:
    image, label = None, None
    if ticket.image is not None and ticket.normalisation is not None:
        image = found[ticket.image]
        if rules.normalise != "device":
            image = ticket.normalisation.finish(image)
            if ticket.normalisation.outside_of is not None:
                _pad(image, _inside(item.chosen, ticket.box), ticket.normalisation.outside_of)
        if ticket.box.source == IMAGE and rules.channels is not None:
            missing = 0.0 if rules.normalise == "device" else ticket.normalisation.missing
            image = _mapped_channels(image, rules.channels[item.chosen.row.entry], missing)
    if ticket.layer is not None or (ticket.box.label and rules.labels and ticket.box.source == IMAGE):
        label = _label(rules, ticket, found)
    return Part(box=ticket.box, image=image, label=label)


def _label(rules: ItemRules, ticket: _Ticket, found: Sequence[Array]) -> Array:
    if ticket.label is None or ticket.layer is None:
        return np.zeros((1, *ticket.box.size), rules.label_type)
    label = rules.numbering.renumber(found[ticket.label], ticket.layer[1], rules.label_type)
    if ticket.invalid is not None:
        label[found[ticket.invalid] != 0] = IGNORED
    return label


def _inside(chosen: Chosen, box: Box) -> tuple[slice, ...]:
    """(z, y, x): the part of a box that lies in the volume."""
    extents = chosen.row.arrays[box.source].shape[1:]
    return tuple(
        slice(max(0, -begin), max(0, extent - begin)) for begin, extent in zip(box.start, extents, strict=True)
    )


def _pad(image: Array, inside: tuple[slice, ...], values: Sequence[float]) -> None:
    """Give each channel of `(c, *size)` its value outside of the volume, in place."""
    outside = np.ones(image.shape[1:], np.bool_)
    outside[inside] = False
    if outside.any():
        for channel, value in zip(image, values, strict=True):
            channel[outside] = value


def _mapped_channels(image: Array, channels: Sequence[int | None], missing: float) -> Array:
    mapped: Array = np.full((len(channels), *image.shape[1:]), missing, image.dtype)
    for place, channel in enumerate(channels):
        if channel is not None:
            mapped[place] = image[channel]
    return mapped


def _for_device(rules: ItemRules, chosen: Chosen, tickets: Sequence[_Ticket], parts: Sequence[Part]) -> Item:
    """For each image of an item: `<image>_scale`, and `<image>_outside` where a part of it lies outside."""
    masks = [
        Part(box=part.box, image=None if part.image is None else _outside(rules, chosen, part), label=None)
        for part in parts
    ]
    found: Item = {}
    # The view puts masks together as it does images, so they have their shape.
    for name, mask in rules.view.item(chosen, masks).items():
        if isinstance(mask, np.ndarray) and mask.dtype == np.bool_:
            source = name if name.startswith("views/") else IMAGE
            scale = next(each.normalisation for each in tickets if each.normalisation and each.box.source == source)
            found[name + SCALE] = _numbers_of(scale)
            if mask.any():
                found[name + OUTSIDE] = np.ascontiguousarray(mask)
    return found


def _outside(rules: ItemRules, chosen: Chosen, part: Part) -> NDArray[np.bool_]:
    """(c, *size): True outside of the volume, and in channels that are missing."""
    image = part.image
    assert image is not None
    mask = np.ones(image.shape, np.bool_)
    mask[(slice(None), *_inside(chosen, part.box))] = False
    if rules.channels is not None and part.box.source == IMAGE:
        mask[[channel is None for channel in rules.channels[chosen.row.entry]]] = True
    return mask


def _numbers_of(normalisation: Normalisation) -> NDArray[np.float32]:
    """(7,): slope, intercept, low, high, mean, std, padding."""
    scale = normalisation.scale
    low = -np.inf if scale.low is None else scale.low
    high = np.inf if scale.high is None else scale.high
    numbers = (scale.slope, scale.intercept, low, high, scale.mean, scale.std, normalisation.padding)
    return np.array(numbers, np.float32)


def _add_companions(rules: ItemRules, asked: Sequence[Asked], items: Sequence[Item]) -> None:
    pieces: list[list[list[Piece]]] = []
    boxes = []
    for item in asked:
        row, drawn = item.chosen.row, item.chosen.drawn
        pieces.append([each.pieces(row, drawn) if each.need.in_row(row) else [] for each in rules.companions])
        for piece in (piece for of_companion in pieces[-1] for piece in of_companion):
            array = array_of(row, piece.name)
            last = array.shape[-1] if piece.stop is None else piece.stop
            start = (*(0 for _ in array.shape[:-1]), piece.start)
            boxes.append(item.index.box(row, array, start, (*array.shape[:-1], last)))
    found = iter(read_boxes(boxes))
    for item, made, of_item in zip(asked, items, pieces, strict=True):
        for companion, of_companion in zip(rules.companions, of_item, strict=True):
            arrays = {piece.name: next(found) for piece in of_companion}
            if arrays:
                beside = Beside(
                    row=item.chosen.row,
                    drawn=item.chosen.drawn,
                    arrays=arrays,
                    affine=made.get("affine"),
                    number_of=rules.number_of,
                )
                made.update(companion.item(beside))
