"""The backend tests that come with the `onnx` package, run against these layers."""
