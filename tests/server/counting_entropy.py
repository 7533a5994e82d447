"""Entropy of which tests know what comes: ids and keys count upwards."""

from __future__ import annotations

import itertools
import random


class CountingEntropy:
    """Tokens of eight bytes become the ids `first`, `first` + 1 and so on; all others count from 0."""

    def __init__(self, first: int = 1) -> None:
        self.chance = random.Random(0)
        self._ids = itertools.count(first)
        self._keys = itertools.count()

    def token(self, size: int) -> bytes:
        return (next(self._ids) << 1).to_bytes(8, "big") if size == 8 else next(self._keys).to_bytes(size, "big")
