"""Models and arrays that come from other libraries, or go to them.

Layers and losses take arrays of PyTorch, JAX and whoever else speaks DLPack as they are; `borrow` and `give_back` are
for functions that want arrays of NumPy or CuPy.
"""

from ..backend import borrow, give_back

__all__ = ["borrow", "give_back"]
