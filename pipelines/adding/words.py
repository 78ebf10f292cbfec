"""What words in file names usually mean: parts of a split, masks, images, channels, patients."""

from __future__ import annotations

import re
from dataclasses import dataclass

from medshard.registry.vocabulary import Modality, Sequence, SplitName

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

SPLITS = {
    "train": SplitName.TRAIN,
    "training": SplitName.TRAIN,
    "tr": SplitName.TRAIN,
    "trainval": SplitName.TRAIN,
    "val": SplitName.VALIDATION,
    "valid": SplitName.VALIDATION,
    "validation": SplitName.VALIDATION,
    "evaluation": SplitName.VALIDATION,
    "va": SplitName.VALIDATION,
    "dev": SplitName.VALIDATION,
    "test": SplitName.TEST,
    "testing": SplitName.TEST,
    "ts": SplitName.TEST,
    "te": SplitName.TEST,
    "unlabeled": SplitName.UNLABELLED,
    "unlabelled": SplitName.UNLABELLED,
}
_GLUED_SPLITS = ("training", "train", "testing", "test", "validation", "valid", "val")

MASK_WORDS = frozenset(
    [
        "mask",
        "masks",
        "seg",
        "segs",
        "segmentation",
        "segmentations",
        "semanticsegmentation",
        "label",
        "labels",
        "labelled",
        "gt",
        "groundtruth",
        "truth",
        "msk",
        "dseg",
        "annotation",
        "annotations",
        "annotated",
        "manual",
        "manual1",
        "manual2",
        "roi",
        "rois",
        "contour",
        "contours",
        "lesion_mask",
        "outline",
        "lb",
        "oar",
        "segpanda",
        "classimg",
        "derivatives",
        "delineation",
        "delineations",
        "ground",
        "reviewer",
        "seg35",
        "seg4",
        "lbl",
        "msks",
        "tissuemask",
        "wmh",
    ]
)
IMAGE_WORDS = frozenset(
    [
        "image",
        "images",
        "img",
        "imgs",
        "im",
        "scan",
        "scans",
        "volume",
        "volumes",
        "vol",
        "original",
        "originals",
        "orig",
        "data",
        "raw",
        "rgb",
        "slides",
        "slide",
        "pictures",
        "picture",
        "photo",
        "photos",
        "dicom",
    ]
)
SHOWN_WORDS = frozenset(
    [
        "overlay",
        "overlays",
        "visualization",
        "visualisation",
        "visualizations",
        "preview",
        "previews",
        "thumbnail",
        "thumbnails",
        "thumb",
        "snp",
        "watershed",
    ]
)
"""Pictures for people: made of images and masks, and neither."""

_COLOURED = frozenset({"color", "colour", "rgb"})
_GLUED_MASKS = ("mask", "masks", "segmentation", "segmentations")

PATIENT_WORDS = frozenset(
    ["patient", "patients", "pat", "sub", "subject", "subjects", "person", "pt", "pid", "subj", "participant"]
)
LATERAL = {"l": "left", "r": "right", "lt": "left", "rt": "right"}


@dataclass(frozen=True)
class Channel:
    """What a word says of an image: its name in the entry, how it was made, which contrast."""

    name: str
    modality: Modality | None = None
    sequence: Sequence | None = None


def _mr(name: str, sequence: Sequence | None) -> Channel:
    return Channel(name, Modality.MR, sequence)


CHANNELS = {
    "ct": Channel("ct", Modality.CT),
    "cbct": Channel("cbct", Modality.CBCT),
    "cta": Channel("cta", Modality.CTA),
    "ctres": Channel("ct_resampled", Modality.CT),
    "pet": Channel("pet", Modality.PT),
    "suv": Channel("suv", Modality.PT),
    "mr": _mr("mr", None),
    "mri": _mr("mr", None),
    "t1": _mr("t1", Sequence.T1),
    "t1w": _mr("t1", Sequence.T1),
    "t1n": _mr("t1", Sequence.T1),
    "3dt1": _mr("t1_3d", Sequence.T1),
    "t1c": _mr("t1c", Sequence.T1C),
    "t1ce": _mr("t1c", Sequence.T1C),
    "t1gd": _mr("t1c", Sequence.T1C),
    "t2": _mr("t2", Sequence.T2),
    "t2w": _mr("t2", Sequence.T2),
    "flair": _mr("flair", Sequence.FLAIR),
    "t2f": _mr("flair", Sequence.FLAIR),
    "pd": _mr("pd", Sequence.PD),
    "dwi": _mr("dwi", Sequence.DWI),
    "adc": _mr("adc", Sequence.ADC),
    "swi": _mr("swi", Sequence.SWI),
    "lge": _mr("lge", Sequence.LGE),
    "mra": _mr("mra", None),
    "dti": _mr("dti", Sequence.DWI),
    "hbv": _mr("high_b", Sequence.HIGH_B),
    "tof": _mr("tof", Sequence.TOF),
    "bold": _mr("bold", None),
    "inphase": _mr("in_phase", Sequence.IN_PHASE),
    "inn": _mr("in_phase", Sequence.IN_PHASE),
    "outphase": _mr("out_phase", Sequence.OUT_PHASE),
    "opp": _mr("out_phase", Sequence.OUT_PHASE),
    "fat": _mr("fat", Sequence.FAT),
    "wat": _mr("water", Sequence.WATER),
    "us": Channel("ultrasound", Modality.US),
    "ultrasound": Channel("ultrasound", Modality.US),
    "octa": Channel("octa", Modality.OCTA),
    "oct": Channel("oct", Modality.OCT),
    "fundus": Channel("fundus", Modality.FUNDUS),
    "xray": Channel("xray", Modality.XRAY),
    "cxr": Channel("xray", Modality.XRAY),
    "radiograph": Channel("xray", Modality.XRAY),
    "histology": Channel("slide", Modality.PATHOLOGY),
    "histopathology": Channel("slide", Modality.PATHOLOGY),
    "pathology": Channel("slide", Modality.PATHOLOGY),
    "endoscopy": Channel("frame", Modality.ENDOSCOPY),
    "colonoscopy": Channel("frame", Modality.ENDOSCOPY),
    "polyp": Channel("frame", Modality.ENDOSCOPY),
    "dermoscopy": Channel("photo", Modality.DERMOSCOPY),
    "ecg": Channel("ecg", Modality.ECG),
    "eeg": Channel("eeg", Modality.EEG),
}


def words_of(text: str) -> tuple[str, ...]:
    """The words of a name in lower case: `imagesTr` is images and tr, `T1_gd` is t1 and gd."""
    return tuple(word.lower() for part in re.split(r"[^A-Za-z0-9]+", text) for word in _parts(part))


def _parts(part: str) -> list[str]:
    """A name without separators: a word that is known as it stands stays whole."""
    lower = part.lower()
    if lower in CHANNELS or lower in MASK_WORDS or lower in SPLITS:
        return [part]
    for split in _GLUED_SPLITS:
        rest = lower.removeprefix(split)
        if rest != lower and rest in {"img", "imgs", "image", "images", "mask", "masks", "label", "labels", "set"}:
            return [split, rest]
    return _WORD.findall(part)


def split_of(text: str) -> SplitName | None:
    """The part of a split that a folder or name speaks of, where it speaks of one alone."""
    words = words_of(text)
    found = {
        SPLITS[word]
        for before, word in zip(("", *words), words, strict=False)
        if word in SPLITS and (len(word) > 2 or before in IMAGE_WORDS or before in MASK_WORDS or before in SPLITS)
    }
    if SplitName.UNLABELLED in found:
        return SplitName.UNLABELLED
    return next(iter(found)) if len(found) == 1 else None


def speaks_of_mask(text: str) -> bool:
    words = words_of(text)
    return not MASK_WORDS.isdisjoint(words) or any(word.endswith(_GLUED_MASKS) for word in words)


def speaks_of_image(text: str) -> bool:
    return not IMAGE_WORDS.isdisjoint(words_of(text))


def is_for_people(text: str) -> bool:
    words = words_of(text)
    return not SHOWN_WORDS.isdisjoint(words) or (not _COLOURED.isdisjoint(words) and speaks_of_mask(text))


def channel_of(text: str) -> Channel | None:
    """The last word of a name that tells a channel: later words are the narrower ones."""
    found = [CHANNELS[word] for word in words_of(text) if word in CHANNELS]
    return found[-1] if found else None


def is_role(folder: str) -> bool:
    """Whether the name of a folder says what kind of files lie in it, so that it is never the name of a case."""
    words = words_of(folder)
    letters = [word for word in words if not word.isdigit()]
    if split_of(folder) or speaks_of_mask(folder) or (speaks_of_image(folder) and len(letters) <= 2):
        return True
    return bool(letters) and (all(word in CHANNELS for word in letters) or is_for_people(folder))
