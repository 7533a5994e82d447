"""tools/stripped-extras.py notices a pin that pip 23 will refuse as soon as the index has a newer version."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "stripped-extras.py"
PINS = ROOT / "constraints" / "dev.txt"


def check(pins: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, TOOL, pins], capture_output=True, text=True, check=False)


def test_the_pins_keep_every_extra_that_is_asked_for() -> None:
    assert check(PINS).returncode == 0


def test_a_stripped_extra_is_named_with_who_asks_for_it(tmp_path: Path) -> None:
    """pytest-cov asks for coverage[toml]."""
    stripped = tmp_path / "dev.txt"
    stripped.write_text(PINS.read_text().replace("coverage[toml]==", "coverage=="))
    checked = check(stripped)
    assert checked.returncode == 1
    assert (
        checked.stdout
        == f"{stripped}: coverage is pinned without [toml], which pytest-cov asks for: make pins keeps it\n"
    )
