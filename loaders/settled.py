"""Imported last by the forkserver of `worker_context`: the garbage collector leaves alone what is in memory by then.

A collection writes into every object that it looks at, and each worker would get a copy of the page that it lies in.
"""

from __future__ import annotations

import gc

gc.collect()
gc.freeze()
