"""stdout and stderr as a command finds them: closed, without UTF-8, non-blocking, or with a reader that leaves."""

from __future__ import annotations

import contextlib
import io
import os
import sys


def prepare_outputs() -> None:
    """Make stdout and stderr fit to write to.

    A closed one leads to nowhere, and no file of ours gets its number. A terminal without UTF-8 gets what it cannot
    show spelled out, since peers choose their names. A non-blocking pipe is made to wait for its reader: Python drops
    what does not fit, without an error.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - as long as the program
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            with contextlib.suppress(OSError):  # no file behind it
                os.set_blocking(stream.fileno(), True)


def mute_stdout() -> None:
    """Let stdout lead to nowhere once its reader has gone, so that the flush at exit does not fail again."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, sys.stdout.fileno())
    os.close(sink)
