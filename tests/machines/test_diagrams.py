"""The generated pages say what the charts say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunnel.machines.announcement import AnnouncementChart
from tunnel.machines.diagrams import (
    CHARTS,
    duties,
    mermaid,
    page,
    scxml_text,
    statecharts_folder,
    table,
    write_pages,
)
from tunnel.machines.introduction import IntroductionChart
from tunnel.machines.peer_connection import PeerConnectionChart


@pytest.mark.parametrize("name", CHARTS)
def test_the_page_is_up_to_date(name: str) -> None:
    """Run `python -m tunnel.machines.diagrams` and commit what it writes."""
    assert (statecharts_folder() / f"{name}.md").read_text(encoding="utf-8") == page(name)


def test_every_file_of_the_folder_belongs_to_a_chart() -> None:
    """A chart that was renamed leaves nothing behind."""
    expected = {"README.md"} | {f"{name}.{kind}" for name in CHARTS for kind in ("md", "scxml")}
    assert {file.name for file in statecharts_folder().iterdir()} == expected


def test_the_readme_lists_every_chart() -> None:
    """A reader finds each chart from there."""
    readme = (statecharts_folder() / "README.md").read_text(encoding="utf-8")
    assert all(f"[{name}.md]({name}.md)" in readme and f"[{name}.scxml]({name}.scxml)" in readme for name in CHARTS)


def test_a_small_chart_is_drawn_whole() -> None:
    """The diagram to the letter: the start, the arrows, the ends."""
    assert mermaid(IntroductionChart) == (
        "stateDiagram-v2\n"
        "    [*] --> waiting\n"
        "    waiting --> introduced : both_announced\n"
        "    waiting --> refused : refuse\n"
        "    waiting --> timed_out : patience_ended\n"
        "    introduced --> [*]\n"
        "    refused --> [*]\n"
        "    timed_out --> [*]\n"
    )


def test_guards_stand_beside_their_events() -> None:
    """An event with two guards is two arrows, and the reader sees which is which."""
    drawing = mermaid(PeerConnectionChart)
    assert "    relayed --> punching : introduced [may_go_direct], patience_ended [may_go_direct]\n" in drawing
    assert "| announced | introduced | relay_carries and not may_go_direct | relayed |\n" in table(PeerConnectionChart)


def test_self_transitions_are_shown() -> None:
    """They restart the activity and its patience, so they are no detail."""
    assert "    announcing --> announcing : changed, patience_ended\n" in mermaid(AnnouncementChart)
    assert "| announcing | patience_ended |  | announcing, entered again |\n" in table(AnnouncementChart)


def test_each_state_says_what_it_may_return_and_send() -> None:
    """The tables that the state runner enforces."""
    assert "| announcing | acknowledged_by_server | announce |\n" in duties(AnnouncementChart)
    assert "| stale |  |  |\n" in duties(AnnouncementChart)


def test_the_twins_are_read_from_the_folder() -> None:
    """As text, for `chart NAME --scxml` and the like."""
    assert 'name="introduction"' in scxml_text("introduction")


def test_an_installed_package_brings_its_own_folder(tmp_path: Path) -> None:
    """A wheel has no checkout around it; a checkout has no folder inside the package."""
    package = tmp_path / "src" / "tunnel"
    package.mkdir(parents=True)
    assert statecharts_folder(package) == tmp_path / "statecharts"
    (package / "statecharts").mkdir()
    assert statecharts_folder(package) == package / "statecharts"


def test_the_pages_are_written_where_they_are_asked_for(tmp_path: Path) -> None:
    """And nothing else is."""
    files = write_pages(tmp_path)
    assert files == [tmp_path / f"{name}.md" for name in CHARTS]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert (tmp_path / "session.md").read_text(encoding="utf-8") == page("session")
