"""A Mermaid sequence diagram: who sent what to whom, in the order of time. Pure text."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from tunnel.model.errors import LocalProtocolError

_ENTITIES = str.maketrans({"#": "#35;", ";": "#59;", "%": "#37;", "<": "#lt;", ">": "#gt;", "\n": "<br/>"})
"""What would end a statement, begin a comment, or be read as a tag."""


class Arrow(Enum):
    """How a message is drawn."""

    ARRIVES = "->>"
    ANSWERS = "-->>"
    LOST = "-x"


class SequenceDiagram:
    """Give the participants from left to right, add messages and notes in the order of time, then `render`.

    Raises LocalProtocolError for a participant that was not given.
    """

    def __init__(self, participants: Sequence[str]) -> None:
        self._places = {name: f"P{number}" for number, name in enumerate(participants)}
        self._lines = [f"participant {place} as {_escaped(name)}" for name, place in self._places.items()]

    def message(self, source: str, target: str, text: str, arrow: Arrow = Arrow.ARRIVES) -> None:
        """One participant sends something to another, or to itself."""
        self._lines.append(f"{self._place(source)}{arrow.value}{self._place(target)}: {_escaped(text)}")

    def note(self, over: str | tuple[str, str], text: str) -> None:
        """Something happens at one participant, or between two."""
        names = (over,) if isinstance(over, str) else over
        self._lines.append(f"Note over {','.join(self._place(name) for name in names)}: {_escaped(text)}")

    def render(self) -> str:
        """The diagram, with a line break at its end."""
        return "".join(f"{line}\n" for line in ("sequenceDiagram", *(f"    {line}" for line in self._lines)))

    def _place(self, name: str) -> str:
        try:
            return self._places[name]
        except KeyError:
            raise LocalProtocolError(f"{name!r} takes no part in this diagram") from None


def _escaped(text: str) -> str:
    """One line. An empty text becomes a blank, since Mermaid has no message without text."""
    return text.translate(_ENTITIES) or " "
