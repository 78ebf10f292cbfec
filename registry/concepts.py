"""The vocabulary of labels: one concept per structure or finding, whatever a data set calls it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError, model_validator

from medshard.errors import CatalogError
from medshard.registry.yaml_lines import FieldPath, Problem, YamlDocument, read_yaml

CONCEPTS_FILE = Path(__file__).parent / "concepts.yaml"

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

ConceptName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 '/?.-]*$", max_length=80)]
Code = Annotated[str, StringConstraints(pattern=r"^SCT:[0-9]{6,18}$")]


class ConceptKind(StrEnum):
    """What sort of thing a concept is."""

    ORGAN = "organ"
    BONE = "bone"
    TOOTH = "tooth"
    MUSCLE = "muscle"
    VESSEL = "vessel"
    NERVE = "nerve"
    TISSUE = "tissue"
    CELL = "cell"
    FLUID = "fluid"
    REGION = "region"
    LESION = "lesion"
    DIAGNOSIS = "diagnosis"
    SCORE = "score"
    STATE = "state"
    WAVEFORM = "waveform"
    IMAGE_CLASS = "image-class"
    ARTEFACT = "artefact"
    INSTRUMENT = "instrument"
    OTHER = "other"


class Side(StrEnum):
    """The side of the patient, not of the picture."""

    LEFT = "left"
    RIGHT = "right"


class Concept(BaseModel):
    """One structure, finding or class.

    parent: the wider concept that this one is a kind or a part of ("left kidney" -> "kidney").
    located_in: the organ that a finding sits in ("liver tumour" -> "liver").
    code: SNOMED CT. A code that names no side is to be read together with `side`, as DICOM does it.
    synonyms: other words for it; spellings that `normalised` makes equal to the name need no synonym.
    thin: a few voxels wide: resampling, losses and scores that suit a liver lose it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    name: ConceptName
    kind: ConceptKind
    side: Side | None = None
    parent: str | None = None
    located_in: str | None = None
    code: Code | None = None
    thin: bool = False
    synonyms: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _side_as_named(self) -> Self:
        for side in Side:
            if side in self.name.split() and self.side != side:
                raise ValueError(f"the name says {side}: expected `side: {side}`")
        return self


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is wrong with one concept of a list.

    number: its position in the list, from 0. field: empty when the concept as a whole is meant.
    missing: the name that it refers to in vain.
    """

    number: int
    field: FieldPath
    message: str
    missing: str | None = None


@dataclass(frozen=True)
class Vocabulary:
    """Concepts by name. No two of them have a name or synonym in common, in any spelling.

    words: normalised name or synonym -> name.
    """

    concepts: Mapping[str, Concept] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.concepts)

    def __contains__(self, name: object) -> bool:
        return name in self.concepts

    def get(self, name: str) -> Concept:
        """The concept of exactly this name. Raises CatalogError with the nearest names."""
        if name in self.concepts:
            return self.concepts[name]
        near = self.nearest(name)
        raise CatalogError(
            "concept.unknown",
            where=name,
            problem="no concept of this name is in the vocabulary",
            details={"did you mean": ", ".join(near)} if near else {},
            action="Names are those of registry/concepts.yaml; a catalog file may add its own under `concepts:`.",
        )

    def find(self, text: str) -> Concept | None:
        """The concept that a spelling means: "Kidney_L", "kidneys (left)" and "left kidney" are one."""
        name = self.words.get(normalised(text))
        return self.concepts[name] if name is not None else None

    def nearest(self, text: str) -> tuple[str, ...]:
        """At most three names, the likeliest first."""
        near = difflib.get_close_matches(normalised(text), list(self.words), n=9, cutoff=0.6)
        return tuple(dict.fromkeys(self.words[word] for word in near))[:3]

    def ancestors(self, name: str) -> tuple[str, ...]:
        """Every wider concept, the nearest first."""
        found: list[str] = []
        parent = self.get(name).parent
        while parent is not None and parent in self.concepts:
            found.append(parent)
            parent = self.concepts[parent].parent
        return tuple(found)

    def descendants(self, name: str) -> frozenset[str]:
        """The concept itself and everything that is a kind or a part of it."""
        found: set[str] = set()
        waiting = [self.get(name).name]
        while waiting:
            found.add(waiting[-1])
            waiting.extend(self._children.get(waiting.pop(), ()))
        return frozenset(found)

    def findings_in(self, name: str) -> frozenset[str]:
        """What sits in the concept or in a part of it: "liver" -> liver tumour, liver cyst and their kinds."""
        places = self.descendants(name)
        direct = (concept.name for concept in self.concepts.values() if concept.located_in in places)
        return frozenset().union(*(self.descendants(finding) for finding in direct))

    @cached_property
    def _children(self) -> dict[str, list[str]]:
        children: dict[str, list[str]] = {}
        for concept in self.concepts.values():
            if concept.parent is not None:
                children.setdefault(concept.parent, []).append(concept.name)
        return children

    def extended(self, concepts: Iterable[Concept]) -> tuple[Vocabulary, tuple[Fault, ...]]:
        """This vocabulary with more concepts. Those that clash are left out and come back as faults."""
        return self._extended(dict(enumerate(concepts)))

    def _extended(self, numbered: Mapping[int, Concept]) -> tuple[Vocabulary, tuple[Fault, ...]]:
        words = dict(self.words)
        faults: list[Fault] = []
        for number, concept in numbered.items():
            faults += _claim_words(words, number, concept)
        known = dict(self.concepts)
        for concept in numbered.values():
            known.setdefault(concept.name, concept)
        for number, concept in numbered.items():
            faults += _check_references(known, number, concept)
        refused = {numbered[fault.number].name for fault in faults} - set(self.concepts)
        accepted = {name: concept for name, concept in known.items() if name not in refused}
        kept = {word: name for word, name in words.items() if name in accepted}
        return Vocabulary(accepted, kept), tuple(faults)


def _claim_words(words: dict[str, str], number: int, concept: Concept) -> Iterable[Fault]:
    """Enter name and synonyms of a concept; the words that are taken come back as faults."""
    own = normalised(concept.name)
    if own in words:
        yield Fault(number=number, field=("name",), message=f"{concept.name!r} means {words[own]!r}, which exists")
        return
    words[own] = concept.name
    for place, synonym in enumerate(concept.synonyms):
        word = normalised(synonym)
        taken = words.get(word)
        if taken is None:
            words[word] = concept.name
            continue
        message = (
            f"{synonym!r} is understood without being listed: leave it out"
            if taken == concept.name
            else f"{synonym!r} already means {taken!r}"
        )
        yield Fault(number=number, field=("synonyms", place), message=message)


def _check_references(known: Mapping[str, Concept], number: int, concept: Concept) -> Iterable[Fault]:
    for name, target in (("parent", concept.parent), ("located_in", concept.located_in)):
        if target is not None and target not in known:
            near = difflib.get_close_matches(target, list(known), n=3)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            message = f"no concept is called {target!r}{hint}"
            yield Fault(number=number, field=(name,), message=message, missing=target)
    trail = [concept.name]
    parent = concept.parent
    while parent is not None and parent in known and parent not in trail:
        trail.append(parent)
        parent = known[parent].parent
    if parent == concept.name:
        yield Fault(number=number, field=("parent",), message=f"parents go round: {' -> '.join((*trail, parent))}")


def read_concepts(raw: Any, base: Vocabulary | None = None) -> tuple[Vocabulary, tuple[Fault, ...]]:
    """A list as it stands in a YAML file, on top of a vocabulary; every fault of every concept at once."""
    base = base or Vocabulary()
    if not isinstance(raw, list):
        return base, (Fault(number=0, field=(), message="expected a list of concepts"),)
    concepts: dict[int, Concept] = {}
    faults: list[Fault] = []
    unread: set[str] = set()
    for number, item in enumerate(raw):
        try:
            concepts[number] = Concept.model_validate(item)
        except ValidationError as error:
            unread.add(str(item.get("name")) if isinstance(item, dict) else "")
            faults += _explain(number, error)
    vocabulary, clashes = base._extended(concepts)
    # A concept that could not be read is no reason to say that those below it have a parent nobody knows.
    faults += [fault for fault in clashes if fault.missing is None or fault.missing not in unread]
    return vocabulary, tuple(sorted(faults, key=lambda fault: fault.number))


def _explain(number: int, error: ValidationError) -> Iterable[Fault]:
    for fault in error.errors(include_url=False):
        found = "" if isinstance(fault["input"], dict | list) else f" (found {fault['input']!r})"
        message = fault["msg"].removeprefix("Value error, ") + found
        yield Fault(number=number, field=tuple(fault["loc"]), message=message)


def located(faults: Iterable[Fault], document: YamlDocument, under: FieldPath = ()) -> tuple[Problem, ...]:
    """Faults as problems with file and line. under: the field of the document that holds the list."""
    raw = document.data
    for part in under:
        raw = raw[part]
    problems = []
    for fault in faults:
        item = raw[fault.number] if isinstance(raw, list) and fault.number < len(raw) else None
        problems.append(
            Problem(
                file=document.file,
                line=document.line_of((*under, fault.number, *fault.field)),
                entry=str(item["name"]) if isinstance(item, dict) and "name" in item else None,
                field=".".join(str(part) for part in fault.field),
                message=fault.message,
            )
        )
    return tuple(problems)


def load_concepts(file: Path = CONCEPTS_FILE) -> Vocabulary:
    """The vocabulary of a file. Raises CatalogError that lists everything that is wrong in it, with lines."""
    return _load_once() if file == CONCEPTS_FILE else _load(file)


@lru_cache(maxsize=1)
def _load_once() -> Vocabulary:
    return _load(CONCEPTS_FILE)


def _load(file: Path) -> Vocabulary:
    try:
        # Nothing keeps lines here: they take longer than all the rest and are needed only when something is wrong.
        vocabulary, faults = read_concepts(yaml.load(file.read_text(encoding="utf8"), Loader=_Loader))
        if not faults:
            return vocabulary
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(
            "concepts.unreadable", where=str(file), problem=str(error), action="Name a YAML file with concepts."
        ) from error
    except yaml.YAMLError:
        pass  # read_yaml below says where
    problems = concept_problems(file)
    raise CatalogError(
        "concepts.invalid",
        where=str(file),
        problem=f"{len(problems)} faults in the vocabulary of labels",
        details={f"{number}.": str(problem) for number, problem in enumerate(problems, start=1)},
        action="Mend those lines; `name`, `kind` and the other fields are explained in registry/concepts.py.",
    )


def concept_problems(file: Path, base: Vocabulary | None = None) -> tuple[Problem, ...]:
    """Everything that is wrong in a file of concepts, duplicate keys included."""
    document = read_yaml(file)
    if document.data is None and document.problems:
        return document.problems
    _, faults = read_concepts(document.data, base)
    return (*document.problems, *located(faults, document))


# Spellings that British and American English do not share, as a part of a word.
_SPELLINGS = (
    ("aem", "em"),
    ("oedem", "edem"),
    ("oesoph", "esoph"),
    ("tumour", "tumor"),
    ("colour", "color"),
    ("grey", "gray"),
    ("caec", "cec"),
    ("paed", "ped"),
    ("foet", "fet"),
    ("anaes", "anes"),
    ("gynaec", "gynec"),
    ("fibre", "fiber"),
    ("centre", "center"),
    ("artefact", "artifact"),
    ("sulph", "sulf"),
    ("labell", "label"),
    ("isation", "ization"),
)
_SINGULARS = {
    "vertebrae": "vertebra",
    "nuclei": "nucleus",
    "ganglia": "ganglion",
    "bronchi": "bronchus",
    "atria": "atrium",
    "metastases": "metastasis",
    "diagnoses": "diagnosis",
    "stenoses": "stenosis",
    "cortices": "cortex",
    "calculi": "calculus",
    "emboli": "embolus",
    "thrombi": "thrombus",
    "septa": "septum",
    "teeth": "tooth",
    "feet": "foot",
    "axes": "axis",
}
_FILLERS = frozenset({"of", "the", "and", "or", "in", "to"})
_SIDE_LETTERS = {"l": "left", "r": "right", "lt": "left", "rt": "right"}
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_WORD = re.compile(r"[a-z0-9]+")


@lru_cache(maxsize=8192)
def normalised(text: str) -> str:
    """The key under which spellings of one thing are equal.

    Case, punctuation, underscores, joined capitals, British and American spelling, simple plurals, filler words, the
    order of words and an L or R at the end (a side) make no difference.
    """
    words = _WORD.findall(_CAMEL.sub(" ", text).casefold())
    if len(words) > 1 and words[-1] in _SIDE_LETTERS:
        words[-1] = _SIDE_LETTERS[words[-1]]
    return " ".join(sorted(_stem(word) for word in words if word not in _FILLERS))


def _stem(word: str) -> str:
    for british, american in _SPELLINGS:
        if british in word:
            word = word.replace(british, american)
    if word in _SINGULARS:
        return _SINGULARS[word]
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word
