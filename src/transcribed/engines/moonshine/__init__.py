"""Moonshine models on onnxruntime: the embedded engine, which is the default."""
