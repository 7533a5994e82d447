from __future__ import annotations

from pathlib import Path

import pytest
from bench.studies.page_parts import replace_part
from bench.studies.report import PAGE, main

from bench.studies import report

pytestmark = pytest.mark.no_cover  # whole runs: they would take three times as long

DOCS = Path(__file__).parents[3] / "docs"


def test_the_page_has_all_parts() -> None:
    text = (DOCS / PAGE).read_text()
    for name in ("grid", "population", "comparison"):
        assert replace_part(text, name, "other") != text


def test_a_page_that_is_not_there_is_told_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, "run_population", lambda *args, **kwargs: pytest.fail("it must not run"))
    with pytest.raises(SystemExit) as ended:
        main(["--population", "10", "--docs", str(tmp_path / "docs")])
    assert ended.value.code == 2
    assert "--docs" in capsys.readouterr().err


def test_the_same_arguments_write_the_same_bytes(tmp_path: Path) -> None:
    written = []
    for attempt in ("first", "second"):
        folder = tmp_path / attempt
        folder.mkdir()
        (folder / PAGE).write_text("<!-- population begin -->\n<!-- population end -->\n")
        arguments = ["--population", "2", "--seed", "4", "--processes", "1", "--docs", str(folder)]
        assert main(arguments) == 0
        written.append([(file.name, file.read_bytes()) for file in sorted(folder.iterdir())])
    assert written[0] == written[1]
    assert [name for name, _ in written[0]] == ["simulation-population.svg", PAGE]
    assert b"| IPv4 alone | 2 | **" in dict(written[0])[PAGE]
