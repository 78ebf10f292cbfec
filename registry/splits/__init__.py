"""Splits: frozen tables made on the connected components of the leakage graph.

Two cases are joined when they are of one patient, and two patients when an entry declares that they are the same
person (`overlaps`) or when they have an image of the same voxels. A component lies on one side of a split as a whole,
so nothing that touches a test patient can be trained on.
"""

from medshard.registry.splits.checking import Leak, find_leaks
from medshard.registry.splits.graph import (
    LeakageGraph,
    Link,
    Patient,
    SplitCase,
    check_overlaps,
    components,
    leakage_graph,
)
from medshard.registry.splits.making import STRATA, SplitRules, make_split
from medshard.registry.splits.named import (
    NamedSplit,
    find_table,
    load_split,
    read_named,
    read_split,
    save_split,
    split_names,
)
from medshard.registry.splits.shipped import as_shipped, make_shipped_split, shipped_leaks
from medshard.registry.splits.table import (
    FORMAT_VERSION,
    PARTS,
    SUFFIX,
    LeftOutCase,
    Making,
    Part,
    Split,
    SplitRow,
    check_no_leak,
    part_in_fold,
)
from medshard.registry.splits.ties import Tie, find_ties

__all__ = [
    "FORMAT_VERSION",
    "PARTS",
    "STRATA",
    "SUFFIX",
    "Leak",
    "LeakageGraph",
    "LeftOutCase",
    "Link",
    "Making",
    "NamedSplit",
    "Part",
    "Patient",
    "Split",
    "SplitCase",
    "SplitRow",
    "SplitRules",
    "Tie",
    "as_shipped",
    "check_no_leak",
    "check_overlaps",
    "components",
    "find_leaks",
    "find_table",
    "find_ties",
    "leakage_graph",
    "load_split",
    "make_shipped_split",
    "make_split",
    "part_in_fold",
    "read_named",
    "read_split",
    "save_split",
    "shipped_leaks",
    "split_names",
]
