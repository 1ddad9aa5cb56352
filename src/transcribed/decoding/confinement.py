"""What a decoding process may do: little memory, no file or socket but those that it was handed.

Each call restricts the calling process for good. On systems that lack one of the means (seccomp is
Linux's alone) that one is left out.
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
"""Processor time until the first audio, and from one block of audio to the next."""

_DESCRIPTORS = 16
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_SECCOMP_MODE_FILTER = 2
_INSTRUCTION_BYTES = 8
# What reading handed files, computing, allocating and ending takes, and nothing else. None of these opens,
# connects, forks or reaches another process, but for tgkill, by which a process aborts itself.
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
    """Be killed when the parent ends, however it ends. On Linux alone."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def allocated_now() -> int | None:
    """Bytes of private data of this process, as RLIMIT_DATA counts them; None where nobody tells."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[5])
    except (OSError, IndexError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def limit_memory(allocated: int | None, extra: int) -> None:
    """Let allocations fail that exceed what was `allocated` by more than `extra` bytes."""
    if allocated is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (allocated + extra, allocated + extra))


def limit_processor() -> None:
    """Be ended when CPU_SECONDS more are spent, unless this is called again before."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + 1 + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


class Confinement:
    """What `confine` will forbid, worked out once: a fork has it at no cost."""

    def __init__(self) -> None:
        self._program = _program()

    def confine(self) -> None:
        """Open and write no file, make no process, reach no network, leave no core."""
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS, _DESCRIPTORS))
        if self._program is None:
            return
        instructions = ctypes.create_string_buffer(self._program, len(self._program))
        program = _FilterProgram(len(self._program) // _INSTRUCTION_BYTES, ctypes.addressof(instructions))
        _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        # A kernel or a container that knows no filters refuses; the other limits hold.
        _LIBC.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)


class _FilterProgram(ctypes.Structure):
    """Linux's sock_fprog (seccomp(2))."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def _program() -> bytes | None:
    """The filter that allows the calls above, as instructions of the kernel's; None where there is none."""
    if seccomp is None:
        return None
    allowed = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
    for name in _ALLOWED:
        try:
            allowed.add_rule(seccomp.ALLOW, name)
        except (OSError, ValueError):
            continue  # This machine has no call of that name.
    with tempfile.TemporaryFile() as file:
        allowed.export_bpf(file)
        file.seek(0)
        return file.read()
