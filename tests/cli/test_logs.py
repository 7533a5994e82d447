"""A log line is one line, whatever is logged."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator

import pytest

from tunnel.cli.logs import start_logging


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What was logged. The root logger gets its handlers back."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers.clear()
    stream = io.StringIO()
    start_logging("info", stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


logger = logging.getLogger("tunnel.test")


def test_a_line_has_time_level_logger_text_and_sorted_keys(log: io.StringIO) -> None:
    logger.info("registered", extra={"url": "wss://h:1", "address": "10.86.0.1"})
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info tunnel\.test registered address=10\.86\.0\.1 url=wss://h:1\n",
        log.getvalue(),
    )


def test_debug_is_left_out_at_info(log: io.StringIO) -> None:
    logger.debug("a packet")
    assert log.getvalue() == ""


@pytest.mark.parametrize("poison", ["\x1b[2Jevil\nfake info line", "p2pt1-AAAA"])
def test_neither_text_nor_keys_nor_tracebacks_let_anything_through(log: io.StringIO, poison: str) -> None:
    """A peer's name, a server's words or an exception may hold anything."""
    logger.info("peer %s", poison, extra={"peer": poison})
    try:
        raise ValueError(poison)
    except ValueError:
        logger.exception("failed")
    said = log.getvalue()
    assert poison not in said
    assert "p2pt1-A" not in said
    assert all(line.isprintable() for line in said.splitlines())
    assert all(line.startswith(("2", "    ")) for line in said.splitlines())


def test_a_value_with_spaces_is_quoted(log: io.StringIO) -> None:
    logger.info("named", extra={"peer": 'my "desk"', "other": ""})
    assert log.getvalue().endswith('named other="" peer="my \\"desk\\""\n')
