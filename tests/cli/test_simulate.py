"""`simulate`: scenarios from files, folders, names or storms; what it shows, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tunnel.cli import simulate as module
from tunnel.cli.program import run
from tunnel.simulation.runs.rehearsal import Outcome, rehearse
from tunnel.simulation.scenarios.library import scenario_files
from tunnel.simulation.scenarios.scenario import Scenario

PASSING = """title = "A desk finds the server"
length = 2.0

[hosts.desk]

[[expect]]
by = 1.0
node = "desk"
server = "registered"
"""
FAILING = PASSING.replace('"A desk finds the server"', '"A desk never finds the server"').replace(
    '"registered"', '"backing_off"'
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "good.toml").write_text(PASSING)
    (tmp_path / "bad.toml").write_text(FAILING)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def test_a_run_that_passes_ends_with_0_and_a_row(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "good.toml"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"good +1 +1 +2 +\d+ +A desk finds the server", out)
    assert "1 of 1 runs passed" in out
    assert "never:" not in out


def test_a_run_that_fails_ends_with_1_and_says_how_to_see_it_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["simulate", "bad.toml", "--seed", "3"]) == 1
    out = capsys.readouterr().out
    assert "FAILED bad, seed 3" in out
    assert "node by=1.0 node='desk' server='backing_off': at 1.000 s server is registered" in out
    assert "again: p2ptunnel-trio simulate bad.toml --seed 3" in out
    assert "bad, seed 3, as a sequence diagram (Mermaid):" in out
    assert "```mermaid\nsequenceDiagram" in out
    assert "participant" in out


def test_a_folder_is_all_of_its_files_and_seeds_are_a_range(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", ".", "--seeds", "2..4", "--processes", "1"]) == 1
    out = capsys.readouterr().out
    assert re.search(r"^ *bad +3 +0 ", out, re.M)
    assert re.search(r"^ *good +3 +3 ", out, re.M)
    assert "3 of 6 runs passed" in out
    assert re.findall(r"FAILED bad, seed (\d)", out) == ["2", "3", "4"]


def test_a_scenario_of_ours_is_known_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "server_stops_amid_hello"]) == 0
    assert "1 of 1 runs passed" in capsys.readouterr().out


def test_a_document_for_machines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "good.toml", "bad.toml", "--json", "--processes", "1"]) == 1
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert err == ""
    assert (document["version"], document["passed"], document["failed"]) == (1, 1, 1)
    good, bad = document["runs"]
    assert (good["scenario"], good["seed"], good["passed"], good["failures"]) == ("good", 0, True, [])
    assert bad["rerun"] == "p2ptunnel-trio simulate bad.toml --seed 0"
    assert len(bad["failures"]) == 1
    assert re.fullmatch(r"[0-9a-f]{64}", good["digest"])
    assert good["virtual_seconds"] == 2.0
    assert document["transitions"]["all"] > len(document["transitions"]["never_taken"]) > 0
    assert set(document["transitions"]["never_taken"][0]) == {"chart", "source", "event", "target"}


def test_the_same_command_prints_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["simulate", ".", "--json", "--processes", "1"])
    first = capsys.readouterr().out
    run(["simulate", ".", "--json", "--processes", "2"])
    assert capsys.readouterr().out == first


def test_the_trace_and_the_diagram_of_a_single_run_are_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["simulate", "good.toml", "--trace", "out/trace.txt", "--diagram", "out/diagram.md"]) == 0
    assert "desk ServerLinkChart() connecting --welcomed[]--> registered" in (folder / "out/trace.txt").read_text()
    assert (folder / "out/diagram.md").read_text().startswith("sequenceDiagram")
    assert "```mermaid" not in capsys.readouterr().out


def test_of_many_runs_the_first_failure_is_written(folder: Path) -> None:
    assert run(["simulate", "good.toml", "bad.toml", "--seeds", "0..1", "--trace", "t", "--processes", "1"]) == 1
    one = (folder / "t").read_text()
    assert run(["simulate", "bad.toml", "--trace", "t"]) == 1
    assert (folder / "t").read_text() == one


def test_a_place_that_cannot_be_written_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "good.toml", "--trace", "good.toml/trace"]) == 1
    assert "good.toml/trace cannot be written: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["gone.toml"], "gone.toml: no such file or folder, and no scenario that comes with the program"),
        (["good.toml", "--seed", "1", "--seeds", "1..2"], "--seed and --seeds exclude each other"),
        (["good.toml", "--seeds", "2..1"], "--seeds 2..1: A..B needs A <= B"),
        (["good.toml", "--seeds", "some"], "--seeds 'some': a number or A..B is expected"),
        (["good.toml", "--processes", "0"], "--processes 0: at least one"),
        (["good.toml", "--storm", "1"], "--storm makes its own scenarios"),
    ],
)
def test_what_cannot_be_done_ends_with_2_and_a_reason(
    folder: Path, capsys: pytest.CaptureFixture[str], argv: Sequence[str], told: str
) -> None:
    assert run(["simulate", *argv]) == 2
    out, err = capsys.readouterr()
    assert told in err
    assert out == ""


def test_an_empty_folder_holds_no_scenario(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "empty").mkdir()
    assert run(["simulate", "empty"]) == 2
    assert "empty: no scenario in this folder (*.toml)" in capsys.readouterr().err


def test_a_broken_file_is_told_before_anything_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.toml").write_text(PASSING.replace("server =", "sever ="))
    assert run(["simulate", "good.toml", "bad.toml"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "bad.toml:9: expect.0.sever: unknown key: did you mean 'server'?" in err


def test_an_impossible_picture_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.toml").write_text('title = "x"\n[hosts.desk]\n[hosts.laptop]\naddresses = ["27.0.0.1"]\n')
    assert run(["simulate", "bad.toml"]) == 2
    assert "the picture is impossible: 27.0.0.1 belongs to desk" in capsys.readouterr().err


def test_the_whole_library_tells_which_transitions_nobody_took(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "scenario_files", lambda wanted: scenario_files([folder / "good.toml"]))
    assert run(["simulate"]) == 0
    out = capsys.readouterr().out
    taken, known = map(int, re.findall(r"(\d+) of (\d+) transitions of the charts were taken", out)[0])
    assert 0 < taken < known
    assert out.count("never: ") == known - taken


def test_a_storm_is_drawn_from_its_seed_and_kept_as_a_file(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(scenario: Scenario, seed: int, *, keep_trace: bool = False) -> Outcome:
        return replace(rehearse(scenario, seed, keep_trace=keep_trace), failures=("it rained",))

    monkeypatch.setattr(module, "rehearse", fail)
    assert run(["simulate", "--storm", "5", "--keep", "kept", "--json"]) == 1
    run_ = json.loads(capsys.readouterr().out)["runs"][0]
    assert run_["rerun"] == "p2ptunnel-trio simulate --storm 5"
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    run(["simulate", "kept/storm_5.toml", "--seed", "5", "--json"])
    again = json.loads(capsys.readouterr().out)["runs"][0]
    assert again["digest"] == run_["digest"]


def test_an_impatient_person_ends_runs_in_several_processes_at_once(tmp_path: Path) -> None:
    """Interrupts go to the whole group, as a terminal sends them; the second one must not show a traceback."""
    with subprocess.Popen(
        [sys.executable, "-m", "tunnel", "simulate", "--storm", "0..999", "--processes", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        assert "of 1000 runs" in process.stderr.readline()
        os.killpg(process.pid, signal.SIGINT)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
