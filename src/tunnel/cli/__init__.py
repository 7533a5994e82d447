"""The command p2ptunnel-trio. Importing this costs nothing: each command loads what it needs when it runs."""

from __future__ import annotations


def main() -> None:
    """The entry point of the installed command; leaves with the exit codes of exits.py."""
    import sys

    from tunnel.cli.program import run

    sys.exit(run(sys.argv[1:]))
