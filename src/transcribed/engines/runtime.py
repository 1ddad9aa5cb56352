"""onnxruntime as this house uses it."""

import onnxruntime as ort


def one_thread_session(model: bytes | str) -> ort.InferenceSession:
    """A session over a model's bytes or path that computes in the calling thread.

    The scheduler has a thread for each core. Threads of onnxruntime's own would only compete with them.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
