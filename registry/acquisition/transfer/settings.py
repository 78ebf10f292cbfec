"""How patient and how greedy transfers are, and where institutional proxies stand in for the hosts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from medshard.errors import AcquisitionError

MIRRORS_VARIABLE = "MEDSHARD_MIRRORS"
CONNECTIONS_VARIABLE = "MEDSHARD_CONNECTIONS"
MOST_CONNECTIONS = 16


@dataclass(frozen=True, kw_only=True)
class TransferSettings:
    """Seconds where a name ends in `_s`.

    piece_bytes: what one request of a large file asks for at least. A further connection for its pieces is opened after
    `ramp_s`, if less than `fast_bytes_per_s` comes over those that are there: more would only press the host. stall_s:
    without a byte for so long, a connection is given up; likewise when fewer than `slowest_bytes_per_s` came over
    `slow_window_s`. attempts: in a row without any progress. longest_wait_s: a server that asks for a longer pause ends
    the download. mirrors: address prefix -> prefix that is asked instead.
    """

    connections_per_host: int = 4
    piece_bytes: int = 32 << 20
    ramp_s: float = 0.5
    fast_bytes_per_s: int = 64 << 20
    stall_s: float = 60.0
    slowest_bytes_per_s: int = 1024
    slow_window_s: float = 60.0
    attempts: int = 8
    first_delay_s: float = 0.5
    longest_delay_s: float = 60.0
    longest_wait_s: float = 3600.0
    mirrors: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> TransferSettings:
        """MEDSHARD_MIRRORS (`https://host=http://proxy/host`, separated by spaces) and MEDSHARD_CONNECTIONS.

        Raises AcquisitionError[settings.mirrors, settings.connections].
        """
        return cls(mirrors=_mirrors(environment), connections_per_host=_connections(environment))


def _mirrors(environment: Mapping[str, str]) -> Mapping[str, str]:
    mirrors = {}
    for pair in environment.get(MIRRORS_VARIABLE, "").split():
        asked, _, instead = pair.partition("=")
        if not all(prefix.startswith(("https://", "http://")) for prefix in (asked, instead)):
            raise AcquisitionError(
                "settings.mirrors",
                where=MIRRORS_VARIABLE,
                problem="a mirror is not a pair of web addresses",
                details={"expected": "https://host=https://mirror/path", "found": f"a pair that begins {asked[:60]!r}"},
                action="Separate pairs with spaces, and the two addresses of a pair with one `=`.",
            )
        mirrors[asked] = instead
    return MappingProxyType(mirrors)


def _connections(environment: Mapping[str, str]) -> int:
    text = environment.get(CONNECTIONS_VARIABLE, "").strip()
    if not text:
        return TransferSettings.connections_per_host
    if text.isdecimal() and 1 <= int(text) <= MOST_CONNECTIONS:
        return int(text)
    raise AcquisitionError(
        "settings.connections",
        where=CONNECTIONS_VARIABLE,
        problem="not a number of connections that a host may be asked for at once",
        details={"expected": f"1 to {MOST_CONNECTIONS}", "found": text[:60]},
    )
