"""The example of docs/netlab.md is complete: it runs as it is printed there."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
import trio

pytestmark = pytest.mark.netlab

PAGE = Path(__file__).parents[3] / "docs" / "netlab.md"
PATIENCE = 60.0


async def test_the_example_of_the_page_pings_through_a_cut_and_counts_flows() -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.M | re.S)
    programs = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(
            [sys.executable, "-c", example], capture_stdout=True, env={**os.environ, "PATH": programs}
        )
    assert done.stdout.count(b"office: ") >= 6
    assert b"Flow(source='25.1.0.1', destination='25.0.0.1', protocol='udp')" in done.stdout
