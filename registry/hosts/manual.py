"""Kind `manual`."""

from __future__ import annotations

from typing import Literal

from medshard.registry.hosts.host import Host, RemoteSource
from medshard.registry.schema.model import Text


class ManualSource(RemoteSource):
    """What only a person can fetch: a form, a login page, a letter. `instructions` says how."""

    kind: Literal["manual"]
    instructions: Text


def _place(source: ManualSource) -> str:  # noqa: ARG001 (the interface of all hosts)
    return "by hand"


HOST = Host(source=ManualSource, place=_place, by_hand=True)
