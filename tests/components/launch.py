"""Becomes another program that the kernel kills when the process that started it is gone.

Run as ``python -I -S launch.py PARENT_PID PROGRAM ARGUMENT...``. It is a program of its own, not a
``preexec_fn``: Python code between fork and exec can deadlock in a process with threads, and tests have them.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    parent, program, *arguments = sys.argv[1:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # A parent that died before prctl() has sent no signal and will send none.
    if os.getppid() != int(parent):
        sys.exit("the parent is gone")
    os.execv(program, [program, *arguments])  # noqa: S606 - becoming the program is what this file is for
