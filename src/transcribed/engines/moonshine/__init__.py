"""Moonshine tiny-en on onnxruntime: the embedded engine, and the default."""
