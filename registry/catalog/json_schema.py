"""The catalog's schema as JSON Schema, so that editors complete and underline catalog files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from medshard.registry.catalog.reading import FORMAT_VERSION
from medshard.registry.concepts import Concept, Vocabulary, load_concepts
from medshard.registry.schema import Entry

SCHEMA_FILE = Path(__file__).parents[2] / "catalog.schema.json"


class CatalogDocument(BaseModel):
    """A catalog file: the public one, or a lab's own that MEDSHARD_CATALOG adds."""

    model_config = ConfigDict(extra="forbid")

    format_version: int
    concepts: list[Concept] = []
    entries: list[Entry]


def catalog_schema(vocabulary: Vocabulary | None = None) -> dict[str, Any]:
    """JSON Schema (2020-12) of a catalog file. Concepts are offered by name; overlays may use others of their own."""
    schema = CatalogDocument.model_json_schema()
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "medshard catalog", **schema}
    definitions = schema["$defs"]
    names = sorted((vocabulary or load_concepts()).concepts)
    definitions["ConceptName"] = {"anyOf": [{"enum": names}, {"type": "string"}]}
    reference = {"$ref": "#/$defs/ConceptName"}
    for name, definition in definitions.items():
        fields = definition.get("properties", {})
        for field in ("classes", "values"):
            if name not in ("SplitField", "SplitColumn") and fields.get(field, {}).get("type") == "object":
                fields[field]["additionalProperties"] = reference
        if "also" in fields:
            fields["also"]["additionalProperties"]["items"] = reference
        if "examined" in fields:
            fields["examined"]["anyOf"][0]["items"] = reference
        if name == "SoftMap":
            fields["concept"] = reference
        for field in fields.values():
            if "patternProperties" in field:
                field["additionalProperties"] = False
    schema["properties"]["format_version"] = {"const": FORMAT_VERSION}
    return schema


def schema_text() -> str:
    return json.dumps(catalog_schema(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
