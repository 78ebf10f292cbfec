"""What tells apart frames that lie at the same place: time, diffusion, echo, phase.

A step is a volume: one frame at every place. Steps are found by a label that all frames of a volume share and no other
frame at the same place has. Where no attribute is such a label, the frames of each place are ranked by their times (and
at last by their instance numbers, which say nothing about places but do count what was taken one after the other).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from medshard.converters.dicom import mr
from medshard.converters.dicom.diffusion import is_silent_without_weighting
from medshard.converters.dicom.frames import Frame
from medshard.converters.volume import LeadingAxis

Kind = Literal["time", "diffusion", "echo", "phase", "other"]
Label = Callable[[Frame], Hashable]
Weighting = tuple[float, tuple[float, ...] | None]
# Words of Image Type that make another image of the same places; others come and go within one (ND, DIS2D, TE1).
_DIFFERENT = (
    "M MAGNITUDE P PHASE R REAL I IMAGINARY WATER W FAT F IN_PHASE IP OUT_PHASE OPP_PHASE OP ADC EADC FA TRACEW TENSOR "
    "T1_MAP T2_MAP T2_STAR_MAP R2_STAR_MAP B0_MAP PHASE_MAP VELOCITY MEAN STDDEV MIP MPR MNIP LOCALIZER REF_SURVIEW "
    "PROJECTION CBF CBV MTT TTP TMAX FAT_FRACTION WATER_FRACTION SWI PHA MAG SUB SUBTRACTION MOCO DERIVED"
)
DIFFERENT_IMAGES = frozenset(_DIFFERENT.split())
GE_COMPONENT = (0x0043, 0x102F)
DIRECTION_DECIMALS = 3


@dataclass(frozen=True, kw_only=True)
class Steps:
    """volumes: frames of each step by place, as indices; dropped: frames of volumes that are not whole."""

    volumes: tuple[tuple[int, ...], ...]
    leading: LeadingAxis
    dropped: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


def image_words(frame: Frame) -> Hashable:
    """What the header calls the kind of image: magnitude or phase, water or fat, derived or not."""
    words = frame.words("ImageType")
    own = next((found for group in FRAME_TYPES if (found := frame.words("FrameType", group))), ())
    component = frame.words("ComplexImageComponent", "MRImageFrameTypeSequence")
    element = frame.source.dataset.get(GE_COMPONENT)
    ge = str(element.value) if element is not None else ""
    return frozenset(own or words) & DIFFERENT_IMAGES, component, ge


FRAME_TYPES = ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence")


def echo_time(frame: Frame) -> float | None:
    """In ms."""
    found = frame.number_of("EffectiveEchoTime", "MREchoSequence")
    return found if found is not None else frame.number_of("EchoTime")


def inversion_time(frame: Frame) -> Hashable:
    return frame.words("InversionTimes", "MRModifierSequence") or frame.number_of("InversionTime")


def flip_angle(frame: Frame) -> Hashable:
    return frame.number_of("FlipAngle", "MRTimingAndRelatedParametersSequence")


def temporal_index(frame: Frame) -> float | None:
    found = frame.number_of("TemporalPositionIndex", "FrameContentSequence")
    return found if found is not None else frame.number_of("TemporalPositionIdentifier")


def diffusion(frame: Frame) -> Weighting | None:
    """b-value in s/mm2 and direction, rounded to what repeats of it have in common."""
    found = mr.diffusion(frame.source.dataset, frame.number_in_file)
    if found is None:
        return None
    direction = found.direction
    rounded = tuple(round(v, DIRECTION_DECIMALS) + 0.0 for v in direction) if direction is not None else None
    return round(found.b_value_s_mm2, 1), rounded


def diffusions(frames: Sequence[Frame]) -> list[Weighting | None]:
    """`diffusion` of frames of one image, of which some makers state only what is weighted."""
    found = [diffusion(frame) for frame in frames]
    if None not in found or not any(found):
        return found
    return [
        (0.0, None) if one is None and is_silent_without_weighting(frame.source.dataset) else one
        for one, frame in zip(found, frames, strict=True)
    ]


def acquisition_number(frame: Frame) -> Hashable:
    found = frame.number_of("FrameAcquisitionNumber", "FrameContentSequence")
    return found if found is not None else frame.number_of("AcquisitionNumber")


def trigger_time(frame: Frame) -> float | None:
    """In ms after the R wave, or after the start."""
    found = frame.number_of("NominalCardiacTriggerDelayTime", "CardiacSynchronizationSequence")
    return found if found is not None else frame.number_of("TriggerTime")


def acquired_at(frame: Frame) -> float | None:
    """Seconds since midnight, from midnight of whichever day it is; with the day where the header has it."""
    moment = frame.words("FrameAcquisitionDateTime", "FrameContentSequence") or frame.words("AcquisitionDateTime")
    if moment:
        return _seconds(moment[0][:8], moment[0][8:])
    day, time = frame.words("AcquisitionDate"), frame.words("AcquisitionTime")
    return _seconds(day[0] if day else "", time[0]) if time else None


def _seconds(day: str, time: str) -> float | None:
    time = time.replace(":", "").split("+")[0].split("-")[0]
    try:
        days = float(np.datetime64(f"{day[:4]}-{day[4:6]}-{day[6:8]}", "D").astype(int)) if len(day) >= 8 else 0.0
        hours, minutes = int(time[:2] or 0), int(time[2:4] or 0)
        return days * 86400 + hours * 3600 + minutes * 60 + float(time[4:] or 0)
    except ValueError:
        return None


def in_order(frame: Frame) -> tuple[float, ...]:
    """Of frames at one place, what was taken first."""
    return (
        temporal_index(frame) or 0.0,
        acquired_at(frame) or 0.0,
        trigger_time(frame) or 0.0,
        frame.number_of("FrameReferenceTime") or 0.0,
        frame.number_of("InstanceNumber") or 0.0,
        float(frame.number_in_file),
    )


SEPARATE: tuple[Label, ...] = (echo_time, inversion_time, flip_angle)
LABELS: tuple[Label, ...] = (
    lambda frame: frame.file,
    temporal_index,
    acquired_at,
    acquisition_number,
    trigger_time,
    lambda frame: frame.number_of("FrameReferenceTime"),
    diffusion,
    echo_time,
    inversion_time,
    flip_angle,
    lambda frame: (temporal_index(frame), diffusion(frame), acquisition_number(frame)),
)


def steps_of(frames: Sequence[Frame], places: np.ndarray) -> Steps | None:
    """The steps of frames of which several share places; None where nothing tells them apart.

    places: the number of each frame's place. A label that leaves volumes incomplete is taken only where none makes all
    of them whole, and only when more are whole than not.
    """
    count = int(places.max()) + 1
    keys = [in_order(frame) for frame in frames]
    best: _Grouping | None = None
    for grouping in _groupings(frames, places, keys):
        if not grouping.parts:
            return _as_steps(frames, places, keys, grouping)
        if len(grouping.whole) > len(grouping.parts) and (best is None or len(grouping.parts) < len(best.parts)):
            best = grouping
    return _as_steps(frames, places, keys, best, places_count=count) if best else None


@dataclass(frozen=True, kw_only=True)
class _Grouping:
    """whole, parts: frames of the volumes that have every place, and of those that lack some."""

    whole: list[list[int]]
    parts: list[list[int]]


def _groupings(frames: Sequence[Frame], places: np.ndarray, keys: list[tuple[float, ...]]) -> list[_Grouping]:
    """Lazily would do as well; every label is cheap beside the pixels."""
    found = []
    for label in LABELS:
        labels = diffusions(frames) if label is diffusion else [label(frame) for frame in frames]
        if any(value is None for value in labels):
            continue
        if (grouping := _group(labels, places)) is not None:
            found.append(grouping)
            if not grouping.parts:
                return found
    for ranked in (_ranks(frames, places, keys), _counted_volumes(frames, places)):
        if ranked is not None and (grouping := _group(ranked, places)) is not None:
            found.append(grouping)
    return found


def _group(labels: Sequence[Hashable], places: np.ndarray) -> _Grouping | None:
    """None where a label occurs twice at a place, or no volume is whole."""
    members: dict[Hashable, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        members[label].append(index)
    count = int(places.max()) + 1
    volumes = list(members.values())
    if any(len({int(places[i]) for i in volume}) < len(volume) for volume in volumes):
        return None
    whole = [volume for volume in volumes if len(volume) == count]
    return _Grouping(whole=whole, parts=[v for v in volumes if len(v) < count]) if whole else None


def _ranks(frames: Sequence[Frame], places: np.ndarray, keys: list[tuple[float, ...]]) -> list[Hashable] | None:
    """The rank of each frame among those at its place; None where places have different counts, or ranks are tied,
    or frames of one rank differ in diffusion."""
    counts = np.bincount(places)
    if counts.min() != counts.max():
        return None
    order = sorted(range(len(frames)), key=lambda index: (int(places[index]), keys[index]))
    if any(places[a] == places[b] and keys[a] == keys[b] for a, b in pairwise(order)):
        return None
    ranks: list[Hashable] = [None] * len(frames)
    for position, index in enumerate(order):
        ranks[index] = position % int(counts[0])
    weightings: dict[Hashable, Hashable] = {}
    alike = all(weightings.setdefault(rank, b) == b for rank, b in zip(ranks, map(diffusion, frames), strict=True))
    if alike:
        return ranks
    return _ranks_within_diffusion(frames, order, places)


def _ranks_within_diffusion(frames: Sequence[Frame], order: list[int], places: np.ndarray) -> list[Hashable]:
    seen: dict[Hashable, int] = defaultdict(int)
    labels: list[Hashable] = [None] * len(frames)
    for index in order:
        weighting = diffusion(frames[index])
        labels[index] = (weighting, seen[int(places[index]), weighting])
        seen[int(places[index]), weighting] += 1
    return labels


def _counted_volumes(frames: Sequence[Frame], places: np.ndarray) -> list[Hashable] | None:
    """The volume that an instance number falls into when volumes are counted through one after the other."""
    numbers = [frame.number_of("InstanceNumber") for frame in frames]
    stated = [number for number in numbers if number is not None]
    if len(stated) != len(frames) or len(set(stated)) != len(frames):
        return None
    first, count = min(stated), int(places.max()) + 1
    return [int((number - first) // count) for number in stated]


def _as_steps(
    frames: Sequence[Frame],
    places: np.ndarray,
    keys: list[tuple[float, ...]],
    grouping: _Grouping,
    places_count: int = 0,
) -> Steps:
    by_place = [sorted(volume, key=lambda index: int(places[index])) for volume in grouping.whole]
    # Several volumes may share their times; then the instance numbers of their first slices, not whichever is smallest.
    by_place.sort(key=lambda volume: min(keys[index] for index in volume))
    firsts = [frames[volume[0]] for volume in by_place]
    kind, values = _leading(firsts)
    if kind in ("echo", "phase") and values is not None:
        order = sorted(range(len(values)), key=values.__getitem__)
        by_place, values = [by_place[i] for i in order], tuple(values[i] for i in order)
    dropped = tuple(sorted(index for volume in grouping.parts for index in volume))
    notes = tuple(
        f"a volume has {len(volume)} of {places_count} slices and is left out, among them {frames[volume[0]].name}"
        for volume in grouping.parts
    )
    return Steps(
        volumes=tuple(tuple(volume) for volume in by_place),
        leading=LeadingAxis(kind=kind, values=values),
        dropped=dropped,
        notes=notes,
    )


def _leading(firsts: Sequence[Frame]) -> tuple[Kind, tuple[float, ...] | None]:
    """What the steps count, told from the first frame of each."""
    weightings = diffusions(firsts)
    if len(set(weightings)) > 1:
        known = [w[0] for w in weightings if w is not None]
        return "diffusion", tuple(known) if len(known) == len(firsts) else None
    echoes = [echo_time(frame) for frame in firsts]
    if (values := _distinct(echoes)) is not None:
        return "echo", values
    for other in (inversion_time, flip_angle):
        if len({other(frame) for frame in firsts}) == len(firsts):
            numbers = [v for v in map(other, firsts) if isinstance(v, float)]
            return "other", tuple(numbers) if len(numbers) == len(firsts) else None
    triggers = _distinct([trigger_time(frame) for frame in firsts])
    cycle = firsts[0].number_of("CardiacNumberOfImages") or firsts[0].words(
        "NominalCardiacTriggerDelayTime", "CardiacSynchronizationSequence"
    )
    if triggers is not None and cycle:
        return "phase", triggers
    for seconds in ([acquired_at(frame) for frame in firsts], [_in_seconds(trigger_time(frame)) for frame in firsts]):
        times = _distinct(seconds)
        if times is not None and all(a < b for a, b in pairwise(times)):
            return "time", tuple(round(time - times[0], 6) for time in times)
    return "time", None


def _distinct(values: Sequence[float | None]) -> tuple[float, ...] | None:
    known = tuple(value for value in values if value is not None)
    return known if len(known) == len(values) == len(set(known)) else None


def _in_seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
