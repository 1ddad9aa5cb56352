"""Speech recognition engines behind the common contract of `base`."""

import os

# onnxruntime sends telemetry over the network unless this is set before it is imported. Only this package
# imports it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
