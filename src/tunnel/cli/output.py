"""What commands print on stdout: views for people, JSON for scripts."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

JsonOption = Annotated[bool, Parameter(name="--json", help="Print JSON (docs/status.md), for scripts.")]


def stdout_console() -> Console:
    """A console as wide as the terminal, or of 80 columns where there is none."""
    from rich.console import Console

    from tunnel.cli.layout import PIPE_WIDTH

    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)


def print_view(view: RenderableType) -> None:
    """Print for people, without blanks at the ends of lines."""
    from tunnel.cli.layout import Trimmed

    stdout_console().print(Trimmed(view))


def print_json(document: Any) -> None:
    """Print one document, indented."""
    print(json.dumps(document, indent=2).replace("\x7f", "\\u007f"))


def print_json_line(document: Any) -> None:
    """Print one document in one line, at once."""
    print(json.dumps(document).replace("\x7f", "\\u007f"), flush=True)
