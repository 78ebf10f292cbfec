"""What the label layers of one case hold, and what speaks against them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from medshard.converters.formats.format import Header
from medshard.converters.spooling import Spool
from medshard.errors import CaseError
from medshard.pipelines.labels.case_labels import CaseLabel, label_paths, label_readers, label_sources, layer_files
from medshard.pipelines.stages.case_payload import CasePayload
from medshard.registry import inclusion
from medshard.registry.inclusion import Fault


def judge_labels(
    payload: CasePayload, source: str, images: Mapping[str, Header], spool: Spool
) -> tuple[dict[str, Any], list[Fault], list[str]]:
    """What the layers of one label of the layout hold, and what speaks against them.

    A bad layer spoils no image, and a rater's bad file no other rater's layer. One layer is in memory at a time.
    """
    groups = label_sources(payload)[source]
    spec = payload.group.labels.get(source)
    optional = spec.optional if spec is not None else payload.group.annotations[source].optional
    missing = [number for number, files in enumerate(groups) if not files]
    # One file per class: a structure that a case lacks has none.
    every_file_counts = spec is None or not spec.per_class
    if len(missing) == len(groups) or (missing and every_file_counts):
        nothing = len(missing) == len(groups)
        paths = label_paths(payload, source)
        faults = [] if optional and nothing else [inclusion.missing_label(source, paths[number]) for number in missing]
        return {source: {"present": not nothing, "usable": False}}, faults, []
    try:
        readers = label_readers(payload, source, images=images, spool=spool)
    except CaseError as error:
        return (
            {source: _unusable(error)},
            [inclusion.bad_label(source, error.code, _evidence(error, _flat(groups)))],
            [],
        )
    layers: dict[str, Any] = {}
    faults, warnings = [], []
    for name, read in readers.items():
        try:
            label = read()
        except CaseError as error:
            layers[name] = _unusable(error)
            faults.append(
                inclusion.bad_label(name, error.code, _evidence(error, _flat(layer_files(payload, source)[name])))
            )
            continue
        layers[name], found = _judge_layer(payload, label)
        faults += found
        warnings += [f"label layer {name}: {warning}" for warning in label.warnings]
        del label
    return layers, faults, warnings


def _unusable(error: CaseError) -> dict[str, Any]:
    return {"present": True, "usable": False, "error": str(error)}


def _flat(groups: Iterable[Sequence[str]]) -> list[str]:
    return [path for files in groups for path in files]


def _evidence(error: CaseError, files: Sequence[str]) -> str:
    """The problem, with what the error has found: which file, how far apart, what was expected."""
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    details = {"file": f"{files[0]}{more}" if files else "none", **error.details}
    return f"{error.problem} ({'; '.join(f'{name}: {value}' for name, value in details.items())})"


def _judge_layer(payload: CasePayload, label: CaseLabel) -> tuple[dict[str, Any], list[Fault]]:
    layer, counts = label.layer, label.counts
    # The values of an instance layer are numbers of instances, not of classes.
    known = {0, *layer.classes, *layer.ignore, *(counts if layer.kind == "instance" else ())}
    if layer.kind == "soft":
        known = {number + 1 for number in layer.classes} | {0}
    unknown = [value for value in counts if (value < 0 and value not in layer.ignore) or value not in known]
    faults = [] if layer.examined else [inclusion.nothing_examined(label.name)]
    if unknown and payload.entry.inclusion.label_values_must_be_known:
        faults.append(inclusion.unknown_values(label.name, unknown, layer.classes))
    if not unknown and not any(count for value, count in counts.items() if value != 0 and value not in layer.ignore):
        faults.append(inclusion.empty_label(label.name))
    facts: dict[str, Any] = {
        "present": True,
        "usable": not (unknown and payload.entry.inclusion.label_values_must_be_known),
        "shape": list(layer.shape),
        "kind": layer.kind,
        "voxels": {str(value): count for value, count in counts.items()},
        "repair": label.repair,
    }
    further = {
        "image": label.image,
        "rater": layer.rater,
        "ignore": list(layer.ignore),
        "verdict": label.verdict.kind if label.verdict is not None and label.verdict.kind != "same" else None,
    }
    return facts | {name: value for name, value in further.items() if value}, faults
