"""What runs over IP here."""

from __future__ import annotations

from enum import IntEnum


class Transport(IntEnum):
    """UDP or TCP, by its number in IP headers."""

    TCP = 6
    UDP = 17
