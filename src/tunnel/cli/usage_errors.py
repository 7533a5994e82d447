"""Wrong usage of the command line, explained in one line. The one file that reads cyclopts' errors."""

from __future__ import annotations

from collections.abc import Iterable

from cyclopts import CycloptsError
from cyclopts.exceptions import (
    CoercionError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from tunnel.cli.option_types import describe_type
from tunnel.cli.pasted_invite import is_pasted
from tunnel.cli.settings_file import options_of
from tunnel.cli.suggestions import nearest

_MISSPELLED = 0.7
"""The likeness from which on a word counts as a misspelled option. Below it is perhaps one of another command."""


def usage_text(error: CycloptsError, program: str, commands: Iterable[str]) -> str:
    """What is wrong, and the nearest known word or which help to ask for."""
    see = f"; see `{' '.join([program, *(error.command_chain or ()), '--help'])}`"
    match error:
        case (
            UnusedCliTokensError(unused_tokens=[str() as word, *_])
            | UnknownCommandError(unused_tokens=[str() as word, *_])
        ) if is_pasted(word):
            return (
                "an invite must not be an argument, since others can read the command line: give it to "
                f"`{program} join` with --invite-file or on stdin"
            )
        case UnknownOptionError():
            option = error.token.keyword or error.token.value
            return _unknown_option(option, [f"--{name}" for name in options_of(error.argument_collection)], see)
        case UnknownCommandError(unused_tokens=[str() as word, *_]):
            if word.startswith("-"):
                return _unknown_option(word, (), see)
            near = nearest(word, commands)
            return f"unknown command {word!r}" + (see if near is None else f": the nearest known one is {near!r}")
        case UnusedCliTokensError(unused_tokens=[str() as word, *_]):
            return f"unexpected argument {word!r}{see}"
        case MissingArgumentError():
            return f"{_name(error)} is missing{see}" if _is_positional(error) else f"{_name(error)} needs a value{see}"
        case RepeatArgumentError():
            return f"{error.token.keyword or error.token.value} is given more than once{see}"
        case CoercionError() if error.argument is not None:
            value = "" if error.token is None else f" {error.token.value!r}"
            return f"{_name(error)}{value} is not {describe_type(error.argument.hint)}{see}"
    return f"{error}{see}"


def _unknown_option(word: str, known: Iterable[str], see: str) -> str:
    option = word.partition("=")[0]
    near = nearest(option, [*known, "--config", "--help"] if known else ["--help", "--version"], _MISSPELLED)
    return f"unknown option {option}" + (see if near is None else f": the nearest known one is {near}")


def _name(error: CycloptsError) -> str:
    return "an argument" if error.argument is None else error.argument.names[0]


def _is_positional(error: CycloptsError) -> bool:
    return not _name(error).startswith("-")
