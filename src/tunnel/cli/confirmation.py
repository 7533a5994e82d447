"""Asks before something is lost. Where nobody can be asked, an option must agree."""

from __future__ import annotations

import sys

from tunnel.model.errors import SettingsError, TunnelError


def require_confirmation(loss: str, option: str, *, is_given: bool) -> None:
    """Return if the user agrees, by the option or on the terminal.

    `loss` says what would be lost. Raises SettingsError where nobody can be asked, TunnelError when the answer is no.
    """
    if is_given:
        return
    if sys.stdin is None or not sys.stdin.isatty() or not sys.stderr.isatty():
        raise SettingsError(f"{loss}; to go on, add {option}")
    print(f"{loss}.\nGo on? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().casefold() not in ("y", "yes"):
        raise TunnelError("nothing was changed")
