"""The sandbox of a decoding process: limited memory and CPU time, and no files or sockets but those given.

Each function restricts the calling process irrevocably. A restriction that the system does not support is
skipped (only Linux has seccomp).
"""

import ctypes
import errno
import os
import resource
import signal
import sys
import tempfile
from pathlib import Path

try:
    import pyseccomp as seccomp
except (ImportError, RuntimeError):  # pragma: no cover - not Linux, or a system without libseccomp
    seccomp = None

CPU_SECONDS = 5
"""CPU time until the first block of audio, and from one block to the next."""

_DESCRIPTORS = 16
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_SECCOMP_MODE_FILTER = 2
_INSTRUCTION_BYTES = 8
# The system calls needed to read given files, compute, allocate and exit. None of them opens a file,
# connects, forks or affects another process, except tgkill, with which a process aborts itself.
_ALLOWED = (
    "read", "readv", "pread64", "preadv", "write", "writev", "lseek", "_llseek", "close", "fstat",
    "fstat64", "recvfrom", "recvmsg", "sendto", "sendmsg", "recv", "send", "poll", "ppoll",
    "select", "pselect6", "ppoll_time64", "shutdown", "mmap", "mmap2", "munmap", "mremap",
    "mprotect", "madvise", "brk", "futex", "futex_time64", "sched_yield", "sched_getaffinity",
    "getrandom", "getpid", "gettid", "getuid", "geteuid", "getgid", "getegid", "getrusage",
    "getrlimit", "ugetrlimit", "setrlimit", "prlimit64", "times", "uname", "sysinfo",
    "clock_gettime", "clock_gettime64", "clock_getres", "gettimeofday", "time", "nanosleep",
    "clock_nanosleep", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigreturn", "sigaltstack",
    "tgkill", "getpriority", "setpriority", "restart_syscall", "rseq", "membarrier",
    "set_robust_list", "exit", "exit_group",
)  # fmt: skip
_LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends for any reason. Linux only."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def allocated_bytes() -> int | None:
    """Bytes that RLIMIT_DATA counts for this process; None if the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[5])
    except (OSError, IndexError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def limit_memory(allocated: int | None, extra: int) -> None:
    """Make allocations fail beyond `allocated` plus `extra` bytes; does nothing if `allocated` is None."""
    if allocated is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (allocated + extra, allocated + extra))


def limit_cpu_time() -> None:
    """Have this process killed after CPU_SECONDS more of CPU time, unless called again before."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + 1 + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


class Confinement:
    """The sandbox, whose system call filter is compiled once and then inherited by forked processes."""

    def __init__(self) -> None:
        self._program = _filter_program()

    def confine(self) -> None:
        """Forbid this process to open or write files, start processes, use the network or dump core."""
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS, _DESCRIPTORS))
        if self._program is None:
            return
        instructions = ctypes.create_string_buffer(self._program, len(self._program))
        program = _FilterProgram(len(self._program) // _INSTRUCTION_BYTES, ctypes.addressof(instructions))
        _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        # Where the kernel or a container runtime refuses filters, the other limits still hold.
        _LIBC.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)


class _FilterProgram(ctypes.Structure):
    """The C struct sock_fprog (seccomp(2))."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def _filter_program() -> bytes | None:
    """The filter that allows only _ALLOWED, as BPF instructions; None without libseccomp."""
    if seccomp is None:
        return None
    allowed = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
    for name in _ALLOWED:
        try:
            allowed.add_rule(seccomp.ALLOW, name)
        except (OSError, ValueError):
            continue  # This architecture has no system call of that name.
    with tempfile.TemporaryFile() as file:
        allowed.export_bpf(file)
        file.seek(0)
        return file.read()
