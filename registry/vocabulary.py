"""The closed vocabularies of the catalog: what a field may say."""

from __future__ import annotations

from enum import StrEnum


class Group(StrEnum):
    """The nine groups of the platform's tables, the survey's other headings, and one for what belongs to none."""

    WHOLE_BODY = "whole-body"
    SKELETON = "skeleton"
    BRAIN = "brain"
    EYES = "eyes"
    THORAX = "thorax"
    ABDOMEN = "abdomen"
    LESION = "lesion"
    HEAD_AND_NECK = "head-and-neck"
    VESSEL = "vessel"
    MULTI_REGION = "multi-region"
    EHR = "ehr"
    SIGNALS = "signals"
    BIOINFORMATICS = "bioinformatics"
    MIXED = "mixed"


PLATFORM_GROUPS = (
    Group.WHOLE_BODY,
    Group.SKELETON,
    Group.BRAIN,
    Group.EYES,
    Group.THORAX,
    Group.ABDOMEN,
    Group.LESION,
    Group.HEAD_AND_NECK,
    Group.VESSEL,
)


class Modality(StrEnum):
    """How the data were made: the platform's twelve, then the extensions.

    DICOM's codes where DICOM has one (CT, MR, PT, US). A PET-CT case has images of PT and of CT.
    """

    CT = "CT"
    CTA = "CTA"
    PET_CT = "PET-CT"
    MR = "MR"
    XRAY = "X-ray"
    US = "US"
    PATHOLOGY = "pathology"
    ENDOSCOPY = "endoscopy"
    FUNDUS = "fundus"
    OCT = "OCT"
    OCTA = "OCTA"
    IOS = "IOS"

    PT = "PT"
    CBCT = "CBCT"
    DERMOSCOPY = "dermoscopy"
    MESH = "mesh"
    TEXT = "text"
    EHR = "EHR"
    ECG = "ECG"
    EEG = "EEG"
    POLYSOMNOGRAPHY = "polysomnography"
    PHYSIOLOGY = "physiology"
    TRANSCRIPTOMICS = "transcriptomics"
    GENOMICS = "genomics"
    OTHER = "other"


PLATFORM_MODALITIES = (
    Modality.CT,
    Modality.CTA,
    Modality.PET_CT,
    Modality.MR,
    Modality.XRAY,
    Modality.US,
    Modality.PATHOLOGY,
    Modality.ENDOSCOPY,
    Modality.FUNDUS,
    Modality.OCT,
    Modality.OCTA,
    Modality.IOS,
)

IMPLIED_MODALITIES = {
    Modality.CTA: (Modality.CT,),
    Modality.PET_CT: (Modality.PT, Modality.CT),
    Modality.CBCT: (Modality.CT,),
    Modality.OCTA: (Modality.OCT,),
    Modality.IOS: (Modality.MESH,),
    Modality.POLYSOMNOGRAPHY: (Modality.EEG,),
}
"""Who asks for CT is shown CTA and PET-CT as well."""


class Sequence(StrEnum):
    """The contrast of an MR image. T1C: T1 with contrast agent, phase unknown or single."""

    T1 = "T1"
    T1C = "T1C"
    T2 = "T2"
    FLAIR = "FLAIR"
    PD = "PD"
    DWI = "DWI"
    B0 = "DWI-b0"
    HIGH_B = "DWI-high-b"
    ADC = "ADC"
    T2_STAR = "T2*"
    SWI = "SWI"
    BSSFP = "bSSFP"
    CINE = "cine"
    LGE = "LGE"
    TOF = "TOF"
    BLACK_BLOOD = "black-blood"
    IN_PHASE = "in-phase"
    OUT_PHASE = "out-of-phase"
    FAT = "fat"
    WATER = "water"
    T2_SPIR = "T2-SPIR"
    T2_SPACE = "T2-SPACE"
    CISS = "CISS"
    DESS = "DESS"
    T1_ARTERIAL = "T1C-arterial"
    T1_VENOUS = "T1C-venous"
    T1_DELAYED = "T1C-delayed"


class Region(StrEnum):
    """The part of the body that the images show."""

    WHOLE_BODY = "whole-body"
    MULTI_REGION = "multi-region"
    BRAIN = "brain"
    EYE = "eye"
    HEAD_AND_NECK = "head-and-neck"
    TEETH = "teeth"
    THYROID = "thyroid"
    THORAX = "thorax"
    LUNG = "lung"
    HEART = "heart"
    BREAST = "breast"
    ABDOMEN = "abdomen"
    LIVER = "liver"
    PANCREAS = "pancreas"
    KIDNEY = "kidney"
    GASTROINTESTINAL_TRACT = "gastrointestinal-tract"
    COLORECTUM = "colorectum"
    PELVIS = "pelvis"
    PROSTATE = "prostate"
    PLACENTA = "placenta"
    SPINE = "spine"
    RIBS = "ribs"
    VESSEL = "vessel"
    SKIN = "skin"
    CELLS = "cells"


class Task(StrEnum):
    """What the annotation, or the lack of one, is good for."""

    SEGMENTATION = "segmentation"
    CLASSIFICATION = "classification"
    DETECTION = "detection"
    LANDMARKS = "landmark-localisation"
    REGISTRATION = "registration"
    RECONSTRUCTION = "reconstruction"
    GENERATION = "generation"
    REPORT = "report-generation"
    VQA = "visual-question-answering"
    QA = "question-answering"
    RISK = "risk-prediction"
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


class Confidence(StrEnum):
    """How well facts are backed: seen in a source, in part, from memory only; `unstated`: nobody has said."""

    VERIFIED = "verified"
    PARTLY = "partly"
    MEMORY = "memory"
    UNSTATED = "unstated"


class PatientBasis(StrEnum):
    """What a patient's identity rests on. `unknown`: two cases may show one person, and nobody can tell."""

    IDENTIFIED = "identified"
    ONE_PER_CASE = "one-per-case"
    ASSUMED = "assumed"
    UNKNOWN = "unknown"
    NOT_A_PATIENT = "not-a-patient"


class SplitName(StrEnum):
    """The parts of a split as its makers shipped it. `unlabelled` and `extra` belong to none of the three."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"
    UNLABELLED = "unlabelled"
    EXTRA = "extra"


class OverlapKind(StrEnum):
    """How two entries share people. Read from the entry that declares it to the other one."""

    SAME_CASES = "same-cases"
    SUBSET_OF = "subset-of"
    SUPERSET_OF = "superset-of"
    SHARES_CASES = "shares-cases"
    SHARES_PATIENTS = "shares-patients"
    POSSIBLE = "possible"
    NONE_KNOWN = "no-overlap"


INVERSE_OVERLAP = {
    OverlapKind.SUBSET_OF: OverlapKind.SUPERSET_OF,
    OverlapKind.SUPERSET_OF: OverlapKind.SUBSET_OF,
}


class PaperField(StrEnum):
    """The columns of the platform's tables, for saying where a row and its source disagree."""

    IDENTITY = "identity"
    GROUP = "group"
    DIMENSION = "dimension"
    MODALITY = "modality"
    TASK = "task"
    TARGETS = "targets"
    SIZE = "size"
    FORMAT = "format"
    OTHER = "other"


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
