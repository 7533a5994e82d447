"""`demo --netns` on real kernel NATs."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.netlab
def test_the_demo_behind_two_kernel_nats_keeps_its_promises() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tunnel", "demo", "--netns"], capture_output=True, text=True, timeout=90, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    for words in ("first ping answered", "(path_verified)", "CUT", "over relay-websocket", "(path_lost)", "LIFTED"):
        assert words in ended.stdout
    assert "not measured" not in ended.stdout
    assert "All as promised" in ended.stdout
