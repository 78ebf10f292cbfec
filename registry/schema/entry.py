"""One entry of the catalog: a data set. Frozen, strict about unknown fields, parsed once at the edge."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from medshard.registry.schema.cases import CaseGroup
from medshard.registry.schema.facts import (
    Defect,
    Difference,
    Expectations,
    Fraction,
    Overlap,
    PaperRow,
    ShippedSplit,
    SourceFacts,
)
from medshard.registry.schema.model import EntryId, Model, Name, Text, WebAddress
from medshard.registry.schema.plans import PlanDeclaration
from medshard.registry.schema.sources import Reencode, Source
from medshard.registry.schema.terms import AccessTerms, Citation, Licence
from medshard.registry.store.digests import sha256_json
from medshard.registry.vocabulary import (
    Access,
    Confidence,
    Criterion,
    Group,
    Maturity,
    Modality,
    Purpose,
    Region,
    Task,
)


class Inclusion(Model):
    """Which criteria stop the chain when they fail, and the thresholds; an entry may tighten them.

    most_excluded: share of cases that may be excluded. least_labelled: share of the released cases that must carry
    annotations for the entry to count as completely annotated. least_cases: fewer serve no training.
    """

    blocking: tuple[Criterion, ...] = (Criterion.USABILITY,)
    most_excluded: Fraction = 0.5
    least_labelled: Fraction = 0.5
    least_cases: PositiveInt = 10
    smallest_shape: tuple[int, int, int] = (1, 1, 1)
    label_values_must_be_known: bool = True


class Adapter(Model):
    """Python that reads what the layout language cannot say: the exception, named and with its reason."""

    function: Annotated[str, Field(pattern=r"^[a-z_][\w.]*:[a-z_]\w*$")]
    reason: Text


class Entry(Model):
    """One data set.

    names: what else it is called. paper: the rows of the paper that mean it. source: what it really has. differences:
    where the two disagree. pyramid_levels: coarser copies of each image and mask in the canonical Zarr, for viewers.
    confidence, doubts, evidence: how well all this is known, what is not, where it was read.
    """

    id: EntryId
    title: Text
    names: tuple[Text, ...] = ()
    description: Text
    homepage: WebAddress | None = None
    year: Annotated[int, Field(ge=1980, le=2100)] | None = None
    version: str
    groups: Annotated[tuple[Group, ...], Field(min_length=1)]
    modalities: Annotated[tuple[Modality, ...], Field(min_length=1)]
    regions: tuple[Region, ...] = ()
    tasks: Annotated[tuple[Task, ...], Field(min_length=1)]
    dimensions: tuple[Literal[1, 2, 3], ...]
    paper: tuple[PaperRow, ...] = ()
    source: SourceFacts = SourceFacts()
    differences: tuple[Difference, ...] = ()
    licence: Licence
    access: AccessTerms
    maturity: Maturity
    confidence: Confidence = Confidence.UNSTATED
    doubts: tuple[Text, ...] = ()
    evidence: tuple[Text, ...] = ()
    owners: tuple[str, ...] = ()
    citation: Citation | None = None
    acquisition: tuple[Source, ...] = ()
    reencode: tuple[Reencode, ...] = ()
    pyramid_levels: Annotated[int, Field(ge=0, le=8)] = 0
    adapter: Adapter | None = None
    cases: tuple[CaseGroup, ...] = ()
    layout_notes: str = ""
    splits: tuple[ShippedSplit, ...] = ()
    inclusion: Inclusion = Inclusion()
    expectations: Expectations = Expectations()
    overlaps: tuple[Overlap, ...] = ()
    known_defects: tuple[Defect, ...] = ()
    plans: dict[Name, PlanDeclaration] = {"default": PlanDeclaration()}
    notes: str = ""

    @model_validator(mode="after")
    def _default_plan(self) -> Self:
        if "default" not in self.plans:
            raise ValueError("`plans` needs a plan called `default`")
        return self

    @model_validator(mode="after")
    def _only_descriptions_lack_files(self) -> Self:
        if not self.acquisition and self.access.kind is not Access.UNAVAILABLE:
            raise ValueError("`acquisition` is empty: say where the files are, or that access is `unavailable`")
        if not self.cases and self.maturity is not Maturity.DESCRIBED:
            raise ValueError(f"maturity `{self.maturity}` needs `cases`: only a described entry has no layout yet")
        return self

    def parameters(self, *sections: str) -> dict[str, Any]:
        """Those sections as plain JSON: what a stage's key digests, so that other edits cost no rebuild."""
        document = self.model_dump(mode="json", include=set(sections))
        return {section: document[section] for section in sections}

    @property
    def digest(self) -> str:
        return sha256_json(self.model_dump(mode="json"))

    @property
    def all_names(self) -> tuple[str, ...]:
        """Everything that the data set is called: id, title, other names, names in the paper."""
        return tuple(dict.fromkeys((self.id, self.title, *self.names, *(row.name for row in self.paper))))

    @property
    def concepts(self) -> tuple[str, ...]:
        """All concepts that the entry's labels and annotations name, in the order of the entry."""
        return tuple(dict.fromkeys(concept for group in self.cases for concept in group.concepts))

    @property
    def purposes(self) -> tuple[Purpose, ...]:
        supervised = any(group.labels or group.annotations for group in self.cases)
        return tuple(Purpose) if supervised else (Purpose.SELF_SUPERVISED,)
