"""What an MR header says about contrast: one word of the catalog's vocabulary, or none.

Descriptions are free text, may hold names, and are only searched for the fixed words below; nothing of them is copied.
The rules stand in docs/formats.md. A doubtful contrast is no contrast: None.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from medshard.converters.dicom.diffusion import Diffusion, diffusion
from medshard.converters.dicom.functional_groups import nearest_groups
from medshard.converters.dicom.values import items, numbers, text, texts
from medshard.registry.vocabulary import Sequence

__all__ = ["Diffusion", "diffusion", "sequence"]

HIGH_B_S_MM2 = 1000.0
"""A diffusion image alone is called high-b above this, as prostate protocols do (PI-RADS asks for 1400 and more)."""

TEXTS = ("SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName")
# Places of the standard's own words (PS3.3 C.8.13.3.1.1 Acquisition Contrast).
CONTRASTS = {
    "FLUID_ATTENUATED": Sequence.FLAIR,
    "PROTON_DENSITY": Sequence.PD,
    "T1": Sequence.T1,
    "T2": Sequence.T2,
    "T2_STAR": Sequence.T2_STAR,
    "TOF": Sequence.TOF,
}
# Words of Image Type: Dixon images of Siemens, GE, Philips and Canon; maps.
IMAGE_TYPES = {
    "ADC": Sequence.ADC,
    "ADC_UNSPECIFIED": Sequence.ADC,
    "IN_PHASE": Sequence.IN_PHASE,
    "IP": Sequence.IN_PHASE,
    "OUT_PHASE": Sequence.OUT_PHASE,
    "OPP_PHASE": Sequence.OUT_PHASE,
    "OP": Sequence.OUT_PHASE,
    "WATER": Sequence.WATER,
    "W": Sequence.WATER,
    "FAT": Sequence.FAT,
    "F": Sequence.FAT,
    "SWI": Sequence.SWI,
    "SWM": Sequence.SWI,
}
# No contrast of the vocabulary: phase, velocity, parameter maps, localisers, screenshots.
NO_CONTRAST = {
    *("P", "PHASE", "PHASE_MAP", "VELOCITY", "R", "REAL", "I", "IMAGINARY", "FIELD_MAP", "B0_MAP", "LOCALIZER"),
    *("FA", "COLFA", "TENSOR", "TENSOR_B0", "FRACTIONAL_ANISOTROPY", "T1_MAP", "T2_MAP", "T2_STAR_MAP", "R2_MAP"),
    *("ASL", "PERFUSION", "RCBF", "RCBV", "MTT", "TTP", "TMAX"),
}
# Words in descriptions -> contrast, the first that fits. More particular ones stand first.
WORDS: tuple[tuple[str, Sequence], ...] = (
    (r"adc|dadc", Sequence.ADC),
    (r"swi|swan|venobold|swip", Sequence.SWI),
    (r"tof", Sequence.TOF),
    (r"ciss|fiesta c|fiestac", Sequence.CISS),
    (r"dess", Sequence.DESS),
    (r"lge|psir|delayed enhancement|late enhancement|late gadolinium", Sequence.LGE),
    (r"cine", Sequence.CINE),
    (r"trufi|truefisp|true fisp|fiesta|bffe|b ffe|balanced ffe|bssfp|ssfp", Sequence.BSSFP),
    (r"flair|dark fluid|darkfluid|da fl|tirm dark", Sequence.FLAIR),
    (r"dark blood|black blood|darkblood|blackblood", Sequence.BLACK_BLOOD),
    (r"t2 star|t2star|t2\*|t2 hemo|t2 fl2d|gre t2|t2 gre|t2 ffe|t2s", Sequence.T2_STAR),
    (r"t2 space|t2 spc|spc t2|space t2|t2 cube|cube t2|t2 vista", Sequence.T2_SPACE),
    (r"t2 spir|spir t2|t2 spair|spair t2", Sequence.T2_SPIR),
    (r"in phase|inphase|inph|dixon in|vibe in", Sequence.IN_PHASE),
    (r"out of phase|out phase|outphase|opp phase|opposed phase|opp|dixon opp", Sequence.OUT_PHASE),
    (r"t1w?|t1w tse|mprage|mp rage|bravo|fspgr|spgr|vibe|lava|thrive|tfl3d|fl3d|e?thrive", Sequence.T1),
    (r"pdw?|proton density", Sequence.PD),
    (r"t2w?|t2 tse|haste|ssfse|blade t2", Sequence.T2),
)
PATTERNS = tuple((re.compile(rf"(?<![a-z0-9])(?:{words})(?![a-z0-9*])"), word) for words, word in WORDS)
DIFFUSION_WORDS = re.compile(
    r"(?<![a-z0-9])(?:dwi|dti|diff|diffusion|ep b\d+t?|resolve|hardi|dwibs|hbv|tracew|dtifit)(?![a-z])"
)
LOCALISER_WORDS = re.compile(r"(?<![a-z])(?:localizer|localiser|scout|survey|3 ?plane|loc)(?![a-z])")
WITHOUT_AGENT = re.compile(
    r"(?<![a-z])(?:pre|pre contrast|precontrast|native|nativ|without|non contrast|unenhanced)(?![a-z])"
)
WITH_AGENT = re.compile(
    r"(?<![a-z])(?:post|postcontrast|gd|gad|gado|gadolinium|ce|t1ce|t1c|t1gd|km|contrast|c\+|\+c)(?![a-z])"
)
PHASES = (
    (re.compile(r"(?<![a-z])(?:art|arterial|artery)(?![a-z])"), Sequence.T1_ARTERIAL),
    (re.compile(r"(?<![a-z])(?:venous|portal|pv|portalvenous|ven)(?![a-z])"), Sequence.T1_VENOUS),
    (re.compile(r"(?<![a-z])(?:delay|delayed|late|equilibrium)(?![a-z])"), Sequence.T1_DELAYED),
)
NO_AGENT = frozenset({"", "NO", "NONE", "N", "N/A", "NA", "NO CONTRAST", "NONE GIVEN", "WITHOUT", "0"})


@dataclass(frozen=True, kw_only=True)
class _Timing:
    """Milliseconds and degrees; None where not stated."""

    echo: float | None
    repetition: float | None
    inversion: float | None
    flip: float | None


def sequence(dataset: Any, b_values: Iterable[float] = ()) -> Sequence | None:
    """The contrast word of an MR image; None where the header does not decide.

    b_values: s/mm2 of the whole stack, where it has several (a stack of several b-values is `DWI`).
    """
    if text(dataset, "Modality") != "MR":
        return None
    types = set(_image_types(dataset))
    said = _descriptions(dataset)
    if types & NO_CONTRAST or LOCALISER_WORDS.search(said):
        return None
    mapped = next((IMAGE_TYPES[word] for word in sorted(types) if word in IMAGE_TYPES), None)
    if mapped is Sequence.ADC or re.search(r"(?<![a-z0-9])d?adc(?![a-z0-9])", said):
        return Sequence.ADC
    if (weighted := _diffusion_word(dataset, types, said, set(b_values))) is not None:
        return weighted
    timing = _timing(dataset)
    found = mapped or _stated_contrast(dataset) or _worded(said) or _timed(dataset, timing)
    if found is Sequence.T2 and timing.inversion is not None and 1500 <= timing.inversion <= 3500:
        return Sequence.FLAIR
    return _enhanced(dataset, said) if found is Sequence.T1 else found


def _diffusion_word(dataset: Any, types: set[str], said: str, stack: set[float]) -> Sequence | None:
    """DWI, DWI-b0 or DWI-high-b; a b-value of zero alone is no sign of diffusion."""
    found = diffusion(dataset)
    own = {found.b_value_s_mm2} if found else set()
    weights = stack or own
    is_meant = "DIFFUSION" in types or _macro_contrast(dataset) == "DIFFUSION" or DIFFUSION_WORDS.search(said)
    if not is_meant and not any(weights):
        return None
    if len(weights) == 1 and not _is_multi_frame(dataset):
        only = weights.pop()
        if only == 0:
            return Sequence.B0
        return Sequence.HIGH_B if only > HIGH_B_S_MM2 else Sequence.DWI
    return Sequence.DWI


def _is_multi_frame(dataset: Any) -> bool:
    return "PerFrameFunctionalGroupsSequence" in dataset


def _stated_contrast(dataset: Any) -> Sequence | None:
    return CONTRASTS.get(_macro_contrast(dataset))


def _macro_contrast(dataset: Any) -> str:
    """Acquisition Contrast (0008,9209) of an enhanced object."""
    groups = [*_groups(dataset, "MRImageFrameTypeSequence"), dataset]
    return next((word for group in groups if (word := text(group, "AcquisitionContrast"))), "")


def _worded(said: str) -> Sequence | None:
    return next((word for pattern, word in PATTERNS if pattern.search(said)), None)


def _timed(dataset: Any, timing: _Timing) -> Sequence | None:
    """By echo, repetition and inversion time alone, within the ranges of textbooks; None between them."""
    kinds = _words(dataset, "ScanningSequence")
    echo, repetition, flip = timing.echo, timing.repetition, timing.flip
    if echo is None or repetition is None:
        return None
    if "EP" in kinds:
        return Sequence.T2_STAR if "GR" in kinds and echo >= 15 else None
    if "SE" in kinds or "RM" in kinds:
        return _timed_spin_echo(echo, repetition, timing.inversion)
    if "GR" not in kinds:
        return None
    if echo >= 15:
        return Sequence.T2_STAR
    prepared = "IR" in kinds or "MP" in _words(dataset, "SequenceVariant")
    spoiled = "SP" in _words(dataset, "SequenceVariant") and flip is not None and flip >= 9 and repetition <= 300
    return Sequence.T1 if echo <= 8 and (prepared or spoiled) else None


def _timed_spin_echo(echo: float, repetition: float, inversion: float | None) -> Sequence | None:
    if echo >= 70 and repetition >= 1500:
        return Sequence.FLAIR if inversion is not None and inversion >= 1500 else Sequence.T2
    if echo <= 30 and repetition <= 1000:
        return Sequence.T1
    return Sequence.PD if echo <= 45 and repetition >= 1500 and inversion is None else None


def _enhanced(dataset: Any, said: str) -> Sequence:
    """T1 with or without contrast agent. A description that says `pre` outweighs an agent in the header."""
    agent = (text(dataset, "ContrastBolusAgent") or "").upper() not in NO_AGENT
    if WITHOUT_AGENT.search(said) or not (agent or WITH_AGENT.search(said)):
        return Sequence.T1
    return next((phase for pattern, phase in PHASES if pattern.search(said)), Sequence.T1C)


def _descriptions(dataset: Any) -> str:
    """The descriptions in small letters, with blanks for what separates words."""
    parts = [text(dataset, name) or "" for name in TEXTS]
    return re.sub(r"[^a-z0-9*+]+", " ", " | ".join(parts).lower())


def _image_types(dataset: Any) -> Iterator[str]:
    """Words of Image Type behind the first two, and the component of a complex image."""
    yield from sorted(_words(dataset, "ImageType") - {"ORIGINAL", "DERIVED", "PRIMARY", "SECONDARY"})
    component = text(dataset, "ComplexImageComponent")
    if component in ("PHASE", "REAL", "IMAGINARY"):
        yield component


def _words(dataset: Any, name: str) -> set[str]:
    return {word.upper() for word in texts(dataset, name)}


def _groups(dataset: Any, macro: str) -> Iterator[Any]:
    """The macro of the first frame, then that of all frames."""
    for group in nearest_groups(dataset, 0):
        yield from items(group, macro)[:1]


def _timing(dataset: Any) -> _Timing:
    return _Timing(
        echo=_number(dataset, ("MREchoSequence", "EffectiveEchoTime"), "EchoTime"),
        repetition=_number(dataset, ("MRTimingAndRelatedParametersSequence", "RepetitionTime"), "RepetitionTime"),
        inversion=_number(dataset, ("MRModifierSequence", "InversionTimes"), "InversionTime") or None,
        flip=_number(dataset, ("MRTimingAndRelatedParametersSequence", "FlipAngle"), "FlipAngle"),
    )


def _number(dataset: Any, macro: tuple[str, str], plain: str) -> float | None:
    found = [numbers(group, macro[1]) for group in _groups(dataset, macro[0])] + [numbers(dataset, plain)]
    return next((values[0] for values in found if values), None)
