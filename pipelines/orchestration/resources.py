"""The one resource of the assets: where the store is and how cases are executed."""

from __future__ import annotations

import os

import dagster as dg
from pydantic import Field

from medshard.pipelines.execution.map_cases import Execution
from medshard.pipelines.stages.stage import Context
from medshard.registry.acquisition.gates.use import Use
from medshard.registry.acquisition.options import AcquisitionOptions
from medshard.registry.catalog import Catalog
from medshard.registry.schema import Entry
from medshard.registry.store.objects import Store

ROOT_VARIABLE = "MEDSHARD_ROOT"
WORKERS_VARIABLE = "MEDSHARD_WORKERS"
DASK_VARIABLE = "MEDSHARD_DASK_ADDRESS"


class StoreResource(dg.ConfigurableResource):  # type: ignore[type-arg] # only resources that wrap another object have one
    """A store and the execution of cases. It holds settings only and opens the store when an asset asks for it."""

    root: str = Field(default="data", description="The store: a folder or a file:// URL.")
    workers: int = Field(default=1, ge=1, description="Processes that the cases of one asset are spread over.")
    dask_address: str | None = Field(
        default=None, description="Dask scheduler, such as tcp://10.0.0.1:8786, that runs the cases instead."
    )

    use: str = Field(default="research", description="What the data are wanted for: research or commercial.")
    accept_licence: list[str] = Field(
        default=[], description="Ids of entries whose licence terms are accepted by starting the build."
    )
    discard_archives: bool = Field(default=False, description="Remove an archive once it is unpacked.")
    progress: bool = Field(default=False, description="Progress bars, where a person looks at the terminal.")

    @classmethod
    def from_environment(cls) -> StoreResource:
        """MEDSHARD_ROOT, _WORKERS, _DASK_ADDRESS, _USE and _ACCEPT_LICENCE, or `data`, all cores and no Dask."""
        acquisition = AcquisitionOptions.from_environment()
        return cls(
            root=os.environ.get(ROOT_VARIABLE, "data"),
            workers=int(os.environ.get(WORKERS_VARIABLE, os.cpu_count() or 1)),
            dask_address=os.environ.get(DASK_VARIABLE) or None,
            use=acquisition.use,
            accept_licence=sorted(acquisition.accept),
        )

    def open(self) -> Store:
        return Store.open(self.root)

    def context(self, entry: Entry, catalog: Catalog) -> Context:
        """What a stage of an entry needs."""
        execution = Execution(workers=self.workers, dask_address=self.dask_address)
        acquisition = AcquisitionOptions(
            use=Use(self.use), accept=frozenset(self.accept_licence), discard_archives=self.discard_archives
        )
        return Context(
            store=self.open(),
            catalog=catalog,
            entry=entry,
            execution=execution,
            progress=self.progress,
            acquisition=acquisition,
        )
