"""An entry as a Croissant 1.1 record."""

from medshard.registry.croissant.document import croissant

__all__ = ["croissant"]
