"""Rich renderables that never cut a word: of several forms the first that fits the width is shown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

PIPE_WIDTH = 80
"""Columns where there is no terminal: the output may be read on one later."""
_ENDLESS = 10_000


class FirstFitting:
    """The first of its forms that fits uncut; the last one if none does. Give the widest first."""

    def __init__(self, *forms: RenderableType) -> None:
        self._forms = forms

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        endless = options.update(width=_ENDLESS)
        for form in self._forms[:-1]:
            if Measurement.get(console, endless, form).maximum <= options.max_width:
                yield form
                return
        yield self._forms[-1]


class ByWidth:
    """One form for terminals of at least `least` columns, another for narrower ones."""

    def __init__(self, least: int, wide: RenderableType, narrow: RenderableType) -> None:
        self._least = least
        self._wide = wide
        self._narrow = narrow

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._wide if options.max_width >= self._least else self._narrow


class Clipped:
    """As many lines as the terminal is high; the last one says what is missing."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self._inner, options, pad=False)
        most = console.size.height - 1  # the cursor is below them
        is_whole = len(lines) <= most
        for line in lines if is_whole else lines[: most - 1]:
            yield from line
            yield Segment.line()
        if not is_whole:
            yield Text(
                f"{len(lines) - most + 1} more lines: the terminal is too small, `status` shows all", style="dim"
            )


class Trimmed:
    """The same without blanks at the ends of lines: nobody sees them, but they get copied and compared."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in console.render_lines(self._inner, options, pad=False):
            while line and not line[-1].text.strip():
                line.pop()
            if line:
                last = line.pop()
                line.append(Segment(last.text.rstrip(), last.style, last.control))
            yield from line
            yield Segment.line()


def table_of(rows: Sequence[dict[str, Text]], columns: Sequence[str]) -> Table:
    """A table of these columns of the rows, in this order, with headings."""
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*(row.get(column, Text()) for column in columns))
    return table
