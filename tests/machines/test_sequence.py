"""A sequence of events becomes a diagram that Mermaid can draw."""

from __future__ import annotations

import pytest

from tunnel.machines.sequence import Arrow, SequenceDiagram
from tunnel.model.errors import LocalProtocolError


def test_a_small_sequence_is_drawn_exactly() -> None:
    """Participants from left to right, then everything in the order of time."""
    diagram = SequenceDiagram(["node A", "server"])
    diagram.message("node A", "server", "connect")
    diagram.message("server", "node A", "pending", Arrow.LOST)
    diagram.message("server", "node A", "refused", Arrow.ANSWERS)
    diagram.note("server", "waits")
    diagram.note(("node A", "server"), "the link breaks")
    assert diagram.render() == (
        "sequenceDiagram\n"
        "    participant P0 as node A\n"
        "    participant P1 as server\n"
        "    P0->>P1: connect\n"
        "    P1-xP0: pending\n"
        "    P1-->>P0: refused\n"
        "    Note over P1: waits\n"
        "    Note over P0,P1: the link breaks\n"
    )


def test_no_text_ends_a_statement() -> None:
    """A semicolon, a comment sign or a line break in a message must not break the diagram."""
    diagram = SequenceDiagram(["a; b"])
    diagram.message("a; b", "a; b", "50%% of #1; <b>\nnext")
    assert diagram.render() == (
        "sequenceDiagram\n    participant P0 as a#59; b\n    P0->>P0: 50#37;#37; of #35;1#59; #lt;b#gt;<br/>next\n"
    )


def test_an_empty_message_is_still_one() -> None:
    """Mermaid takes no message without a text."""
    diagram = SequenceDiagram(["a"])
    diagram.message("a", "a", "")
    assert diagram.render().endswith("P0->>P0:  \n")


def test_a_stranger_takes_no_part() -> None:
    """A misspelled name is a bug of the caller's, not one more participant."""
    diagram = SequenceDiagram(["a"])
    with pytest.raises(LocalProtocolError, match="'b' takes no part"):
        diagram.message("a", "b", "hello")
    with pytest.raises(LocalProtocolError, match="'c' takes no part"):
        diagram.note("c", "hello")
