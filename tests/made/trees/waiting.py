"""Trees that are right and do not pass yet: what medshard does not read of them.

The tests expect each to fail and say so when it no longer does; its entry is `layout-tested` then.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

WAITING: Mapping[str, str] = MappingProxyType({})
