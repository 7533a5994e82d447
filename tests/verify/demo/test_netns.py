"""`demo --netns` on real kernel NATs."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.netlab
def test_the_demo_behind_two_kernel_nats_keeps_its_promises(command: Any) -> None:
    ended = command("demo", "--netns")
    assert (ended.code, ended.err) == (0, ""), ended.out
    for words in ("first ping answered", "(path_verified)", "CUT", "over relay-websocket", "(path_lost)", "LIFTED"):
        assert words in ended.out
    assert "not measured" not in ended.out
    assert "All as promised" in ended.out
