"""What all tests share: Hypothesis draws the same examples in every run, and never judges by real time."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")
