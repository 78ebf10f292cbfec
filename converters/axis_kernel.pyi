# Products of a CSR matrix (n_out, n_in) and C-contiguous float32 arrays; indptr and indices are int32. ValueError where
# sizes do not fit.
from typing import Any, TypeAlias

from numpy.typing import NDArray

_Array: TypeAlias = NDArray[Any]

# Source (n_in, m) -> out (n_out, m).
def product_columns(
    indptr: _Array, indices: _Array, weights: _Array, n_in: int, source: _Array, out: _Array, /
) -> None: ...

# Source (m, n_in) -> out (m, n_out).
def product_rows(
    indptr: _Array, indices: _Array, weights: _Array, n_in: int, source: _Array, out: _Array, /
) -> None: ...
