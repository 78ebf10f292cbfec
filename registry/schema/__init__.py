"""The pydantic models of one catalog entry, by subject."""

from medshard.registry.schema.annotations import AnyAnnotation
from medshard.registry.schema.cases import (
    CaseGroup,
    ImageSpec,
    LabelSpec,
    PatientColumn,
    SoftMap,
    SplitColumn,
    SplitField,
    SplitLists,
)
from medshard.registry.schema.entry import Adapter, Entry, Inclusion
from medshard.registry.schema.facts import (
    Defect,
    Difference,
    Expectations,
    Overlap,
    PaperRow,
    ShippedSplit,
    SourceFacts,
)
from medshard.registry.schema.plans import PlanDeclaration
from medshard.registry.schema.sources import (
    FolderSource,
    PackageSource,
    PipSource,
    Reencode,
    RemoteFile,
    RemoteSource,
    Source,
)
from medshard.registry.schema.terms import AccessTerms, Citation, Licence

__all__ = [
    "AccessTerms",
    "Adapter",
    "AnyAnnotation",
    "CaseGroup",
    "Citation",
    "Defect",
    "Difference",
    "Entry",
    "Expectations",
    "FolderSource",
    "ImageSpec",
    "Inclusion",
    "LabelSpec",
    "Licence",
    "Overlap",
    "PackageSource",
    "PaperRow",
    "PatientColumn",
    "PipSource",
    "PlanDeclaration",
    "Reencode",
    "RemoteFile",
    "RemoteSource",
    "ShippedSplit",
    "SoftMap",
    "Source",
    "SourceFacts",
    "SplitColumn",
    "SplitField",
    "SplitLists",
]
