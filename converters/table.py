"""A table or a collection of texts as a stream of record batches, so that it may be larger than memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from medshard.converters.array_types import AttributeValue


@dataclass(frozen=True, kw_only=True)
class Table:
    """batches: makes a new pass over the rows each time it is called. Every batch has `schema`.

    attributes: what the source states of the whole, free of anything that could name a person.
    warnings: one sentence each.
    """

    schema: pa.Schema
    batches: Callable[[], Iterator[pa.RecordBatch]]
    format: str
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def read(self) -> pa.Table:
        """All rows in memory."""
        return pa.Table.from_batches(self.batches(), self.schema)


def table_of(whole: pa.Table, format_name: str, *warnings: str) -> Table:
    """A table that is in memory already."""
    return Table(schema=whole.schema, batches=lambda: iter(whole.to_batches()), format=format_name, warnings=warnings)
