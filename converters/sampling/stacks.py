"""Slides and videos as samples: tiles with what was drawn on them, frames, clips."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from medshard.converters.kept_samples import Stack, clip_stack, slide_stack, video_stack
from medshard.converters.plan import FrameRule, Plan, TileRule
from medshard.converters.quantisation import Quantised
from medshard.converters.sampling.foreground import foreground_rows
from medshard.converters.sampling.sample import SampleLabel
from medshard.converters.sampling.statistics import image_statistics
from medshard.converters.sampling.voxels import Fields
from medshard.converters.spooling import Spool
from medshard.converters.tile_labels import tiles_of_mask, tiles_of_outlines
from medshard.converters.volume import Volume


def stack_fields(volume: Volume, plan: Plan, files: Mapping[str, Path], spool: Spool, where: str) -> Fields:
    """Tiles of a slide with what was drawn on it, or frames of a video; only the plan's first channel is taken."""
    name = plan.channels[0]
    labels: dict[str, SampleLabel] = {}
    if name in volume.slides:
        stack = slide_stack(volume.slides[name], plan.tiles or TileRule(), files, where=where, spool=spool)
        labels = _tile_labels(volume, name, stack)
    elif plan.clips is not None:
        stack = clip_stack(volume.videos[name], plan.clips, files, where=where, spool=spool)
    else:
        stack = video_stack(volume.videos[name], plan.frames or FrameRule(), files, where=where, spool=spool)
    warnings = [f"{other} is not in the sample: it has the channel {name} alone" for other in plan.channels[1:]]
    warnings += [f"layer {layer} lies on no tile of {name} and is left out" for layer in volume.labels.keys() - labels]
    return {
        "image": stack.array,
        "affine": stack.affine,
        "places": stack.places,
        "labels": labels,
        "foreground": {layer: foreground_rows(label) for layer, label in labels.items()},
        "statistics": image_statistics(Quantised(array=stack.array)),
        "warnings": tuple(sorted(warnings)),
    }


def _tile_labels(volume: Volume, name: str, stack: Stack) -> dict[str, SampleLabel]:
    """The masks of a slide and the outlines on it, tile by tile; outlines are numbered in the order of the alphabet."""
    found: dict[str, SampleLabel] = {}
    for layer_name, layer in sorted(volume.labels.items()):
        tiles = tiles_of_mask(layer, volume.slides[name], stack)
        if tiles is not None:
            found[layer_name] = SampleLabel(
                array=tiles,
                kind="instance" if layer.kind == "instance" else "semantic",
                classes=dict(layer.classes),
                examined=layer.examined,
                also=dict(layer.also),
                ignore=layer.ignore,
            )
    for annotation_name, annotation in sorted(volume.annotations.items()):
        if annotation.kind == "outlines" and annotation.image == name:
            drawn = {concept for concept in annotation.table["concept"].to_pylist() if concept is not None}
            classes = {
                concept: number for number, concept in enumerate(sorted(drawn | {*annotation.examined}), start=1)
            }
            found[annotation_name] = SampleLabel(
                array=tiles_of_outlines(annotation, classes, stack),
                kind="semantic",
                classes={number: concept for concept, number in classes.items()},
                examined=annotation.examined,
            )
    return found
