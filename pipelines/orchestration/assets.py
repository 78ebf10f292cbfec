"""What Dagster sees of an entry: five assets in a chain, made by one factory from the catalog.

The bodies only call the stages. Paths and digests travel, voxels do not: there is no IO manager, and the data version
of an asset is the digest of its stage's manifest.
"""

# Dagster reads the annotations of an asset's function, so they are not postponed in this file.

import re
from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg
import pyarrow as pa

from medshard.pipelines.orchestration.asset_metadata import stage_metadata
from medshard.pipelines.orchestration.checks import Judged, check_results, check_specs
from medshard.pipelines.orchestration.resources import StoreResource
from medshard.pipelines.orchestration.stage_input import stage_input
from medshard.pipelines.stages.cases_table import COLUMNS
from medshard.pipelines.stages.stage import CODE_VERSIONS, STAGES, StageResult
from medshard.registry.catalog import Catalog
from medshard.registry.places import doi_address
from medshard.registry.schema import Entry
from medshard.registry.store.digests import sha256_json
from medshard.registry.store.leases import hold_lease

EXCLUDED_LOGGED = 20
NOT_IN_A_TAG = re.compile(r"[^A-Za-z0-9_.-]+")
TAG_LENGTH = 63

VERBS: Mapping[str, str] = {
    "raw": "Download: acquire the sources, compare them with the digests of the catalog, keep archive and files.",
    "cases": "Validate: find the cases, read headers and annotations, judge the inclusion criteria.",
    "volumes": "Convert: every case to canonical Zarr with the original integers and the exact affine.",
    "fingerprint": "Fingerprint: spacings, shapes, intensities and class sizes; freeze the plans that follow.",
    "shards": "Resample and shard: every volume on the grid of the plan, packed into shards with an index.",
}
KINDS: Mapping[str, set[str]] = {
    "raw": {"python", "file"},
    "cases": {"python", "parquet"},
    "volumes": {"python", "zarr"},
    "fingerprint": {"python", "json"},
    "shards": {"python", "zarr"},
}


def entry_assets(entry: Entry, catalog: Catalog) -> list[dg.AssetsDefinition]:
    """The assets of one entry, in the order of the chain; one `shards` asset for each plan that it declares."""
    assets = [_stage_asset(entry, catalog, stage) for stage in STAGES if stage != "shards"]
    return [*assets, *(_stage_asset(entry, catalog, "shards", plan) for plan in entry.plans)]


def invalid_asset(key: dg.AssetKey, message: str, *, group: str) -> dg.AssetsDefinition:
    """An asset that stands for a catalog entry or recipe that is not valid: it shows the message and fails with it."""
    out = dg.AssetOut(
        key=key,
        group_name=group,
        kinds={"invalid"},
        tags={"invalid": ""},
        description=f"Not valid; nothing can be built from it.\n\n```\n{message}\n```",
    )

    # Named by a digest: an invalid id may be no name for Dagster, or become that of another asset when it is made one.
    @dg.multi_asset(name=f"invalid_{sha256_json(key.path)[:16]}", outs={"nothing": out})
    def refuse() -> None:
        raise dg.Failure(description=message, allow_retries=False)

    return refuse


def stage_key(entry_id: str, stage: str, plan: str | None = None) -> dg.AssetKey:
    return dg.AssetKey([entry_id, stage, plan] if plan is not None else [entry_id, stage])


def group_of(name: str) -> str:
    """A Dagster group name: letters, digits and underscores."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", name)


def tag_value(text: str) -> str:
    """Text as a tag may hold it: letters, digits, `_`, `.` and `-`, at most 63 of them."""
    return NOT_IN_A_TAG.sub("-", text).lstrip("-._")[:TAG_LENGTH].rstrip("-._")


def _stage_asset(entry: Entry, catalog: Catalog, stage: str, plan: str | None = None) -> dg.AssetsDefinition:
    key = stage_key(entry.id, stage, plan)
    number = STAGES.index(stage)

    @dg.asset(
        key=key,
        deps=[stage_key(entry.id, STAGES[number - 1])] if number else [],
        group_name=group_of(entry.id),
        code_version=CODE_VERSIONS[stage],
        check_specs=check_specs(stage, entry, key),
        description=_description(entry, stage, plan),
        metadata=_definition_metadata(entry, catalog, stage),
        tags=_tags(entry, stage),
        kinds=KINDS[stage],
        owners=_owners(entry.owners),
    )
    def build(context: dg.AssetExecutionContext, store: StoreResource) -> dg.MaterializeResult:  # type: ignore[type-arg] # Dagster does not know the parametrised form
        from medshard.pipelines.build import build_stage  # noqa: PLC0415 - the readers and codecs take seconds to import

        work = store.context(entry, catalog)
        with hold_lease(work.store, entry.id):
            work.store.sweep_scratch()
            before = stage_input(work, stage, plan)
            result = build_stage(work, stage, plan=plan or "default", before=before)
            _log_excluded(context, result)
            return dg.MaterializeResult(
                data_version=dg.DataVersion(result.head.data_version),
                metadata=stage_metadata(work, result),
                check_results=check_results(Judged(context=work, result=result, before=before), key),
            )

    return build


def _log_excluded(context: dg.AssetExecutionContext, result: StageResult) -> None:
    for record in result.excluded[:EXCLUDED_LOGGED]:
        context.log.warning("excluded: %s", (record.error or {}).get("text", record.case))
    if len(result.excluded) > EXCLUDED_LOGGED:
        context.log.warning(
            "%d more cases are excluded; the manifest names them", len(result.excluded) - EXCLUDED_LOGGED
        )


def _description(entry: Entry, stage: str, plan: str | None) -> str:
    of_plan = f" Plan `{plan}`." if plan is not None else ""
    home = f" · [home page]({entry.homepage})" if entry.homepage else ""
    licence = entry.licence
    access = (
        f"\n\nAccess **{entry.access.kind.value}**: {entry.access.instructions}" if entry.access.instructions else ""
    )
    doubts = "".join(f"\n- {doubt}" for doubt in entry.doubts)
    return (
        f"{VERBS[stage]}{of_plan}\n\n### {entry.title}\n\n{entry.description}\n\n"
        f"Licence **{licence.id}**: commercial use {licence.commercial_use.value}, "
        f"redistribution {licence.redistribution.value}. Version {entry.version}{home}{access}"
        + (f"\n\nDoubts:\n{doubts}" if doubts and stage == "raw" else "")
    )


def _definition_metadata(entry: Entry, catalog: Catalog, stage: str) -> dict[str, Any]:
    """What is known before anything was built. The UI shows the standard keys in an asset's overview only from here."""
    origin = catalog.origins[entry.id]
    metadata: dict[str, Any] = {
        "defined_at": f"{origin.file.name}:{origin.line}",
        "version": entry.version,
        "licence": entry.licence.id,
        "commercial_use": entry.licence.commercial_use.value,
        "redistribution": entry.licence.redistribution.value,
        "access": entry.access.kind.value,
        "maturity": entry.maturity.value,
    }
    if entry.homepage:
        metadata["homepage"] = dg.MetadataValue.url(entry.homepage)
    if entry.citation and entry.citation.doi:
        metadata["doi"] = dg.MetadataValue.url(doi_address(entry.citation.doi))
    if stage == "cases":
        metadata["dagster/table_name"] = f"{entry.id}.cases"
        metadata["dagster/column_schema"] = _column_schema(COLUMNS)
    return metadata


def _column_schema(schema: pa.Schema) -> dg.TableSchema:
    return dg.TableSchema(columns=[dg.TableColumn(name=field.name, type=str(field.type)) for field in schema])


def _tags(entry: Entry, stage: str) -> dict[str, str]:
    """One value: `access=open`. Several values: a tag for each, such as `modality/CT`, so that any of them is found."""
    single = {
        "stage": stage,
        "access": entry.access.kind.value,
        "licence": tag_value(entry.licence.id),
        "maturity": entry.maturity.value,
    }
    return {
        **single,
        **_tag_each("modality", entry.modalities),
        **_tag_each("group", entry.groups),
        **_tag_each("region", entry.regions),
        **_tag_each("task", entry.tasks),
    }


def _tag_each(name: str, values: Iterable[str]) -> dict[str, str]:
    return {f"{name}/{tag_value(str(value))}": "" for value in values}


def _owners(owners: Iterable[str]) -> list[str]:
    """Dagster wants an e-mail address or the name of a team."""
    return [owner if "@" in owner else f"team:{group_of(owner)}" for owner in owners]
