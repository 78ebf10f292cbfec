"""An entry as Croissant 1.1: JSON-LD that data set search and loaders of other makers read.

https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html, with the RAI extension 1.0 and PROV-O. Nothing is
stated that the entry does not know.

A file without a known checksum. The specification lets a `FileObject` go without one, the validator does not (issue
813 of mlcommons/croissant), unless the file is contained in something. Such files are therefore contained in the file
set of their source, which a person fetches; their address stands in `url`. No checksum is ever made up.

How cases become record sets stands in `medshard.registry.croissant.records`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import quote

from medshard.registry.cards import examined_note, patients_rest_on
from medshard.registry.cards.licence_terms import OtherTerms, how_sure, licence_in_words, other_terms
from medshard.registry.catalog import Catalog
from medshard.registry.croissant.paths import ARCHIVES, UNKNOWN_ENCODING, encoding_of, glob_of, sentence, slug
from medshard.registry.croissant.records import Json, RecordSets
from medshard.registry.licences import UNKNOWN_LICENCE
from medshard.registry.places import doi_address, file_address, home_of, source_page, source_place
from medshard.registry.schema import Entry, FolderSource, PackageSource, PipSource, RemoteSource, Source
from medshard.registry.vocabulary import Access, OverlapKind, PatientBasis, Permission

CONFORMS_TO = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")
# Appendix 1 of the specification. schema.org is https here, as in mlcroissant and in all published examples.
CONTEXT: Json = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "odrl": "http://www.w3.org/ns/odrl/2/",
    "cc": "http://creativecommons.org/ns#",
    **{
        term: f"cr:{term}"
        for term in (
            *("annotation", "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "excludes"),
            *("extract", "field", "fileObject", "fileProperty", "fileSet", "format", "includes", "isArray"),
            *("isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "readLines", "recordSet"),
            *("references", "regex", "repeated", "replace", "samplingRate", "sdVersion", "separator", "source"),
            *("subField", "transform", "unArchive", "value"),
        )
    },
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
}

# The three questions of a licence in the words of Creative Commons' rights expression language.
ACTIONS = {
    "commercial_use": "cc:CommercialUse",
    "redistribution": "cc:Distribution",
    "derivatives": "cc:DerivativeWorks",
}
# An older entry that is wholly in this one, or wholly holds it, is what this one was made from. Shared cases alone may
# come from a third data set, so nothing is said of them but that the two are related.
DERIVING = frozenset({OverlapKind.SAME_CASES, OverlapKind.SUBSET_OF, OverlapKind.SUPERSET_OF})
RELATIONS = {OverlapKind.SUBSET_OF: "isPartOf", OverlapKind.SUPERSET_OF: "hasPart"}


def croissant(entry: Entry, catalog: Catalog) -> Json:
    """The entry as a Croissant document. The same entry gives the same document, key by key."""
    distribution = _distribution(entry)
    records = RecordSets.of(entry, catalog.vocabulary, distribution.holding)
    document: Json = {
        "@context": dict(CONTEXT),
        "@type": "sc:Dataset",
        "conformsTo": list(CONFORMS_TO),
        **_identity(entry),
        **_terms(entry, other_terms(entry, catalog)),
        **_responsible_use(entry),
        **_relations(entry, catalog),
        "distribution": [*distribution.nodes, *records.file_sets],
        "recordSet": records.nodes,
    }
    return {name: value for name, value in document.items() if value not in (None, [], "")}


def _identity(entry: Entry) -> Json:
    citation = entry.citation
    cited = [citation.text, doi_address(citation.doi) if citation.doi else ""] if citation else []
    words: list[str] = [*entry.modalities, *entry.regions, *entry.tasks, *entry.groups]
    words += [f"{dimension}-D" for dimension in entry.dimensions]
    return {
        "name": entry.title,
        "alternateName": [name for name in entry.all_names if name != entry.title],
        "identifier": entry.id,
        "description": entry.description,
        "url": home_of(entry),
        "citeAs": " ".join(part for part in cited if part),
        "datePublished": str(entry.year) if entry.year else None,
        "version": re.sub(r"^v(?=\d+(\.\d+){0,2}$)", "", entry.version),
        "keywords": list(dict.fromkeys([*map(str, words), *entry.concepts])),
    }


def _terms(entry: Entry, others: Iterable[OtherTerms]) -> Json:
    licence, access = entry.licence, entry.access
    answers = {question: getattr(licence, question) for question in ACTIONS}
    rules = {
        rule: [{"@type": f"odrl:{kind}", "odrl:action": {"@id": ACTIONS[question]}} for question in chosen]
        for rule, kind, permission in (
            ("odrl:permission", "Permission", Permission.ALLOWED),
            ("odrl:prohibition", "Prohibition", Permission.FORBIDDEN),
        )
        if (chosen := [question for question, answer in answers.items() if answer is permission])
    }
    said = [f"{question.replace('_', ' ')}: {answer}" for question, answer in answers.items()]
    sure = how_sure(licence)
    known = f"How sure the licence is: {sure}." if sure else ""
    elsewhere = [f"{terms.other.id} {terms.relation} {licence_in_words(terms.licence)}." for terms in others]
    conditions = f"{access.kind}: {access.instructions}" if access.instructions else str(access.kind)
    # Whether an account or an agreement costs anything, the entry does not know.
    free = {Access.OPEN: True, Access.UNAVAILABLE: False}.get(access.kind)
    return {
        "license": [_licence(part, entry) for part in _licence_parts(licence.id)],
        "usageInfo": {
            "@type": ["CreativeWork", "odrl:Offer"],
            "name": f"Terms of use: {licence.id}",
            "description": " ".join(
                text for text in (f"{'; '.join(said)}.", known, licence.note, licence.notice, *elsewhere) if text
            ),
            **rules,
        },
        "conditionsOfAccess": conditions if access.url is None else f"{conditions} {access.url}",
        **({} if free is None else {"isAccessibleForFree": free}),
    }


def _licence_parts(expression: str) -> tuple[str, ...]:
    """The licences that an SPDX expression names. Whether all bind or one may be chosen, `usageInfo` says."""
    words = re.sub("[()]", " ", expression).split()
    return tuple(dict.fromkeys(word for word in words if word not in {"AND", "OR", "WITH"}))


def _licence(name: str, entry: Entry) -> str | Json:
    if not name.startswith("LicenseRef-"):
        return f"https://spdx.org/licenses/{name}.html"
    said = [entry.licence.note or "Nobody states a licence." if name == UNKNOWN_LICENCE else entry.licence.note]
    page = {"url": entry.licence.url} if entry.licence.url else {}
    text = " ".join(part for part in said if part)
    return {"@type": "sc:CreativeWork", "name": name, **({"description": text} if text else {}), **page}


def _responsible_use(entry: Entry) -> Json:
    source = entry.source
    counts = [(source.cases, source.unit), (source.patients, "patients"), (source.labelled, "with annotations")]
    facts = ", ".join(f"{number:,} {word}" for number, word in counts if number is not None)
    hidden = [f"{part.name}: not released. {part.note}".strip() for part in entry.splits if not part.released]
    for word, number in (("released", source.released), ("labelled", source.labelled)):
        if number is not None and source.cases is not None and number < source.cases:
            hidden.append(f"{source.cases - number:,} of {source.cases:,} {source.unit} are not {word}.")
    defects = [
        f"{', '.join(defect.cases) or 'All cases'}: {defect.problem} ({defect.action})"
        for defect in entry.known_defects
    ]
    return {
        "rai:dataCollection": f"{', '.join(entry.modalities)}; {facts}." if facts else None,
        "rai:dataCollectionMissingData": " ".join(hidden),
        "rai:dataPreprocessingProtocol": [f"{made.description} ({made.source})." for made in entry.reencode],
        "rai:dataAnnotationProtocol": list(
            dict.fromkeys(
                f"{name}: {note}"
                for group in entry.cases
                for name, layer in {**group.labels, **group.annotations}.items()
                if (note := examined_note(layer))
            )
        ),
        "rai:dataUseCases": [str(task) for task in entry.tasks],
        "rai:dataLimitations": [*entry.doubts, *defects],
        "rai:personalSensitiveInformation": _persons(entry),
    }


def _persons(entry: Entry) -> str:
    persons = any(
        group.subject == "patient" and group.patients_rest_on is not PatientBasis.NOT_A_PATIENT for group in entry.cases
    )
    basis = patients_rest_on(entry)
    told = ["Health data of persons.", f"{basis}."] if persons else [f"No patients. {basis}."] if basis else []
    return " ".join(told)


def _relations(entry: Entry, catalog: Catalog) -> Json:
    """Overlaps with other entries; `prov:wasDerivedFrom` only where the order of the years says who came first."""
    found: dict[str, list[Json]] = {}
    for edge in catalog.overlaps.of_entry(entry.id):
        if edge.kind is OverlapKind.NONE_KNOWN:
            continue
        other = catalog.entries.get(edge.other)
        node: Json = {"@id": f"urn:medshard:entry:{edge.other}", "name": other.title if other else edge.other}
        relations = [RELATIONS.get(edge.kind, "dct:relation")]
        if edge.kind in DERIVING and other and other.year and entry.year and other.year < entry.year:
            relations.append("prov:wasDerivedFrom")
        for relation in relations:
            said = {"description": f"{edge.kind}: {edge.evidence}"} if relation == relations[0] else {}
            found.setdefault(relation, []).append({**node, **said})
    return found


@dataclass
class _Distribution:
    """The files of an entry.

    containers: per source, its folder in the raw tree and what its files are contained in. roots: the file sets of the
    sources themselves.
    """

    nodes: list[Json] = field(default_factory=list)
    containers: list[tuple[str, list[str]]] = field(default_factory=list)
    roots: set[str] = field(default_factory=set)

    def holding(self, path: str) -> tuple[list[str], str]:
        """What a path of the raw tree is contained in, and the path below that.

        Files that come as they are, in no archive, are contained in nothing: mlcroissant then reads them beside the
        document, where it would not look into the file set of their source.
        """
        into = [(folder, held) for folder, held in self.containers if folder and path.startswith(f"{folder}/")]
        chosen = into or [(folder, held) for folder, held in self.containers if not folder]
        below = path.removeprefix(f"{into[0][0]}/") if into else path
        names = dict.fromkeys(name for _, held in chosen for name in held)
        return list(names) if set(names) - self.roots else [], below


def _distribution(entry: Entry) -> _Distribution:
    made = _Distribution()
    taken: set[str] = set()
    for number, source in enumerate(entry.acquisition, start=1):
        root = slug(f"source-{number}-{source.kind}", taken)
        made.roots.add(root)
        held: list[str] = []
        nodes: list[Json] = []
        loose: list[str] = []
        for known in _known_files(source):
            node = known.node(slug(known.name, taken), root)
            nodes.append(node)
            archive = bool(ARCHIVES & set(node["encodingFormat"]))
            if archive:
                held.append(node["@id"])
            if not archive or "containedIn" in node:
                loose.append(known.name)
        if loose or not nodes:
            patterns = [glob_of(name)[0] for name in loose] or [*getattr(source, "include", ("*",))]
            made.nodes.append(_root_set(root, source, patterns, entry))
        if not held or len(held) < len(nodes):
            held.append(root)
        made.nodes += nodes
        made.containers.append((source.into.strip("/"), held))
    return made


def _root_set(root: str, source: Source, patterns: list[str], entry: Entry) -> Json:
    page = source_page(source)
    words = [source_place(source), getattr(source, "instructions", ""), _told_of(source)]
    formats = [encoding for pattern in patterns for encoding in encoding_of(pattern)]
    if set(formats) <= set(UNKNOWN_ENCODING):
        formats = [encoding for known in entry.source.formats for encoding in encoding_of(f"x.{known}")]
    return {
        "@type": "cr:FileSet",
        "@id": root,
        "name": root,
        "description": " ".join(sentence(text) for text in words if text),
        **({"url": page} if page else {}),
        "encodingFormat": list(dict.fromkeys(formats or UNKNOWN_ENCODING)),
        "includes": patterns,
    }


def _told_of(source: Source) -> str:
    if not isinstance(source, RemoteSource):
        return ""
    told = [sentence(source.note)] if source.note else []
    told += [f"One of several places of the same content, `{source.part}`."] if source.part else []
    told += ["Taken only on request."] if source.optional else []
    return " ".join(told)


@dataclass(frozen=True, kw_only=True)
class _KnownFile:
    name: str
    address: str | None = None
    size: int | None = None
    checksum: str | None = None
    note: str = ""

    def node(self, identifier: str, root: str) -> Json:
        algorithm, _, digest = (self.checksum or "").partition(":")
        verified = {algorithm: digest} if algorithm in {"md5", "sha256"} else {}
        # Croissant has no SHA-1, so it can only be told, not checked.
        told = [f"SHA-1 as stated by the source: {digest}."] if algorithm == "sha1" else []
        told += [] if verified else ["The source's MD5 or SHA-256 is not known."]
        told = [*([sentence(self.note)] if self.note else []), *told]
        standing = bool(verified and self.address)
        return {
            "@type": "cr:FileObject",
            "@id": identifier,
            "name": self.name,
            **({"description": " ".join(told)} if told else {}),
            "contentUrl": self.address if standing else self.name,
            **({} if standing else {"containedIn": {"@id": root}}),
            **({"url": self.address} if self.address and not standing else {}),
            **({"contentSize": f"{self.size} B"} if self.size else {}),
            "encodingFormat": encoding_of(self.name),
            **verified,
        }


def _known_files(source: Source) -> Iterator[_KnownFile]:
    """The files that an entry names. Those of packages have a package URL as their address, which names no host."""
    if isinstance(source, RemoteSource):
        for file in source.files:
            yield _KnownFile(
                name=file.name,
                address=file_address(source, file),
                size=file.size,
                checksum=file.checksum,
                note=_told_of(source),
            )
    elif isinstance(source, PipSource):
        ending = ".tar.gz" if source.form == "sdist" else ".whl"
        yield _KnownFile(
            name=f"{source.package}-{source.version}{ending}",
            address=f"pkg:pypi/{source.package}@{source.version}",
            checksum=f"sha256:{source.sha256}",
            note=source_place(source),
        )
    elif isinstance(source, PackageSource):
        release = f"{source.package}@{source.version}" if source.version else source.package
        for name, digest in sorted(source.files.items()):
            yield _KnownFile(name=name, address=f"pkg:pypi/{release}#{quote(name)}", checksum=f"sha256:{digest}")
    else:
        for name, digest in sorted(source.files.items()):
            yield _KnownFile(name=name, address=_below(source, name), checksum=f"sha256:{digest}")


def _below(source: FolderSource, name: str) -> str | None:
    """Relative to the catalog's file; a folder elsewhere on somebody's machine is nobody else's business."""
    return None if source.path.startswith(("/", "~")) else f"{source.path.rstrip('/')}/{name}"
