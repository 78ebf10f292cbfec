"""The commands about the catalog and files at hand, by what a person wants; `cli.py` has those that build and train."""

from medshard.commands.acquiring import attest, sources
from medshard.commands.adding import add
from medshard.commands.asking import audit_paper, labels, list_entries, overlaps, show
from medshard.commands.contributing import card, check, format_command, schema, site
from medshard.commands.converting import convert
from medshard.commands.exporting import export
from medshard.commands.planning import criteria, plan_capacity

CATALOG_COMMANDS = (
    list_entries,
    show,
    labels,
    overlaps,
    audit_paper,
    plan_capacity,
    criteria,
    sources,
    attest,
    convert,
    add,
    check,
    format_command,
    schema,
    card,
    export,
    site,
)

__all__ = ["CATALOG_COMMANDS"]
