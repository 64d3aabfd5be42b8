"""Networks that go to other programs, and come from them.

Nothing optional is imported before it is needed.
"""

from .onnx_export import export_onnx
from .onnx_import import OnnxModel, import_onnx

__all__ = ["OnnxModel", "export_onnx", "import_onnx"]
