"""How a `DataLoader` starts its workers so that they share memory and start quickly."""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import BaseContext

PRELOADED = ("__main__", "torch", "torch.utils.data", "medshard.loaders.dataset")
# Last: what was imported before it stays as it is.
SETTLED = "medshard.loaders.settled"


def worker_context(*, preload: tuple[str, ...] = ()) -> BaseContext:
    """A forkserver whose workers share what they import with each other, for `multiprocessing_context=`.

    The server imports torch and the data set once, and every worker is forked from it: a worker neither imports them
    itself, which takes seconds and some hundred megabytes, nor inherits threads of the training process.
    preload: further modules of yours that workers need; the main module is among them. It has to be given before the
    first process of a forkserver starts. Where the platform has no forkserver, processes are spawned.

        DataLoader(dataset, num_workers=4, multiprocessing_context=worker_context())
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, *preload, SETTLED])
    return context
