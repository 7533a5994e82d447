"""`simulate`: scenarios from files, folders, names or storms; what it shows, and how it ends."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tunnel.cli import simulate as module
from tunnel.cli.command_line import run
from tunnel.cli.simulate_view import MOST_STEPS
from tunnel.verify.simulation.runs.run import Outcome, broken_outcome, run_scenario
from tunnel.verify.simulation.scenarios.library import scenario_files, simulations_folder
from tunnel.verify.simulation.scenarios.scenario import Scenario

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
    (tmp_path / "system").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "system"))
    return tmp_path


def test_a_run_that_passes_ends_with_0_and_a_row(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "good.toml"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"good +1 +1 +2 +\d+ +A desk finds the server", out)
    assert "1 of 1 runs passed" in out
    assert "never:" not in out


def test_a_run_that_fails_ends_with_1_and_says_how_to_run_it_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["simulate", "bad.toml", "--seed", "3"]) == 1
    out = capsys.readouterr().out
    assert "FAILED bad, seed 3" in out
    assert "node by=1.0 node='desk' server='backing_off': at 1.000 s server is registered" in out
    assert "again: p2ptunnel-trio simulate bad.toml --seed 3" in out


def test_a_failure_shows_the_last_steps_and_keeps_its_diagram_in_a_file(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What led there can be read at once; a diagram of hundreds of lines is for what draws it."""
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["simulate", "bad.toml", "--seed", "3"]) == 1
    out = capsys.readouterr().out
    head, _, rest = out.partition("bad, seed 3: the last steps of desk until 1.000 s, where it failed:\n")
    steps, _, file = rest.partition("\n\nits sequence diagram (Mermaid): ")
    assert head
    assert len(steps.splitlines()) <= MOST_STEPS
    assert all(len(line) <= 80 for line in steps.splitlines())
    assert re.search(r"^ +0\.\d{3}  desk -> server +announce$", steps, re.M)
    assert re.search(r"^ +0\.\d{3}  desk +link: connecting -welcomed-> registered$", steps, re.M)
    assert "sequenceDiagram" not in out
    kept = Path(file.strip())
    assert (kept.name, kept.parents[1]) == ("bad-3.md", folder / "system")
    assert kept.read_text().startswith("```mermaid\nsequenceDiagram")


def test_a_folder_for_what_failed_is_for_scenarios_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "bad.toml", "--keep", "kept"]) == 1
    assert "its sequence diagram (Mermaid): kept/bad-0.md\n" in capsys.readouterr().out
    assert [file.name for file in (folder / "kept").iterdir()] == ["bad-0.md"]
    assert run(["simulate", "good.toml", "--keep", "none"]) == 0
    assert not (folder / "none").exists()


def test_names_are_shown_whole_and_titles_as_far_as_they_fit(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is what one types."""
    name = "a_scenario_whose_name_is_as_long_as_they_get"
    (folder / f"{name}.toml").write_text(PASSING)
    for columns, shown in ((80, r" +1 +1  A desk finds the …"), (120, r" +1 +1 +2 +\d+  A desk finds the server")):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert run(["simulate", f"{name}.toml"]) == 0
        out = capsys.readouterr().out
        assert re.search(rf"^ {name}{shown} *$", out, re.M), out
        assert all(len(line) <= columns for line in out.splitlines())


def test_a_scenario_of_ours_is_run_again_by_its_name(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless something else is called so here."""
    monkeypatch.setattr(
        module, "run_scenario", lambda scenario, seed, **_: broken_outcome(scenario.name, seed, ValueError())
    )
    assert run(["simulate", "easy_pair"]) == 1
    assert "again: p2ptunnel-trio simulate easy_pair --seed 0\n" in capsys.readouterr().out
    (folder / "easy_pair").mkdir()
    assert run(["simulate", str(simulations_folder() / "scenarios" / "easy_pair.toml")]) == 1
    assert "/scenarios/easy_pair.toml --seed 0\n" in capsys.readouterr().out


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
    (folder / "out").mkdir()
    assert run(["simulate", "good.toml", "--trace", "out/trace.txt", "--diagram", "out/diagram.mmd"]) == 0
    assert "desk ServerLinkChart() connecting --welcomed[]--> registered" in (folder / "out/trace.txt").read_text()
    assert (folder / "out/diagram.mmd").read_text().startswith("sequenceDiagram")
    assert "```mermaid" not in capsys.readouterr().out
    assert run(["simulate", "good.toml", "--diagram", "out/diagram.md"]) == 0
    drawn = (folder / "out/diagram.mmd").read_text()
    assert (folder / "out/diagram.md").read_text() == f"```mermaid\n{drawn}```\n"


def test_of_many_runs_the_first_failure_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "good.toml", "bad.toml", "--seeds", "0..1", "--trace", "t", "--processes", "1"]) == 1
    assert "simulate: t: of bad, seed 0\n" in capsys.readouterr().err
    one = (folder / "t").read_text()
    assert run(["simulate", "bad.toml", "--trace", "t"]) == 1
    assert (folder / "t").read_text() == one


def test_a_folder_that_cannot_be_made_is_reported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "good.toml", "--trace", "good.toml/trace"]) == 1
    assert "cannot write good.toml/trace: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["gone.toml"], "gone.toml: no such file or folder, and no scenario that comes with the program"),
        (["good.toml", "--seed", "1", "--seeds", "1..2"], "--seed and --seeds exclude each other"),
        (["good.toml", "--seeds", "2..1"], "--seeds 2..1: A..B needs A <= B"),
        (["good.toml", "--seeds", "some"], "--seeds 'some': a number or A..B is expected"),
        (["good.toml", "--processes", "0"], "--processes 0: at least one"),
        (["good.toml", "--storm", "1"], "--storm makes its own scenarios"),
        (["good.toml", "--keep", "bad.toml"], "--keep bad.toml: a folder is expected, and this is a file"),
        (["--storm", "1", "--keep", "good.toml"], "--keep good.toml: a folder is expected, and this is a file"),
        (["good.toml", "--trace", "./good.toml"], "--trace good.toml: good.toml would be overwritten"),
        (["good.toml", "--diagram", "link.toml"], "--diagram link.toml: good.toml would be overwritten"),
        (["good.toml", "--trace", "t", "--diagram", "./t"], "--diagram t: t would be overwritten"),
        (["good.toml", "--config", "c.toml", "--trace", "c.toml"], "--trace c.toml: c.toml would be overwritten"),
        (["good.toml", "--seed", "1.5"], "--seed '1.5' is not a whole number"),
        (["good.toml", "--seed", "-1"], "--seed"),
        (["good.toml", "--seeds", "-3..-1"], "--seeds '-3..-1': a number or A..B is expected"),
        (["good.toml", "--seeds", "\u0663"], "--seeds '\u0663': a number or A..B is expected"),
        (["good.toml", "--seeds", "9" * 5000], f"--seeds '{'9' * 76}...: a number or A..B is expected"),
        (["good.toml", "--seed", "9" * 5000], "is not a whole number"),
        (["good.toml", "--processes", "\u0663"], "--processes '\u0663' is not a whole number"),
        (["n" * 300], ": cannot be read: File name too long"),
        (["server_stops_amid_helo"], "did you mean 'server_stops_amid_hello'?"),
        (["pipe.toml"], "pipe.toml: cannot be read: no regular file"),
        (["zero.toml"], "zero.toml: cannot be read: no regular file"),
    ],
)
def test_what_cannot_be_done_ends_with_2_and_a_reason(
    folder: Path, capsys: pytest.CaptureFixture[str], argv: Sequence[str], told: str
) -> None:
    (folder / "c.toml").write_text("")
    (folder / "link.toml").symlink_to("good.toml")
    (folder / "zero.toml").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.toml")
    assert run(["simulate", *argv]) == 2
    assert (folder / "good.toml").read_text() == PASSING
    out, err = capsys.readouterr()
    assert told in err
    assert out == ""


@pytest.mark.parametrize("target", ["gone/t", "good.toml/t", ".", "n" * 300])
@pytest.mark.parametrize("option", ["--trace", "--diagram"])
def test_an_output_file_that_cannot_be_written_is_reported_before_anything_runs(
    folder: Path, capsys: pytest.CaptureFixture[str], option: str, target: str
) -> None:
    assert run(["simulate", "good.toml", option, target]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert f"cannot write {target}: " in err
    assert not (folder / "gone").exists()


def test_an_output_file_of_many_runs_that_all_pass_is_not_written_and_that_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["simulate", "good.toml", "--seeds", "0..1", "--trace", "t", "--processes", "1"]) == 0
    assert "simulate: no run has failed: t not written" in capsys.readouterr().err
    assert not (folder / "t").exists()


def test_a_run_that_breaks_is_one_failure_and_the_others_count(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_one(scenario: Scenario, seed: int, *, keep_trace: bool = False) -> Outcome:
        if seed == 1:
            raise ExceptionGroup("two", [ValueError("26.0.0.1 is \x1b[2J taken"), KeyError()])
        return run_scenario(scenario, seed, keep_trace=keep_trace)

    monkeypatch.setattr(module, "run_scenario", break_one)
    assert run(["simulate", "good.toml", "--seeds", "0..2", "--processes", "1"]) == 1
    out, err = capsys.readouterr()
    assert "2 of 3 runs passed" in out
    assert re.search(r"the run broke: ValueError: 26\.0\.0\.1 is \\x1b\[2J taken \(test_simulate\.py:\d+\)", out)
    assert "good with seed 1 broke" in err


def test_two_files_of_one_name_are_two_rows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "other").mkdir()
    (folder / "other/good.toml").write_text(FAILING)
    assert run(["simulate", "good.toml", "other", "--processes", "1"]) == 1
    out = capsys.readouterr().out
    assert re.search(r"^ *good +1 +1 ", out, re.M)
    assert re.search(r"^ *other/good +1 +0 ", out, re.M)
    assert "FAILED other/good, seed 0" in out


def test_no_name_of_a_file_reaches_the_terminal_as_it_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "\x1b[2J.toml").write_text(FAILING)
    assert run(["simulate", "\x1b[2J.toml"]) == 1
    out, err = capsys.readouterr()
    assert out.count("\\x1b[2J") == 4  # row, two headings and the rerun line
    assert "\x1b[2J" not in out + err


def test_a_scenario_that_vanishes_once_it_is_read_loses_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanish(scenario: Scenario, seed: int, *, keep_trace: bool = False) -> Outcome:
        (folder / "bad.toml").unlink(missing_ok=True)
        return run_scenario(scenario, seed, keep_trace=keep_trace)

    monkeypatch.setattr(module, "run_scenario", vanish)
    assert run(["simulate", "bad.toml"]) == 1
    assert "FAILED bad, seed 0" in capsys.readouterr().out


def test_a_file_that_expects_nothing_is_reported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "vague.toml").write_text(PASSING.partition("[[expect]]")[0])
    assert run(["simulate", "vague.toml"]) == 0
    assert "simulate: vague.toml: nothing is expected: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("redirection", "code", "told"),
    [(">/dev/full", 1, "p2ptunnel-trio: the output cannot be written: No space left on device\n"), (">&-", 0, "")],
)
def test_an_output_that_is_full_or_closed_shows_no_traceback(
    folder: Path, redirection: str, code: int, told: str
) -> None:
    line = f"exec {shlex.quote(sys.executable)} -m tunnel simulate good.toml {redirection}"
    ended = subprocess.run(["/bin/sh", "-c", line], stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (code, told)


def test_an_empty_folder_holds_no_scenario(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "empty").mkdir()
    assert run(["simulate", "empty"]) == 2
    assert "empty: no scenario in this folder (*.toml)" in capsys.readouterr().err


def test_a_broken_file_is_reported_before_anything_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.toml").write_text(PASSING.replace("server =", "sever ="))
    assert run(["simulate", "good.toml", "bad.toml"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "bad.toml:9: expect.0.sever: unknown key: did you mean 'server'?" in err


def test_an_impossible_topology_is_reported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.toml").write_text('title = "x"\n[hosts.desk]\n[hosts.laptop]\naddresses = ["27.0.0.1"]\n')
    assert run(["simulate", "bad.toml"]) == 2
    assert "the network is impossible: 27.0.0.1 belongs to desk" in capsys.readouterr().err


def test_the_whole_library_shows_which_transitions_no_run_took(
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
        return replace(run_scenario(scenario, seed, keep_trace=keep_trace), failures=("it rained",))

    monkeypatch.setattr(module, "run_scenario", fail)
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
