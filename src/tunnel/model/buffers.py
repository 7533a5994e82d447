"""Bytes that may lie in somebody else's buffer."""

from __future__ import annotations

from typing import TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview
"""A bytearray or a view is valid until the call that it was passed to returns, or the iterator that gave it moves on.
Copy it to keep it.
"""
