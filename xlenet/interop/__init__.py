"""Models and arrays that come from other libraries, or go to them.

Layers and losses take arrays of PyTorch, JAX and whoever else speaks DLPack as they are; `borrow` and `give_back` are
for functions that want arrays of NumPy or CuPy. `export_onnx` and `import_onnx` are for networks; the package onnx is
imported when one of them is called.
"""

from ..backend import borrow, give_back
from .onnx_export import export_onnx
from .onnx_import import OnnxModel, import_onnx

__all__ = ["OnnxModel", "borrow", "export_onnx", "give_back", "import_onnx"]
