"""The pydantic models of one catalog entry. Frozen, strict about unknown fields, parsed once at the edge."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
    field_validator,
    model_validator,
)

from medshard.registry.layout import check_template, template_fields
from medshard.registry.store.digests import sha256_json
from medshard.registry.vocabulary import Access, Criterion, Group, Maturity, Modality, Permission, Purpose, Task

EntryId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=80)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+$")]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Citation(Model):
    text: str
    doi: str | None = None


class Licence(Model):
    """The terms, as data. `id` is an SPDX identifier, or a name for terms that have none."""

    id: str
    commercial_use: Permission = Permission.UNKNOWN
    redistribution: Permission = Permission.UNKNOWN
    derivatives: Permission = Permission.UNKNOWN
    notice: str = ""


class AccessTerms(Model):
    kind: Access
    instructions: str = ""


class PipSource(Model):
    """A distribution from the Python package index, downloaded by pip, which checks the digest."""

    kind: Literal["pip"]
    package: str
    version: str
    sha256: Sha256
    form: Literal["sdist", "wheel"] = "sdist"
    include: tuple[str, ...] = ("*",)
    into: str = ""


class PackageSource(Model):
    """Files that an installed Python package carries. `files` pins the digest of a file where given."""

    kind: Literal["package"]
    package: str
    version: str | None = None
    include: tuple[str, ...]
    files: dict[str, Sha256] = {}
    into: str = ""


class FolderSource(Model):
    """A folder, or a zip or tar archive, on this machine. Relative paths start at the catalog file."""

    kind: Literal["folder"]
    path: str
    include: tuple[str, ...] = ("*",)
    files: dict[str, Sha256] = {}
    sha256: Sha256 | None = None
    into: str = ""


Source = Annotated[PipSource | PackageSource | FolderSource, Field(discriminator="kind")]


class Reencode(Model):
    """Real pixels of an acquired file written again in another format, with made headers, and named so."""

    source: str
    to: Literal["dicom-series"]
    folder: str
    description: str

    @field_validator("folder")
    @classmethod
    def _plain_path(cls, value: str) -> str:
        if template_fields(check_template(value)) or "*" in value:
            raise ValueError("a folder has no fields and no stars")
        return value


class ImageSpec(Model):
    """One image of a case. `path` is a template: `{field}` matches within one folder or file name, `*` anything."""

    path: str
    modality: Modality | None = None
    sequence: str | None = None
    unit: str | None = None

    @field_validator("path")
    @classmethod
    def _template(cls, value: str) -> str:
        return check_template(value)


class SoftMap(Model):
    path: str
    concept: str
    scale: float = 1.0

    @field_validator("path")
    @classmethod
    def _template(cls, value: str) -> str:
        return check_template(value)


class LabelSpec(Model):
    """One label layer: either a mask file with `classes`, or one `maps` file per class (soft).

    optional: a case without this layer is unlabelled, not defective.
    examined: concepts that the annotators looked for; all classes when not given.
    """

    path: str | None = None
    kind: Literal["semantic", "instance", "soft"] = "semantic"
    classes: dict[int, str] = {}
    maps: tuple[SoftMap, ...] = ()
    examined: tuple[str, ...] | None = None
    rater: str | None = None
    optional: bool = False

    @field_validator("path")
    @classmethod
    def _template(cls, value: str | None) -> str | None:
        return None if value is None else check_template(value)

    @model_validator(mode="after")
    def _mask_or_maps(self) -> Self:
        if self.kind == "soft" and (not self.maps or self.path):
            raise ValueError("a soft layer has `maps`, one file per class, and no `path`")
        if self.kind != "soft" and (self.maps or not self.path or not self.classes):
            raise ValueError("a semantic or instance layer has a `path` and `classes`, and no `maps`")
        if any(value <= 0 for value in self.classes):
            raise ValueError("0 is the background; `classes` lists the others, from 1")
        if unknown := sorted(set(self.examined or ()) - set(self.concepts.values())):
            raise ValueError(f"`examined` names {unknown}, which are not among the classes")
        return self

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.path,) if self.path else tuple(soft.path for soft in self.maps)

    @property
    def concepts(self) -> dict[int, str]:
        """Value of a voxel -> concept. The maps of a soft layer count from 1, as in the mask made of them."""
        return self.classes or {number: soft.concept for number, soft in enumerate(self.maps, start=1)}

    @property
    def channels(self) -> dict[int, str]:
        """Channel of a soft layer -> concept."""
        return {number: soft.concept for number, soft in enumerate(self.maps)}

    @property
    def examined_concepts(self) -> tuple[str, ...]:
        return self.examined if self.examined is not None else tuple(self.concepts.values())


class CaseGroup(Model):
    """Cases of one shape. The first image (or mesh) finds them; the other paths follow from its fields.

    case, patient: templates over the fields, such as `{case}`. No patient template means one patient per case.
    where: field -> regular expression that the whole field must match.
    """

    case: str = "{case}"
    patient: str | None = None
    where: dict[Name, str] = {}
    modality: Modality
    group: Group | None = None
    subject: Literal["patient", "template", "phantom"] = "patient"
    images: dict[Name, ImageSpec] = {}
    meshes: dict[Name, ImageSpec] = {}
    labels: dict[Name, LabelSpec] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.images and not self.meshes:
            raise ValueError("a group of cases has at least one image or mesh")
        known = set(template_fields(self.anchor))
        used = set(template_fields(self.case)) | set(template_fields(self.patient or "")) | set(self.where)
        for path in self.other_paths:
            used |= set(template_fields(path))
        if missing := sorted(used - known):
            raise ValueError(f"the fields {missing} do not occur in the path that finds the cases: {self.anchor}")
        for name, pattern in self.where.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"where.{name} is no regular expression: {error}") from error
        return self

    @property
    def anchor(self) -> str:
        return next(iter((self.images or self.meshes).values())).path

    @property
    def other_paths(self) -> tuple[str, ...]:
        specs = [*self.images.values(), *self.meshes.values()]
        return tuple(spec.path for spec in specs if spec.path != self.anchor) + tuple(
            path for label in self.labels.values() for path in label.paths
        )


class Overlap(Model):
    """The patient of one of our cases also occurs in another entry."""

    patient: str
    entry: EntryId
    other_patient: str


class Defect(Model):
    """Something known to be wrong with a case, and what is done about it."""

    case: str
    problem: str
    action: Literal["exclude", "repair-header", "accept"]


class Inclusion(Model):
    """Which criteria stop the chain when they fail, and how many excluded cases are too many."""

    blocking: tuple[Criterion, ...] = (Criterion.USABILITY,)
    most_excluded: Annotated[float, Field(ge=0, le=1)] = 0.5
    smallest_shape: tuple[int, int, int] = (1, 1, 1)
    label_values_must_be_known: bool = True


class PlanDeclaration(Model):
    """What an entry says about a plan; the rest follows from the fingerprint. Axis order is (z, y, x)."""

    channels: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    spacing_mm: Literal["median", "native"] | tuple[PositiveFloat, PositiveFloat, PositiveFloat] = "median"
    kernel: Literal["cubic", "linear", "nearest"] = "cubic"
    antialias: bool = True
    patch_size: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    inner_chunk: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    shard_mib: Annotated[int, Field(ge=1)] = 512

    def stated(self) -> dict[str, Any]:
        """Only what the entry says; what it leaves out follows from the fingerprint."""
        return self.model_dump(mode="json", exclude_unset=True)


class Entry(Model):
    """One data set."""

    id: EntryId
    title: str
    description: str
    homepage: str | None = None
    version: str
    groups: Annotated[tuple[Group, ...], Field(min_length=1)]
    modalities: Annotated[tuple[Modality, ...], Field(min_length=1)]
    tasks: Annotated[tuple[Task, ...], Field(min_length=1)]
    dimensions: Annotated[tuple[Literal[2, 3], ...], Field(min_length=1)]
    licence: Licence
    access: AccessTerms
    maturity: Maturity
    owners: tuple[str, ...] = ()
    citation: Citation | None = None
    acquisition: Annotated[tuple[Source, ...], Field(min_length=1)]
    reencode: tuple[Reencode, ...] = ()
    cases: Annotated[tuple[CaseGroup, ...], Field(min_length=1)]
    inclusion: Inclusion = Inclusion()
    overlaps: tuple[Overlap, ...] = ()
    known_defects: tuple[Defect, ...] = ()
    plans: dict[Name, PlanDeclaration] = {"default": PlanDeclaration()}
    notes: str = ""

    @model_validator(mode="after")
    def _default_plan(self) -> Self:
        if "default" not in self.plans:
            raise ValueError("`plans` needs a plan called `default`")
        return self

    def parameters(self, *sections: str) -> dict[str, Any]:
        """Those sections as plain JSON: what a stage's key digests, so that other edits cost no rebuild."""
        document = self.model_dump(mode="json")
        return {section: document[section] for section in sections}

    @property
    def digest(self) -> str:
        return sha256_json(self.model_dump(mode="json"))

    @property
    def purposes(self) -> tuple[Purpose, ...]:
        supervised = any(group.labels for group in self.cases)
        return tuple(Purpose) if supervised else (Purpose.SELF_SUPERVISED,)
