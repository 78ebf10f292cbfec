"""Kind `grand-challenge`."""

from __future__ import annotations

from typing import Literal

from medshard.registry.hosts.host import Host, RemoteSource
from medshard.registry.schema.model import Text


class GrandChallengeSource(RemoteSource):
    kind: Literal["grand-challenge"]
    challenge: Text


def _place(source: GrandChallengeSource) -> str:
    return f"Grand Challenge {source.challenge}"


def _page(source: GrandChallengeSource) -> str:
    return f"https://{source.challenge}.grand-challenge.org/"


HOST = Host(source=GrandChallengeSource, place=_place, page=_page, by_hand=True)
