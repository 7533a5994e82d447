"""A log line is one line, whatever is logged."""

from __future__ import annotations

import io
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tunnel.cli.logs import Level, LossyHandler, PeerNames, start_logging


@contextmanager
def logging_to(level: Level, **options: Any) -> Iterator[io.StringIO]:
    """What is logged in the block. The loggers get their handlers and levels back."""
    root, ours = logging.getLogger(), logging.getLogger("tunnel")
    before = root.handlers[:], root.level, ours.level
    root.handlers.clear()
    stream = io.StringIO()
    start_logging(level, stream, **options)
    try:
        yield stream
    finally:
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        ours.setLevel(before[2])


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    with logging_to("info") as stream:
        yield stream


logger = logging.getLogger("tunnel.test")


def test_a_line_has_time_level_logger_text_and_sorted_keys(log: io.StringIO) -> None:
    logger.info("registered", extra={"url": "wss://h:1", "address": "10.86.0.1"})
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info tunnel\.test registered address=10\.86\.0\.1 url=wss://h:1\n",
        log.getvalue(),
    )


LAPTOP = "a" * 26


def said(record: dict[str, object], level: Level, text: str = "peer moved") -> str:
    """One line of a log at this level, which knows one peer."""
    names = PeerNames()
    names.use(lambda node: "laptop" if node == LAPTOP else "")
    with logging_to(level, names=names) as stream:
        logger.warning(text, extra=record)
    return stream.getvalue().partition("tunnel.test ")[2]


def test_peers_are_named_and_their_ids_stand_beside_at_debug() -> None:
    assert said({"peer": LAPTOP}, "info") == "peer moved peer=laptop\n"
    assert said({"peer": LAPTOP}, "debug") == f"peer moved peer=laptop id={LAPTOP}\n"
    assert said({"peer": "b" * 26}, "info") == f"peer moved peer={'b' * 26}\n"


def test_a_name_is_not_said_twice() -> None:
    assert said({"peer": LAPTOP}, "info", "laptop is direct") == "laptop is direct\n"
    assert said({"peer": LAPTOP}, "debug", "laptop is direct") == f"laptop is direct id={LAPTOP}\n"


@pytest.mark.parametrize(
    ("libraries", "heard"), [(False, ["ours", "theirs, bad"]), (True, ["theirs", "ours", "theirs, bad"])]
)
def test_libraries_are_heard_on_request_alone(libraries: bool, heard: list[str]) -> None:
    """At debug the WebSocket library logs each frame: our own lines were not to be found."""
    with logging_to("debug", libraries=libraries) as stream:
        logging.getLogger("trio-websocket").debug("theirs")
        logger.debug("ours")
        logging.getLogger("trio-websocket").warning("theirs, bad")
    assert [line.split(" ", 3)[3] for line in stream.getvalue().splitlines()] == heard


def lossy(descriptor: int) -> logging.Logger:
    made = logging.Logger("full")
    handler = LossyHandler(descriptor)
    handler.setFormatter(logging.Formatter("%(message)s"))
    made.addHandler(handler)
    return made


def test_a_log_that_nobody_reads_stops_nothing() -> None:
    """A terminal stopped with Ctrl-S stopped the tunnel."""
    reading, writing = os.pipe()
    try:
        log = lossy(writing)
        for _ in range(200):
            log.warning("x" * 1000)
        assert 30_000 < len(os.read(reading, 1 << 20)) < 200_000
        log.warning("read again")
        told = os.read(reading, 1 << 20).decode()
    finally:
        os.close(reading)
        os.close(writing)
    assert re.fullmatch(r"\(1\d\d lines of this log were dropped, since nobody read them\)\nread again\n", told)


def test_a_terminal_without_utf8_gets_names_spelled_out(tmp_path: Path) -> None:
    code = (
        "import logging; from tunnel.cli.logs import start_logging\n"
        "start_logging('info'); logging.getLogger('tunnel').warning('caf\\xe9 is direct')\n"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=tmp_path, check=True, env=environment)
    assert ended.stderr.endswith(b"tunnel caf\\xe9 is direct\n")


def test_a_log_whose_reader_has_gone_ends_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        lossy(writing).warning("to nobody")
    finally:
        os.close(writing)


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
