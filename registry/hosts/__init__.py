"""Hosts: where the bytes of an entry come from. One module per kind, found by its name."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

from medshard.registry.hosts.host import Host

_NOT_HOSTS = {"host", "selection", "source"}


def _found() -> dict[str, Host[Any]]:
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in _NOT_HOSTS)
    return {name.replace("_", "-"): import_module(f"{__name__}.{name}").HOST for name in names}


HOSTS: Mapping[str, Host[Any]] = MappingProxyType(_found())


def host_of(kind: str) -> Host[Any]:
    return HOSTS[kind]


__all__ = ["HOSTS", "Host", "host_of"]
