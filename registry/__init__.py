"""What is known of the data sets, and what is kept of them."""

from medshard.registry.catalog import Catalog
from medshard.registry.schema import Entry

__all__ = ["Catalog", "Entry"]
