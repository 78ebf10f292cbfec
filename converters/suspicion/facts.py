"""The measures of a whole case, as plain JSON that is small enough for a record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from medshard.converters.array_types import Array
from medshard.converters.grid_verdict import compare_grids
from medshard.converters.suspicion.label_measures import class_measures
from medshard.converters.suspicion.signal_measures import channel_measures
from medshard.converters.suspicion.views import View, view_measures, views_of
from medshard.converters.volume import Image, LabelLayer, Volume

Facts = dict[str, Any]

DIGITS = 4
# A picture of a video counts as black where nothing in it is brighter; of 255.
BLACK = 24
BUSIEST_CLASSES = 300


def suspicion_facts(volume: Volume) -> Facts:
    """Measures of one case: `{"images": ..., "labels": ..., "signals": ..., "slides": ...}`; empty kinds are left out.

    images: name -> {trusted, unit, modality, shape, spacing_mm, views}; a view is what `view_measures` says of one
        channel, of the middle time point; red, green and blue are one view.
    labels: layer -> {trusted, kind, classes}; classes: concept -> what `class_measures` says, `{"voxels": 0}` of one
        that was examined and is not there.
    signals: name -> one `channel_measures` a channel. slides: name -> {tissue}.
    Numbers have `DIGITS` significant digits. Nothing is decided here: what is strange depends on the other cases.
    """
    views = {name: views_of(image) for name, image in sorted(volume.images.items())}
    found: Facts = {
        "images": {name: _image_facts(volume.images[name], some) for name, some in views.items()},
        "labels": {
            name: _layer_facts(layer, volume.images, views, f"{volume.entry}/{volume.case} {name}")
            for name, layer in sorted(volume.labels.items())
        },
        "signals": {
            name: {"channels": list(signal.channels), "measures": channel_measures(signal)}
            for name, signal in sorted(volume.signals.items())
        },
        "slides": {name: {"tissue": float(slide.tissue.mean())} for name, slide in sorted(volume.slides.items())},
    }
    short: Facts = shortened({kind: facts for kind, facts in found.items() if facts})
    return short


def frame_facts(frames: Iterable[Array]) -> Facts:
    """Of decoded frames (c, y, x) of 8 bits, evenly spaced over a video: how many, the shares that are black and that
    equal the one before.
    """
    count = black = frozen = 0
    before: Array | None = None
    for frame in frames:
        count += 1
        black += int(np.percentile(np.asarray(frame), 99) <= BLACK)
        frozen += int(before is not None and np.array_equal(frame, before))
        before = frame
    return shortened({"frames": count, "black": black / max(count, 1), "frozen": frozen / max(count - 1, 1)})


def shortened(found: Any) -> Any:
    """The same with floats to `DIGITS` significant digits and None for those that JSON does not have."""
    if isinstance(found, Mapping):
        return {str(name): shortened(value) for name, value in found.items()}
    if isinstance(found, list | tuple):
        if found and type(found[0]) is int:  # all of them are, and of a layout there are many
            return list(found)
        return [shortened(value) for value in found]
    if isinstance(found, float | np.floating):
        return float(f"{found:.{DIGITS}g}") if np.isfinite(found) else None
    if isinstance(found, np.integer):
        return int(found)
    return found


def _image_facts(image: Image, views: list[View]) -> Facts:
    return {
        "trusted": image.trusted_geometry,
        "unit": image.rescale.unit,
        "modality": image.modality,
        "shape": list(image.shape),
        "spacing_mm": list(image.spacing_mm),
        "views": [view_measures(view, image) for view in views],
    }


def _layer_facts(layer: LabelLayer, images: Mapping[str, Image], views: Mapping[str, list[View]], where: str) -> Facts:
    name = next((name for name, image in sorted(images.items()) if _same_grid(layer, image)), None)
    view = views[name][0] if name is not None and views[name] else None
    trusted = name is None or images[name].trusted_geometry
    classes = class_measures(layer, view, where=where)
    return {
        "trusted": trusted,
        "kind": layer.kind,
        "image": name,
        "classes": dict(list(classes.items())[:BUSIEST_CLASSES]),
    }


def _same_grid(layer: LabelLayer, image: Image) -> bool:
    return compare_grids(layer.shape, layer.affine, image.shape, image.affine).kind in ("same", "rounding")
