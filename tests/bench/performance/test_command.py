"""What a run tells of itself, and how it ends."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from bench.performance.results import Results, read_results

from bench.performance import command

NO_PEER = ("--peers", ",")


@pytest.fixture(autouse=True)
def nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def keep(_plan: object, results: Results, _folder: Path, on_progress: Any) -> None:
        on_progress()

    monkeypatch.setattr(command, "check_privilege", lambda _tools: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(command, "run_rounds", keep)


def run_of(tmp_path: Path, *options: str) -> dict[str, Any]:
    kept = tmp_path / "run.json"
    assert command.main([*NO_PEER, "--results", str(kept), *options]) == 0
    return dict(read_results(kept).run)


def test_a_congestion_control_that_is_asked_for_is_that_of_the_streams_under_loss_alone(tmp_path: Path) -> None:
    """All other streams have the system's."""
    usual = run_of(tmp_path)
    assert "loss_congestion" not in usual
    assert run_of(tmp_path, "--congestion", "other") == {**usual, "loss_congestion": "other"}
    assert "loss_congestion" not in run_of(tmp_path, "--congestion", "other", "--only", "tcp-1")


def test_the_buffer_of_udp_s_receiver_is_kept_where_udp_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a smaller one more datagrams are lost, in all tunnels."""
    monkeypatch.setattr(command, "udp_buffer", lambda: 212_992)
    assert run_of(tmp_path, "--only", "udp-64")["udp_buffer"] == 212_992
    assert "udp_buffer" not in run_of(tmp_path, "--only", "tcp-1")


def test_an_interrupted_run_ends_with_130_and_writes_no_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script must not take half a run for one."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run_rounds", interrupt)
    monkeypatch.setattr(command, "write_page", lambda *_: pytest.fail("half a run is written"))
    assert command.main([*NO_PEER, "--write"]) == command.INTERRUPTED == 130
    assert capsys.readouterr().err == "interrupted: what was measured is kept\n"
