"""`python -m models.launched PROGRAM ...`: runs a program of this package that must not outlive whoever launched it. Needs nothing but Python.

The launcher holds the other end of the program's stdin and never writes to it. When it ends, be it by SIGKILL, the kernel closes that end, and the program gets SIGTERM: training keeps
a checkpoint and ends, so that the next run finds the folder free and goes on there. Does not belong here: what the programs do.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading


def end_with_stdin() -> None:
    """Send this process SIGTERM as soon as its stdin is closed from the other end."""

    def watch() -> None:
        # Not through sys.stdin, whose lock the interpreter wants when it ends.
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="launcher", daemon=True).start()


def main(arguments: list[str]) -> None:
    """Run the module that `arguments` begin with, as `python -m` would, with the rest of them."""
    end_with_stdin()
    sys.argv = arguments
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
