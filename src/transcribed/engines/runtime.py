"""onnxruntime sessions, configured for many concurrent streams on few cores."""

import onnxruntime as ort


def session(model: bytes | str, threads: int = 1) -> ort.InferenceSession:
    """Return a session for a model, given as its bytes or its path.

    By default it computes in the calling thread only: the scheduler runs one thread per core, with which
    onnxruntime's own threads would compete.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # A memory plan would be kept for every length of audio ever processed.
    options.enable_mem_pattern = False
    # Spinning threads occupy a core while they wait for the next call.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
