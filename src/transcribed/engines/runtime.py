"""onnxruntime as this house uses it."""

import onnxruntime as ort


def session(model: bytes | str, threads: int = 1) -> ort.InferenceSession:
    """A session over a model's bytes or path; by default it computes in the calling thread alone.

    The scheduler has a thread for each core. Threads of onnxruntime's own mostly compete with them.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # Else a plan of the memory is kept for every length of audio that was ever seen.
    options.enable_mem_pattern = False
    # Else they burn a core while they wait for the next call.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
