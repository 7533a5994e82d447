"""A demo on terminals that can do much, little and nothing."""

from __future__ import annotations

import io
import time

from rich.console import Console

from tunnel.cli.demo_view import DemoView
from tunnel.verify.demo.findings import Findings


def plain_view() -> tuple[DemoView, io.StringIO]:
    text = io.StringIO()
    return DemoView(Console(file=text, width=200, _environ={})), text


def test_without_a_terminal_every_line_is_plain_and_nothing_is_redrawn() -> None:
    view, text = plain_view()
    now = time.time()
    with view.waiting("the direct path"):
        view.move("desk", "lap\x1b[2Jtop", "punching", "path_verified", "connected", now + 1.5)
        view.path("desk", "laptop", "direct", now)
        view.path("desk", "laptop", None, now)
    findings = Findings()
    findings.expect_within("hole", 9.0, 2.5)
    view.summary(findings.lines)
    told = text.getvalue()
    assert "the direct path ..." in told
    assert "1.50 s  desk    chart of lap\\x1b[2Jtop: punching -> connected  (path_verified)\n" in told
    assert "goes over direct" in told
    assert "goes nowhere" in told
    assert told.splitlines()[-1].split() == ["hole", "9.00", "s", "at", "most", "2.5", "s", "FAILED"]
    assert "\x1b" not in told


def test_a_terminal_gets_colors() -> None:
    text = io.StringIO()
    view = DemoView(Console(file=text, width=80, force_terminal=True, _environ={"TERM": "xterm-256color"}))
    with view.waiting("the direct path"):
        view.move("desk", "laptop", "punching", "path_verified", "connected", time.time())
    assert "\x1b[32mconnected" in text.getvalue()


def test_a_terminal_that_can_do_little_gets_lines_and_ascii() -> None:
    text = io.StringIO()
    view = DemoView(Console(file=text, width=80, force_terminal=True, _environ={"TERM": "dumb"}))
    with view.waiting("the direct path"):
        pass
    assert text.getvalue().endswith("the direct path ...\n")
    old = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with DemoView(Console(file=old, width=80, force_terminal=True, _environ={"TERM": "xterm"})).waiting(
        "the direct path"
    ):
        pass
    old.flush()
    assert b"the direct path" in old.buffer.getvalue()
