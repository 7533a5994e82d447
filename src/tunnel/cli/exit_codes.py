"""The exit code for each error (docs/cli.md). Scripts rely on these."""

from __future__ import annotations

from tunnel.model.errors import Refused, ServerUnreachable, SettingsError

DONE = 0
FAILED = 1
USAGE = 2
SERVER_UNREACHABLE = 3
REFUSED = 4
INTERRUPTED = 130

_EXITS: tuple[tuple[type[BaseException], int], ...] = (
    (SettingsError, USAGE),
    (ServerUnreachable, SERVER_UNREACHABLE),
    (Refused, REFUSED),
    (KeyboardInterrupt, INTERRUPTED),
)


def exit_of(error: BaseException) -> int:
    """The exit code of one error that is not a group."""
    return next((code for kind, code in _EXITS if isinstance(error, kind)), FAILED)


def leaves_of(error: BaseException) -> list[BaseException]:
    """The errors in an exception group, however deep. An error that is no group is its own leaf."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in leaves_of(part)]
    return [error]
