"""Recognisers, each behind the one contract of `base`."""

import os

# Unless told before it is imported, onnxruntime reports to its makers over the network; nothing here does.
# It is imported in this package alone, so that this stands before every import of it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
