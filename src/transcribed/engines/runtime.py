"""onnxruntime sessions, configured for many concurrent streams on few cores."""

from functools import cache
from pathlib import Path
from threading import Lock

import onnxruntime as ort

_PROCESSORS = Path("/proc/cpuinfo")
_DOT_PRODUCTS = {"avx512_vnni", "avx_vnni"}
"""The names that Linux has for instructions that multiply unsigned by signed bytes and add the products."""
_SHARING = Lock()


def prefers_signed_weights(processors: Path = _PROCESSORS) -> bool:
    """Return whether products with 8-bit weights take half as long on this processor if they are signed.

    onnxruntime uses instructions for dot products of bytes where activations are unsigned and weights are
    signed. On processors without them, it is slower with signed weights, or sums overflow. Where this is
    unknown, as on other systems than Linux, the answer is False.
    """
    try:
        described = processors.read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    flags = (line for line in described.splitlines() if line.startswith("flags"))
    return not _DOT_PRODUCTS.isdisjoint(next(flags, "").split())


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
    with _SHARING:  # Models are loaded in several threads, and the arena is made once.
        _share_memory()
    options.add_session_config_entry("session.use_env_allocators", "1")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@cache
def _share_memory() -> None:
    """Let all sessions take memory from one arena, which grows by what is requested.

    Each session would otherwise keep an arena of its own, twice as large as its largest request. With the
    embedded engine, the server's memory grows half as much while it recognises a recording.
    """
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    arena = {"max_mem": 0, "arena_extend_strategy": 1}
    arena |= {"initial_chunk_size_bytes": -1, "max_dead_bytes_per_chunk": -1}
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg(arena))
