"""The server process of the demo: the command `server`, which also ends with its stdin: it never outlives the demo."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence

from tunnel.cli.command_line import run


def main(argv: Sequence[str]) -> int:
    """The process. `argv`: the options of `server`."""
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    return run(["server", *argv])


def _end_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
