"""A plot of values of one unit, as an SVG text: one strip for each thing measured. Pure: data in, `str` out.

    label        |   .  ..:::[==|====]---..   .         note
                 0.1        1         10 s

Dots are single runs, the box spans the quarter to the three quarters of them, the line in it is the median. Colors
follow the reader's light or dark setting; all words are text, so that they can be searched, read aloud and copied.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from xml.sax.saxutils import escape

from bench.studies.statistics import percentile

WIDTH = 860
LEFT, RIGHT, TOP, BOTTOM = 250, 170, 56, 48
ROW = 26
DOTS = 200
"""The most dots of one strip, taken evenly from all."""

_STYLE = """
svg { --ink: #1f2328; --faint: #59636e; --grid: #d1d9e0; --mark: #0969da; --box: #ddf4ff; background: #ffffff; }
@media (prefers-color-scheme: dark) {
  svg { --ink: #f0f6fc; --faint: #9198a1; --grid: #3d444d; --mark: #4493f8; --box: #12314f; background: #0d1117; }
}
text { fill: var(--ink); font: 13px system-ui, sans-serif; }
.title { font-size: 16px; font-weight: 600; }
.note, .tick { fill: var(--faint); font-size: 12px; }
.grid { stroke: var(--grid); stroke-width: 1; }
.dot { fill: var(--mark); fill-opacity: 0.35; }
.box { fill: var(--box); stroke: var(--mark); stroke-width: 1; }
.median { stroke: var(--mark); stroke-width: 2.5; }
""".strip()


class Scale(Enum):
    """The scale of the axis."""

    LINEAR = "linear"
    LOGARITHMIC = "logarithmic"


@dataclass(frozen=True, slots=True)
class Strip:
    """One row: a label, values, and a note at its end. Without values there is only the note."""

    label: str
    values: tuple[float, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Axis:
    scale: Scale
    low: float
    high: float
    ticks: tuple[float, ...]

    def place(self, value: float) -> float:
        """The position on the axis, in pixels."""
        if self.scale is Scale.LOGARITHMIC:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)


def draw_strips(
    title: str,
    strips: Sequence[Strip],
    *,
    scale: Scale = Scale.LOGARITHMIC,
    unit: str = "s",
    unit_name: str = "seconds",
) -> str:
    """The whole SVG document. Values must not be negative; all have one unit, which `unit_name` spells out."""
    axis = _axis_for([value for strip in strips for value in strip.values], scale)
    height = TOP + ROW * len(strips) + BOTTOM
    description = f"{title}: {unit_name}, {scale.value} axis, {len(strips)} rows"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        f' role="img" aria-label="{escape(description, {chr(34): "&quot;"})}">',
        f"<style>\n{_STYLE}\n</style>",
        f'<text class="title" x="16" y="28">{escape(title)}</text>',
        *_grid(axis, unit, TOP + ROW * len(strips)),
    ]
    for number, strip in enumerate(strips):
        lines.extend(_row(strip, axis, TOP + ROW * number + ROW / 2))
    return "\n".join([*lines, "</svg>", ""])


def _axis_for(values: Sequence[float], scale: Scale) -> _Axis:
    largest = max(values, default=0.0) or 1.0
    if scale is Scale.LINEAR:
        step = 10.0 ** math.floor(math.log10(largest))
        step = next(step * part for part in (0.2, 0.5, 1.0, 2.0) if largest <= step * part * 6)
        count = max(1, math.ceil(largest / step - 1e-9))
        return _Axis(scale, 0.0, step * count, tuple(step * number for number in range(count + 1)))
    smallest = min((value for value in values if value > 0.0), default=0.1)
    first, last = math.floor(math.log10(smallest) + 1e-9), math.ceil(math.log10(largest) - 1e-9)
    last = max(last, first + 1)
    ticks = tuple(10.0**power for power in range(first, last + 1))
    return _Axis(scale, ticks[0], ticks[-1], ticks)


def _grid(axis: _Axis, unit: str, bottom: float) -> Iterator[str]:
    for tick in axis.ticks:
        x = _number(axis.place(tick))
        yield f'<line class="grid" x1="{x}" y1="{TOP}" x2="{x}" y2="{_number(bottom)}"/>'
        label = f"{tick:g} {escape(unit)}"
        yield f'<text class="tick" x="{x}" y="{_number(bottom + 18)}" text-anchor="middle">{label}</text>'


def _row(strip: Strip, axis: _Axis, middle: float) -> Iterator[str]:
    baseline = _number(middle + 4.5)
    yield f'<text x="{LEFT - 12}" y="{baseline}" text-anchor="end">{escape(strip.label)}</text>'
    if strip.note:
        yield f'<text class="note" x="{WIDTH - RIGHT + 12}" y="{baseline}">{escape(strip.note)}</text>'
    if not strip.values:
        return
    ordered = sorted(strip.values)
    quarter, median, three = (axis.place(percentile(ordered, share)) for share in (0.25, 0.5, 0.75))
    yield (
        f'<rect class="box" x="{_number(quarter)}" y="{_number(middle - 7)}" width="{_number(max(three - quarter, 1))}"'
        ' height="14" rx="2"/>'
    )
    stride = max(1, math.ceil(len(ordered) / DOTS))
    for place, value in enumerate(ordered[::stride]):
        swing = (place % 5 - 2) * 2  # so that equal values do not hide each other
        yield f'<circle class="dot" cx="{_number(axis.place(value))}" cy="{_number(middle + swing)}" r="2"/>'
    x = _number(median)
    yield f'<line class="median" x1="{x}" y1="{_number(middle - 8)}" x2="{x}" y2="{_number(middle + 8)}"/>'


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
