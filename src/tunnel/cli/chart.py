"""`chart`: the program's state charts, as diagram, table or SCXML."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from tunnel.cli.options import ConfigOption
from tunnel.cli.suggestions import or_nearest
from tunnel.machines.diagrams import CHARTS, mermaid, scxml_text, table
from tunnel.model.errors import SettingsError


def chart(
    name: Annotated[str, Parameter(help=f"One of {', '.join(CHARTS)}.")],
    /,
    *,
    format: Annotated[Literal["mermaid", "scxml", "table"], Parameter(help="How to print it.")] = "mermaid",  # noqa: A002
    config: ConfigOption = None,  # noqa: ARG001 - settings_file.py reads it
) -> int:
    """Print a state chart of the program."""
    if name not in CHARTS:
        raise SettingsError(f"no chart is called {name!r}: {or_nearest(name, CHARTS)}")
    match format:
        case "mermaid":
            text = mermaid(CHARTS[name])
        case "table":
            text = table(CHARTS[name])
        case "scxml":
            text = scxml_text(name)
    print(text.rstrip("\n"))
    return 0
