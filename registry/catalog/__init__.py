"""The catalog: its files, what is checked in them, how they are laid out, and the questions that they answer."""

from medshard.registry.catalog.catalog import (
    OVERLAYS_VARIABLE,
    PUBLIC_CATALOG,
    Catalog,
    Origin,
    catalog_files,
)

__all__ = ["OVERLAYS_VARIABLE", "PUBLIC_CATALOG", "Catalog", "Origin", "catalog_files"]
