"""The closed vocabularies of the catalog: what a field may say."""

from __future__ import annotations

from enum import StrEnum


class Group(StrEnum):
    """The nine groups of the platform's tables, and one for what belongs to none of them."""

    WHOLE_BODY = "whole-body"
    SKELETON = "skeleton"
    BRAIN = "brain"
    EYES = "eyes"
    THORAX = "thorax"
    ABDOMEN = "abdomen"
    LESION = "lesion"
    HEAD_AND_NECK = "head-and-neck"
    VESSEL = "vessel"
    MIXED = "mixed"


class Modality(StrEnum):
    """How the data were made. DICOM's codes where DICOM has one (CT, MR, PT, US ...)."""

    CT = "CT"
    MR = "MR"
    PT = "PT"
    US = "US"
    XRAY = "X-ray"
    CBCT = "CBCT"
    FUNDUS = "fundus"
    OCT = "OCT"
    ENDOSCOPY = "endoscopy"
    DERMOSCOPY = "dermoscopy"
    PATHOLOGY = "pathology"
    MESH = "mesh"
    OTHER = "other"


class Task(StrEnum):
    """What the annotation, or the lack of one, is good for."""

    SEGMENTATION = "segmentation"
    CLASSIFICATION = "classification"
    DETECTION = "detection"
    REGISTRATION = "registration"
    RECONSTRUCTION = "reconstruction"
    GENERATION = "generation"
    SELF_SUPERVISED = "self-supervised"


class Access(StrEnum):
    """What a user has to do to get the data."""

    OPEN = "open"
    ACCOUNT = "account"
    AGREEMENT = "agreement"
    UNAVAILABLE = "unavailable"


class Permission(StrEnum):
    """One answer of a licence."""

    ALLOWED = "allowed"
    FORBIDDEN = "forbidden"
    CONDITIONAL = "conditional"
    UNKNOWN = "unknown"


class Maturity(StrEnum):
    """How far an entry is proven: facts written down, layout tested on made files, real data acquired."""

    DESCRIBED = "described"
    LAYOUT_TESTED = "layout-tested"
    ACQUIRED = "acquired"


class Purpose(StrEnum):
    """What a case may be used for; verdicts are per purpose."""

    SUPERVISED = "supervised"
    SELF_SUPERVISED = "self-supervised"
    EVALUATION = "evaluation"


class Criterion(StrEnum):
    """The three inclusion criteria."""

    ANNOTATION = "annotation-completeness"
    USABILITY = "format-usability"
    ADAPTABILITY = "task-adaptability"
