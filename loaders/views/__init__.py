"""Kinds of items: what is read of a case, and how it is laid out."""

from medshard.loaders.views.cases import CaseView, PairView
from medshard.loaders.views.crops import CropsView, overlaps
from medshard.loaders.views.slices import ClipView, SliceView, TilesView
from medshard.loaders.views.view import View
from medshard.loaders.views.volumes import WholeView, WindowView

__all__ = [
    "CaseView",
    "ClipView",
    "CropsView",
    "PairView",
    "SliceView",
    "TilesView",
    "View",
    "WholeView",
    "WindowView",
    "overlaps",
]
