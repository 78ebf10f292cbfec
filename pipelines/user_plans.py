"""Plans that a user keeps beside those of the catalog, in YAML files that MEDSHARD_PLANS names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from medshard.converters.plan_declaration import checked_declaration
from medshard.errors import CatalogError
from medshard.registry.schema import Entry
from medshard.registry.schema.model import Name
from medshard.registry.schema.plans import PlanDeclaration
from medshard.registry.yaml_lines import YamlDocument, read_yaml

PLANS_VARIABLE = "MEDSHARD_PLANS"

_NAME: TypeAdapter[str] = TypeAdapter(Name)


def plans_of(entry: Entry) -> Mapping[str, PlanDeclaration]:
    """The plans of an entry, and after them those of the user: name -> declaration.

    Raises CatalogError[plan.name_taken] where a file has a plan of a name that the entry has too, and what
    `user_plans` raises.
    """
    own, beside = entry.plans, user_plans()
    if taken := sorted(own.keys() & beside.keys()):
        raise CatalogError(
            "plan.name_taken",
            where=f"{entry.id} plans.{taken[0]}",
            problem="the entry and a file of plans both have a plan of this name",
            details={"the entry has": ", ".join(own), PLANS_VARIABLE: os.environ.get(PLANS_VARIABLE)},
            action="Give the plan of the file another name.",
        )
    return {**own, **beside}


def user_plans(files: str | None = None) -> dict[str, PlanDeclaration]:
    """The plans of the files that MEDSHARD_PLANS names, separated as PATH is.

    Raises CatalogError[plan.file] for a file that is missing or no mapping of names to plans, [plan.name_taken] for a
    name that two files have, and those of `checked_declaration`, with file and line.
    """
    listed = os.environ.get(PLANS_VARIABLE, "") if files is None else files
    plans: dict[str, PlanDeclaration] = {}
    for path in (Path(part) for part in listed.split(os.pathsep) if part):
        for name, declaration in read_plan_file(path).items():
            if name in plans:
                raise _faulty(path, 1, f"another file has a plan called {name} as well", "plan.name_taken")
            plans[name] = declaration
    return plans


def read_plan_file(path: Path) -> dict[str, PlanDeclaration]:
    """name -> declaration, as under `plans` of an entry. Raises as `user_plans` does."""
    try:
        document = read_yaml(path)
    except (OSError, UnicodeDecodeError) as error:
        raise _faulty(path, 1, f"the file cannot be read: {error}") from error
    if document.problems:
        raise _faulty(path, document.problems[0].line, document.problems[0].message)
    if not isinstance(document.data, dict) or not document.data:
        raise _faulty(path, 1, "a file of plans has names of plans, with the fields of each below it")
    return {str(name): _declaration(document, path, name, said) for name, said in document.data.items()}


def _declaration(document: YamlDocument, path: Path, name: Any, said: Any) -> PlanDeclaration:
    line = document.line_of((name,))
    try:
        _NAME.validate_python(name, strict=True)
    except ValidationError as error:
        raise _faulty(path, line, f"{name!r} is no name for a plan: letters, digits and _ only") from error
    if not isinstance(said, dict):
        raise _faulty(path, line, f"the plan {name} needs fields below it, such as `kind: native`")
    return PlanDeclaration.model_validate(checked_declaration(said, f"{path}:{line} {name}"))


def _faulty(path: Path, line: int, problem: str, code: str = "plan.file") -> CatalogError:
    return CatalogError(
        code, where=f"{path}:{line}", problem=problem, action=f"Correct the file, or take it out of {PLANS_VARIABLE}."
    )
