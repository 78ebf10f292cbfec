"""The catalog as a web site that needs no server: a searchable index and one page per entry."""

from medshard.registry.site.build import build_site

__all__ = ["build_site"]
