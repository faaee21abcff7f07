"""Runs a program that the kernel refuses io_uring, as containers do (EPERM) and kernels before 5.1 (ENOSYS).

    without_io_uring.py EPERM PROGRAM [ARGUMENT...]

Exit code 125: this machine does not let a process refuse itself anything.
"""

import ctypes
import errno
import os
import sys

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
RET_ERRNO, RET_ALLOW = 0x0005_0000, 0x7FFF_0000
LOAD_NUMBER, JUMP_GE, JUMP_GT, RETURN = 0x20, 0x35, 0x25, 0x06
FIRST, LAST = 425, 427  # io_uring_setup, io_uring_enter, io_uring_register: the same on every architecture


class Instruction(ctypes.Structure):
    """struct sock_filter of linux/filter.h."""

    _fields_ = [("code", ctypes.c_uint16), ("if_true", ctypes.c_uint8), ("if_false", ctypes.c_uint8), ("operand", ctypes.c_uint32)]


class Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = [("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(Instruction))]


def refuse(number):
    """From here on, for this process and what it becomes."""
    instructions = (Instruction * 5)(
        (LOAD_NUMBER, 0, 0, 0),
        (JUMP_GE, 0, 2, FIRST),
        (JUMP_GT, 1, 0, LAST),
        (RETURN, 0, 0, RET_ERRNO | number),
        (RETURN, 0, 0, RET_ALLOW),
    )
    libc = ctypes.CDLL(None, use_errno=True)
    filter_of_all = Program(len(instructions), instructions)
    for arguments in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(filter_of_all), 0, 0)):
        if libc.prctl(*arguments) != 0:
            print(f"prctl({arguments[0]}): {os.strerror(ctypes.get_errno())}", file=sys.stderr)
            sys.exit(125)


if __name__ == "__main__":
    refuse(getattr(errno, sys.argv[1]))
    os.environ.pop("CORELANE_BACKEND", None)  # the program is to choose by itself
    os.execv(sys.argv[2], sys.argv[2:])
