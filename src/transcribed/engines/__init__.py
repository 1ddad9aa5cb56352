"""Recognisers, each behind the one contract of `base`."""

import os

# From 1.32 on, onnxruntime reports to its makers over the network as soon as it is imported; this server
# keeps to itself. Nothing above this package imports onnxruntime, so that this stands before all that do.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
