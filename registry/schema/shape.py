"""Which model of the schema stands at which field: for the formatter, and for saying what a field may be called."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import lru_cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel


def model_of(shape: Any, value: Any) -> type[BaseModel] | None:
    """The model that a mapping is written in; of a union, the one that has the most of its fields."""
    candidates = list(alternatives(shape))
    models = [kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel)]
    if not models or not isinstance(value, Mapping):
        return None
    stated = [model for model in models if _kind_of(model) == value.get("kind") is not None]
    return (stated or sorted(models, key=lambda model: -len(set(value) & set(model.model_fields))))[0]


@lru_cache(maxsize=256)
def field_order(model: type[BaseModel]) -> dict[str, int]:
    """Field -> place in a file. Where `kind` tells models apart, it and the fields of that kind come first."""
    names = list(model.model_fields)
    if _kind_of(model) is not None:
        nearest_first = (name for kind in model.__mro__ for name in vars(kind).get("__annotations__", ()))
        names = ["kind", *(name for name in nearest_first if name in model.model_fields)]
    return {name: number for number, name in enumerate(dict.fromkeys(names))}


def _kind_of(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("kind")
    words = get_args(field.annotation) if field else ()
    return words[0] if len(words) == 1 else None


def item_shape(shape: Any) -> Any:
    """What the items of a list are."""
    return next((get_args(kind)[0] for kind in alternatives(shape) if get_origin(kind) in {tuple, list}), None)


def value_shape(shape: Any, name: Any, value: Mapping[Any, Any]) -> Any:
    """What stands under a key: a field of the model, or the value of a plain dictionary."""
    model = model_of(shape, value)
    if model is not None:
        return model.model_fields[name].annotation if name in model.model_fields else None
    return next((get_args(kind)[1] for kind in alternatives(shape) if get_origin(kind) is dict), None)


@lru_cache(maxsize=1024)
def alternatives(shape: Hashable) -> tuple[Any, ...]:
    """The sides of a union, with `Annotated` taken off."""
    if get_origin(shape) is Annotated:
        return alternatives(get_args(shape)[0])
    if get_origin(shape) in {Union, UnionType}:
        return tuple(side for part in get_args(shape) for side in alternatives(part))
    return (shape,)
