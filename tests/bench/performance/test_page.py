from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from bench.performance.page import PAGE, RAW, parts, plots, write_page
from bench.performance.results import Failure, Measurement, Results, read_results
from bench.studies.page_parts import replace_part

DOCS = Path(__file__).parents[3] / "docs"
RUN = Results(
    {
        "rounds": 1,
        "seconds": 5.0,
        "cores": 2,
        "kernel": "Linux 6.18",
        "python": "3.11.2",
        "congestion": "bbr",
        "versions": {"bare": "Linux 6.18", "ours": "p2ptunnel-trio 1"},
    },
    [
        Measurement(1, "bare", "tcp-1", {"gbit": 20.0}),
        Measurement(1, "ours", "tcp-1", {"gbit": 6.0, "cpu_per_gb": 2.0}),
    ],
)


@pytest.mark.parametrize("name", parts(Results({})))
def test_the_page_says_what_was_measured(name: str) -> None:
    """Renew it by `python -m bench.performance --read docs/performance.json --write`."""
    page = (DOCS / PAGE).read_text()
    assert replace_part(page, name, parts(read_results(DOCS / RAW))[name]) == page


def test_the_plots_show_what_was_measured() -> None:
    for file, svg in plots(read_results(DOCS / RAW)).items():
        assert (DOCS / file).read_text() == svg


def test_writing_changes_the_parts_and_draws_what_there_is(tmp_path: Path) -> None:
    shutil.copy(DOCS / PAGE, tmp_path / PAGE)
    write_page(tmp_path, RUN)
    page = (tmp_path / PAGE).read_text()
    assert "| ours | 6.00 | 0.300 | 2.00 | - | - | - |" in page
    assert "TCP with bbr" in page
    assert "![One TCP stream](performance-tcp.svg)" in page
    assert read_results(tmp_path / RAW) == RUN
    drawn = sorted(path.name for path in tmp_path.glob("*.svg"))
    assert drawn == ["performance-cpu.svg", "performance-tcp.svg"]


def test_what_only_some_figures_had_is_told_of_these() -> None:
    """TCP under loss may have another congestion control, and a system may grant UDP's receiver less."""
    plain = parts(Results({**RUN.run, "udp_buffer": 1 << 20}))["conditions"]
    assert plain == parts(RUN)["conditions"]
    told = parts(Results({**RUN.run, "loss_congestion": "cubic", "udp_buffer": 212_992}))["conditions"]
    assert "TCP with bbr (cubic in the streams under loss)." in told
    assert "UDP's receiver had a buffer of 212992 bytes instead of 1048576." in told


def test_figures_of_fewer_rounds_and_failures_are_told() -> None:
    """A failure's logs stay in the raw results."""
    results = Results(
        {**RUN.run, "rounds": 2},
        [*RUN.measurements, Measurement(2, "ours", "tcp-1", {"gbit": 6.0}), Measurement(1, "ours", "profile", {})],
        [Failure(2, "bare", "tcp-1", "DeviceError: iperf3 did not end\nits log")],
    )
    told = parts(results)["conditions"]
    assert told.startswith("Medians of 2 interleaved rounds (profile 1), 5 s each, on one machine")
    assert told.endswith("\n\nFailed: round 2, bare, tcp-1: DeviceError: iperf3 did not end")
