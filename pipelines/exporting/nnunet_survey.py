"""The first pass of an export for nnU-Net: what all cases have, so that channels and labels fit the whole data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medshard.converters.volume import LabelLayer
from medshard.errors import CaseError, MedshardError
from medshard.pipelines.exporting.cases import Chosen, ExportCase
from medshard.pipelines.exporting.channels import Channel, OnOneGrid, has_bad_numbers, on_one_grid
from medshard.pipelines.exporting.label_map import Seen, first_readings, meaning_of
from medshard.pipelines.exporting.papers import Report
from medshard.pipelines.exporting.request import ExportRequest

# nnU-Net normalises a channel of this name by fixed percentiles, as Hounsfield units allow, and others case by case.
CALIBRATED = frozenset({"CT", "CTA"})
COLOUR = "rgb_to_0_1"
# Names that would choose another normalisation than the image asks for.
RESERVED = frozenset({"ct", "nonorm", "zscore", "rescale_to_0_1", COLOUR})

ChannelKey = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class Surveyed:
    """What the first pass learns of one case. channels: (image, number) -> what nnU-Net calls it."""

    case: ExportCase
    channels: dict[ChannelKey, str]
    modalities: dict[ChannelKey, str]
    seen: Seen
    examined: frozenset[str]
    as_picture: bool
    sheared: bool

    @property
    def labelled(self) -> bool:
        return bool(self.seen.stated)


@dataclass(frozen=True, kw_only=True)
class Survey:
    """The first pass: what all cases have, so that numbers and channels are those of the whole data set."""

    cases: tuple[Surveyed, ...]
    seen: Seen


def survey_cases(request: ExportRequest, chosen: Chosen, report: Report) -> Survey:
    facts = []
    for case in chosen.cases:
        try:
            facts.append(_look_at(case, request, report))
        except CaseError as error:
            report.left_out[case.case] = f"{error.code}: {error.problem}"
    concepts = set(request.concepts) or {concept for found in facts for concept in found.seen.stated}
    kept, seen = [], Seen()
    for found in facts:
        missing = sorted(concepts - found.examined)
        if found.labelled and missing:
            report.left_out[found.case.case] = (
                f"nobody looked for {', '.join(missing[:5])}: what is background is not known; "
                "--concept names those that are wanted"
            )
            continue
        kept.append(found)
        seen.voxels += found.seen.voxels
        seen.stated |= found.seen.stated
    return Survey(cases=tuple(kept), seen=seen)


def _look_at(case: ExportCase, request: ExportRequest, report: Report) -> Surveyed:
    grid, layers = usable(case, request, report)
    seen = Seen()
    if layers:
        seen.add(layers, meaning_of(layers, request.wanted, where=case.case))
        seen.stated &= request.wanted or seen.stated
    return Surveyed(
        case=case,
        channels={channel.key: _channel_name(channel, case) for channel in grid.channels},
        modalities={channel.key: channel.image.modality or case.modality for channel in grid.channels},
        seen=seen,
        examined=frozenset(concept for layer in layers for concept in layer.examined),
        as_picture=grid.shape[0] == 1 and all(_is_picture(channel) for channel in grid.channels),
        sheared=_is_sheared(grid),
    )


def usable(
    case: ExportCase, request: ExportRequest, report: Report | None = None
) -> tuple[OnOneGrid, list[LabelLayer]]:
    """The images and layers of a case on one grid. report: is told what is left out.

    Raises CaseError for a case that nnU-Net could not read or would misunderstand."""
    volume = case.read()
    readings, others = first_readings({name: volume.labels[name] for name in case.layer_names})
    grid = on_one_grid(volume, readings)
    if grid is None:
        raise CaseError("export.no_image", where=case.case, problem="no image lies on the grid of its labels")
    if any(channel.image.array.ndim == 5 for channel in grid.channels):
        raise CaseError("export.time", where=case.case, problem="nnU-Net has no axis for time")
    if has_bad_numbers(grid.channels):
        raise CaseError("export.not_finite", where=case.case, problem="an image has voxels that are no finite number")
    if report is not None:
        _say_what_is_left_out(grid, others, report)
    layers = [layer for layer in grid.layers.values() if request.wanted is None or set(layer.examined) & request.wanted]
    return grid, layers


def _say_what_is_left_out(grid: OnOneGrid, others: Mapping[str, str], report: Report) -> None:
    for name, why in others.items():
        report.note(f"layer {name}: left out where {why}")
    for name in grid.elsewhere:
        report.note(f"image {name}: left out where it lies on another grid than the labels")
    for name in grid.other_layers:
        report.note(f"layer {name}: left out where it lies on another grid than the first layer")


def _channel_name(channel: Channel, case: ExportCase) -> str:
    modality = channel.image.modality or case.modality
    if modality in CALIBRATED:
        return "CT"
    if channel.of == 3 and channel.image.array.dtype == np.uint8 and not channel.image.trusted_geometry:
        return COLOUR
    name = channel.label
    return f"{name}-image" if name.casefold() in RESERVED else name


def common_channels(request: ExportRequest, survey: Survey, report: Report) -> dict[ChannelKey, str]:
    """The channels of the data set: those asked for, or those that every labelled case has, with their names."""
    cases = [facts for facts in survey.cases if facts.labelled] or survey.cases
    keys = list(dict.fromkeys(key for facts in cases for key in facts.channels))
    if request.images:
        keys = [key for name in request.images for key in keys if key[0] == name]
    else:
        keys = [key for key in keys if all(key in facts.channels for facts in cases)]
    if not keys:
        found = Counter(key[0] for facts in cases for key in facts.channels)
        raise MedshardError(
            "export.no_channels",
            where=request.entry.id,
            problem="there is no image that all cases have on the grid of their labels",
            details={
                "images": ", ".join(f"{name} ({count})" for name, count in found.most_common(20)) or "none",
                **dict(list(report.left_out.items())[:5]),
            },
            action="Name those that are wanted with --image; cases without them are left out.",
        )
    for key in keys:
        modalities = sorted({facts.modalities[key] for facts in cases if key in facts.modalities})
        if len(modalities) > 1:
            raise MedshardError(
                "export.mixed_modalities",
                where=f"{request.entry.id}/{key[0]}",
                problem="one channel would hold several modalities, which nnU-Net would normalise alike",
                details={"modalities": ", ".join(modalities)},
                action="Export one of them: --modality.",
            )
    return {key: _common_name(key, cases) for key in keys}


def _common_name(key: ChannelKey, cases: Sequence[Surveyed]) -> str:
    names = {facts.channels[key] for facts in cases if key in facts.channels}
    return names.pop() if len(names) == 1 else key[0]


def _is_picture(channel: Channel) -> bool:
    image = channel.image
    plain = image.rescale.is_identity and not image.trusted_geometry
    return plain and (
        (channel.of == 1 and image.array.dtype in (np.uint8, np.uint16))
        or (channel.of == 3 and image.array.dtype == np.uint8)
    )


def _is_sheared(grid: OnOneGrid) -> bool:
    axes = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() > 1e-5)
