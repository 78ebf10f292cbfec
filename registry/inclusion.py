"""The three inclusion criteria, judged per case and per purpose.

A fault speaks against some purposes and not against others: a missing mask makes a scan useless for supervised
training and leaves it as good as any for pretraining.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from medshard.registry.vocabulary import Criterion, Purpose

NEEDS_LABELS = (Purpose.SUPERVISED, Purpose.EVALUATION)
ALL_PURPOSES = tuple(Purpose)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that speaks against a case: which criterion, for which purposes, with a code and a sentence."""

    criterion: Criterion
    code: str
    reason: str
    against: tuple[Purpose, ...]

    def to_json(self) -> dict[str, object]:
        return {
            "criterion": self.criterion.value,
            "code": self.code,
            "reason": self.reason,
            "against": [purpose.value for purpose in self.against],
        }


def missing_label(layer: str, path: str) -> Fault:
    return Fault(
        criterion=Criterion.ANNOTATION,
        code="annotation.missing",
        against=NEEDS_LABELS,
        reason=f"label layer {layer}: no file matches {path}",
    )


def no_labels() -> Fault:
    return Fault(
        criterion=Criterion.ADAPTABILITY,
        code="annotation.none",
        against=NEEDS_LABELS,
        reason="the case has no annotation; it serves self-supervised training only",
    )


def bad_label(layer: str, code: str, reason: str) -> Fault:
    return Fault(
        criterion=Criterion.USABILITY, code=code, against=NEEDS_LABELS, reason=f"label layer {layer}: {reason}"
    )


def bad_annotation(name: str, code: str, reason: str) -> Fault:
    return Fault(criterion=Criterion.USABILITY, code=code, against=NEEDS_LABELS, reason=f"annotation {name}: {reason}")


def unknown_values(layer: str, values: Sequence[int], known: Iterable[int]) -> Fault:
    shown = ", ".join(str(value) for value in values[:8])
    return Fault(
        criterion=Criterion.ANNOTATION,
        code="annotation.unknown_values",
        against=NEEDS_LABELS,
        reason=f"label layer {layer} has the values {shown}, which `classes` does not name "
        f"(it names {', '.join(str(value) for value in sorted(known))})",
    )


def missing_row(annotation: str) -> Fault:
    return Fault(
        criterion=Criterion.ANNOTATION,
        code="annotation.no_row",
        against=NEEDS_LABELS,
        reason=f"annotation {annotation}: its table has no row of this case",
    )


def unknown_words(annotation: str, words: Sequence[str], known: Iterable[str]) -> Fault:
    shown = ", ".join(words[:8])
    return Fault(
        criterion=Criterion.ANNOTATION,
        code="annotation.unknown_values",
        against=NEEDS_LABELS,
        reason=f"annotation {annotation} has the words {shown}, which `values` does not name "
        f"(it names {', '.join(known)})",
    )


def nothing_examined(layer: str) -> Fault:
    """None of the files or segments of the layer is there: absent or never drawn, nobody says."""
    return Fault(
        criterion=Criterion.ANNOTATION,
        code="annotation.not_examined",
        against=NEEDS_LABELS,
        reason=f"label layer {layer}: no class was looked for in this case",
    )


def empty_label(layer: str) -> Fault:
    """An empty mask may be true (a healthy case): it can be trained on but not scored by overlap."""
    return Fault(
        criterion=Criterion.ANNOTATION,
        code="annotation.empty",
        against=(Purpose.EVALUATION,),
        reason=f"label layer {layer} marks no voxel",
    )


def too_small(shape: Sequence[int], smallest: Sequence[int]) -> Fault:
    return Fault(
        criterion=Criterion.ADAPTABILITY,
        code="image.too_small",
        against=ALL_PURPOSES,
        reason=f"the image has {_size(shape)} voxels (z, y, x), the entry asks for {_size(smallest)}",
    )


def wrong_modality(image: str, stated: str, found: str) -> Fault:
    return Fault(
        criterion=Criterion.USABILITY,
        code="image.modality",
        against=ALL_PURPOSES,
        reason=f"image {image}: the catalog says {stated}, the header {found}",
    )


def listed_defect(problem: str) -> Fault:
    return Fault(
        criterion=Criterion.USABILITY, code="defect.listed", against=ALL_PURPOSES, reason=f"known defect: {problem}"
    )


def verdicts(faults: Iterable[Fault]) -> dict[str, list[str]]:
    """purpose -> the codes that speak against it; an empty list is a yes."""
    found = list(faults)
    return {purpose.value: [fault.code for fault in found if purpose in fault.against] for purpose in Purpose}


def _size(shape: Sequence[int]) -> str:
    return "x".join(str(n) for n in shape)
