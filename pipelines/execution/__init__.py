"""One function over many cases: in this process, in child processes, or on a Dask cluster."""
