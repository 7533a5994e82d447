"""The lab under Trio."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tunnel.verify.netlab import Kind, SiteSpec, open_lab

pytestmark = pytest.mark.netlab


async def test_programs_of_a_lab_run_under_trio() -> None:
    async with open_lab(SiteSpec("home", Kind.PORT_PRESERVING)) as lab:
        argv = lab.command(lab.sites["home"].host, ["ping", "-c", "1", "-W", "5", lab.server.address])
        done = await trio.run_process(argv, capture_stdout=True)
    assert b"1 received" in done.stdout


async def test_a_cancelled_lab_is_removed_all_the_same(tmp_path: Path) -> None:
    with trio.CancelScope() as scope:
        async with open_lab(SiteSpec("home"), state=tmp_path):
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert list(await trio.Path(tmp_path).glob("*.json")) == []
