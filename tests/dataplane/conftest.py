"""The two nodes of tests/node, for what passes between them."""

from __future__ import annotations

from tests.node.conftest import net, open_in

__all__ = ["net", "open_in"]
