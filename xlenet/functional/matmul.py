"""The product of two matrices, or of pairs of them, in a place of its own.

On a GPU the libraries' own product cannot be recorded into a CUDA graph; a kernel in its place can.
"""

from __future__ import annotations

from ..backend import Array, into, namespace_of, swappable


@swappable
def matmul(a: Array, b: Array, *, out: Array | None = None) -> Array:
    """Return a @ b.

    Args:
        a: (M, K) or, for G products at once, (G, M, K), float32 or float64.
        b: (K, N) or (G, K, N), of the type of a.
        out: (M, N) or (G, M, N), where to write the result; None allocates.

    Example:
        >>> import numpy as np
        >>> matmul(np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]]))
        array([[11.]])
    """
    xp = namespace_of(a, b)
    return into(out, xp.matmul, a, b)
