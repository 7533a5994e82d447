"""The command p2ptunnel-trio. Importing this costs nothing: each command loads what it needs when it runs."""

from __future__ import annotations


def main() -> None:
    """The entry point of the installed command; leaves with the exit codes of exit_codes.py."""
    import atexit
    import signal
    import sys

    try:
        from tunnel.cli.command_line import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # a second one, while the first was told; or one that came before all else
        code = 130
    # An impatient one must not show how the interpreter ends. Before that whoever called us keeps its own handler.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)
